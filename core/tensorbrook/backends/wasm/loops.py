"""A Loop as one WebAssembly function `(thread, arguments)`.

The loops of the nest stand inside each other; each keeps a pointer for every group of leaves that
moves in the same steps. The vector loop runs in phases: several vectors at a time, then one, then
the last one to three elements through the same instructions, one element in all four lanes; so a
result does not depend on where its element stands, and nothing outside a buffer is touched.
"""
from collections.abc import Callable, Mapping

from ...ir.graph import Atom
from ...ir.kernel import Loop, Place
from .assembler import I32, V128, Function, shuffle
from .formulas import Template
from .host import THREADS, WORD
from .nest import CHUNK, LANES, Nest, arrange, in_rows, runs_on
from .rows import shares
from .values import SCRATCH, WIDTH, Fold, Values
from .writer import SINGLE, Writer

THREAD = 0                               # the parameter that holds this thread's number

_SWAPS = shuffle(2, 3, 0, 1), shuffle(1, 0, 3, 2)

# Bytes that a kernel may keep of its rows. SCRATCH_BYTES of the engine are more.
MOST_KEPT = 1 << 20


def kernel(loop: Loop, places: Mapping[Atom, Place], split: bool, relaxed: bool,
           scratch: int | None = None) -> Function:
    """The function that carries out `loop`; with `split` the threads divide it among themselves.
    A loop of several stages needs `scratch`, the function that gives a thread its memory."""
    if 0 in loop.outer:
        return Function((I32, I32))
    parts = shares(loop, relaxed)
    nest = arrange(loop, parts, split)
    if WIDTH * nest.row()[1] * sum(len(part.keeps) for part in parts) > MOST_KEPT:
        parts = shares(loop, relaxed, keep=False)
    return _Loops(nest, Values(loop, parts, nest, places, relaxed), scratch).function(split)


def epilogue(loop: Loop, places: Mapping[Atom, Place], relaxed: bool) -> Function:
    """The function `(arguments, row, rows, column, columns)` that carries out a rectangle of
    `loop`, whose space is rows and columns."""
    parts = shares(loop, relaxed)
    nest = in_rows(loop, parts)
    writer = _Loops(nest, Values(loop, parts, nest, places, relaxed), None, (I32,) * 5, 0)
    for axis, (begin, count) in enumerate(((_ROW, _ROWS), (_COLUMN, _COLUMNS))):
        writer.parts[nest.groups.index((axis,))] = begin, count
    if runs_on(loop):
        writer.as_one_row(loop.space[1])
    return writer.function()


_ROW, _ROWS, _COLUMN, _COLUMNS = 1, 2, 3, 4          # parameters of an epilogue


class _Loops(Writer):
    """Loops around what Writer writes. `parts` says of a loop that runs over a part of its turns
    which locals hold where that begins and how many turns it has."""

    def __init__(self, nest: Nest, values: Values, scratch: int | None, *signature):
        super().__init__(nest, values, *signature)
        self.scratch = scratch
        self.parts: dict[int, tuple[int, int]] = {}

    def function(self, split: bool = False) -> Function:
        if split:
            self.divide()
        for key in self.begins:
            self.start_pointer(key)
        self.enter(0)
        self.outer_loops(0)
        return self.f

    def as_one_row(self, columns: int):
        """Whole rows of an epilogue, as one that is as long as all of them."""
        self.f.get(_COLUMNS)
        self.f.const(columns)
        self.f.op("i32.eq")
        self.f.block("if")
        self.f.get(_ROWS)
        self.times(columns)
        self.f.set(_COLUMNS)
        self.f.const(1)
        self.f.set(_ROWS)
        self.f.op("end")

    # ── threads ───────────────────────────────────────────────────────────────

    def divide(self):
        """Find this thread's part of the shared loop, or return."""
        if self.nest.shared is None:
            self.f.get(THREAD)
            self.return_if()
            return
        n, count = self.nest.sizes[self.nest.shared], self.local(I32, "count")
        unit = CHUNK if self.nest.shared in (self.nest.vector, self.nest.spread) else 1
        begin = self.local(I32, "begin")
        self.parts[self.nest.shared] = begin, count
        # count = unit * ceil(ceil(n / unit) / threads); begin = thread * count
        self.f.const(-(-n // unit) - 1)
        self.word(THREADS)
        self.f.op("i32.add")
        self.word(THREADS)
        self.f.op("i32.div_u")
        self.times(unit)
        self.f.tee(count)
        self.f.get(THREAD)
        self.f.op("i32.mul")
        self.f.tee(begin)
        self.f.const(n)
        self.f.op("i32.ge_u")
        self.return_if()
        self.cut_off(n, begin, count)

    def cut_off(self, n: int, begin: int, count: int):
        """count = min(count, n - begin)"""
        rest = self.local(I32, "rest")
        self.f.const(n)
        self.f.get(begin)
        self.f.op("i32.sub")
        self.f.tee(rest)
        self.f.get(count)
        self.f.get(rest)
        self.f.get(count)
        self.f.op("i32.lt_u")
        self.f.op("select")
        self.f.set(count)

    def return_if(self):
        self.f.block("if")
        self.f.op("return")
        self.f.op("end")

    def word(self, word: int):
        self.f.get(self.arguments)
        self.f.memory("i32.load", WORD * word)

    def start_pointer(self, key: tuple):
        word, steps = key
        pointer = self.pointers[key] = self.local(I32, "pointer", key, 0)
        if word is None:
            self.f.const(self.begins[key])
        elif word == SCRATCH:
            self.f.get(THREAD)
            self.f.op("call", self.scratch)
            self.plus(self.begins[key])
        else:
            self.word(word)
            self.plus(self.begins[key])
        for i, (begin, _) in self.parts.items():
            if self.moves(key, i):
                self.f.get(begin)
                self.times(steps[i])
                self.f.op("i32.add")
        self.f.set(pointer)

    # ── loops ─────────────────────────────────────────────────────────────────

    def outer_loops(self, i: int):
        if i == self.nest.kept:
            self.rows()
        else:
            self.loop(i, lambda: self.outer_loops(i + 1))

    def inner_loops(self, i: int):
        if i == self.inner:
            self.body()
        else:
            self.loop(i, lambda: self.inner_loops(i + 1))

    def loop(self, i: int, inside: Callable[[], None]):
        """Loop i around `inside`, with pointers of its own, phase after phase."""
        before = self.pointers, self.copies, self.lanes
        wanted = self.moved(self.stage) if i >= self.nest.kept else self.pointers
        self.pointers = {key: at for key, at in self.pointers.items() if key in wanted}
        # The outermost loop need not give them back, unless the next stage begins with it.
        for key in [key for key in self.pointers if self.moves(key, i)]:
            if i or len(self.used) > 1:
                self.f.get(self.pointers[key])
                self.pointers[key] = self.local(I32, "pointer", key, i + 1)
                self.f.set(self.pointers[key])
        phases = self.phases(i)
        for (copies, lanes, step), turns in zip(phases, self.turns(i, phases), strict=True):
            self.copies, self.lanes = copies, lanes
            self.turn(i, turns, step, inside)
        self.pointers, self.copies, self.lanes = before

    def moves(self, key: tuple, i: int) -> bool:
        """Whether a pointer moves with loop i. One row of scratch serves all rows."""
        word, steps = key
        return steps[i] != 0 and (word != SCRATCH or i >= self.nest.kept)

    def phases(self, i: int) -> list[tuple[tuple[int, ...], int, int]]:
        """Ways through loop i, each for what the last left: copies, lanes, elements a turn."""
        every, vector = tuple(range(self.nest.unrolls[self.stage])), self.nest.vector
        spread = self.nest.spread
        if i == vector == spread:
            ways = [(c, n, len(c) * n) for c, n in ((every, LANES), ((0,), LANES), ((0,), 1))]
        elif i == spread:
            ways = [(c, self.lanes, len(c)) for c in (every, (0,))]
        elif i == vector:
            ways = [(self.copies, n, n) for n in (LANES, 1)]
        else:
            ways = [(self.copies, self.lanes, 1)]
        return list(dict.fromkeys(ways))

    def turns(self, i: int, phases) -> list:
        """How often each phase turns: numbers, or, for the loop that threads share, locals."""
        left, before, turns = self.nest.sizes[i], None, []
        for _, _, step in phases:
            part = i in self.parts
            turns.append([self.quotient(i, before, step)] if part else left // step)
            left, before = left % step, step
        return turns

    def quotient(self, i: int, modulo: int | None, by: int) -> int:
        """A local that holds how many turns loop i has, % modulo // by."""
        self.f.get(self.parts[i][1])
        for n, op in ((modulo, "i32.rem_u"), (by, "i32.div_u")):
            if n not in (None, 1):
                self.f.const(n)
                self.f.op(op)
        out = self.local(I32, "turns", i, by)
        self.f.set(out)
        return out

    def turn(self, i: int, turns, step: int, inside: Callable[[], None]):
        """As often as `turns` says: what level i + 1 needs, `inside`, pointers on by `step`."""
        if turns == 0:
            return
        if turns == 1:
            self.once(i, step, inside)
            return
        counter = self.local(I32, "counter", i)
        if isinstance(turns, int):
            self.f.const(turns)
            self.f.set(counter)
        else:
            self.f.get(turns[0])
            self.f.tee(counter)
            self.f.block("if")
        self.f.block("loop")
        self.once(i, step, inside)
        self.f.get(counter)
        self.plus(-1)
        self.f.tee(counter)
        self.f.op("br_if", 0)
        self.f.op("end")
        if not isinstance(turns, int):
            self.f.op("end")

    def once(self, i: int, step: int, inside: Callable[[], None]):
        self.enter(i + 1)
        inside()
        for key, pointer in self.pointers.items():
            if self.moves(key, i):
                self.f.get(pointer)
                self.plus(key[1][i] * step)
                self.f.set(pointer)

    def enter(self, level: int):
        """What the loops inside need of this level."""
        if level < self.inner:
            nodes = self.outer if level <= self.nest.kept else self.levels[self.stage]
            for copy in self.copies if level > self.nest.spread else (0,):
                self.compute(nodes[level], copy)

    def body(self):
        for copy in self.copies:
            self.compute(self.levels[self.stage][self.inner], copy)
            for at, fold in self.folds_here():
                self.push(fold.node, copy)
                self.f.set(self.accumulator(at, copy))
            self.write(self.early[self.stage], copy)

    # ── rows ──────────────────────────────────────────────────────────────────

    def rows(self):
        """The stages, one after the other, over the rows in hand."""
        for n in range(len(self.used)):
            self.stage = n
            self.row()
        self.stage = 0

    def row(self):
        """Accumulators begin, the folded loops run, and the tail goes on with what is left."""
        across, copies = self.nest.across, self.copies
        if across:
            copies = (*range(self.nest.unrolls[self.stage]), SINGLE)
        for at, fold in self.folds_here():
            for copy in copies:
                self.f.code += fold.start
                self.f.set(self.local(V128, "accumulator", at, copy))
        if self.used[self.stage]:
            self.inner_loops(self.nest.kept)
        for at, fold in self.folds_here() if across else ():
            self.bring_together(at, fold.formula)
        for copy in self.copies:
            self.compute(self.tails[self.stage], copy)
            self.write(self.late[self.stage], copy)

    def folds_here(self) -> list[tuple[int, Fold]]:
        return [(at, fold) for at, fold in enumerate(self.folds) if fold.stage == self.stage]

    def bring_together(self, at: int, formula: Template):
        """All vectors of a fold's accumulators, and all lanes, into that of single elements."""
        single = self.local(V128, "accumulator", at, SINGLE)
        total, moved = self.local(V128, "accumulator", at, 0), self.local(V128, "moved")
        for copy in range(1, self.nest.unrolls[self.stage]):
            self.join(formula, total, self.local(V128, "accumulator", at, copy))
        for swap in _SWAPS:
            self.mix(total, total, swap, moved)
            self.join(formula, total, moved)
        if self.nest.sizes[self.nest.vector] % LANES:
            self.join(formula, single, total)
        else:
            self.f.get(total)
            self.f.set(single)

    def join(self, formula: Template, total: int, other: int):
        """total = formula(total, other)"""
        def push(value):
            if value < formula.inputs:
                return self.f.get((total, other)[value])
            code, args = formula.code[value - formula.inputs]
            for arg in args:
                push(arg)
            self.f.code += code
        push(formula.result)
        self.f.set(total)
