"""A Loop as one WebAssembly function `(thread, arguments)`.

The loops of the nest stand inside each other; each keeps a pointer for every group of leaves that
moves in the same steps. The vector loop runs in phases: several vectors at a time, then one, then
the last one to three elements through the same instructions, one element in all four lanes; so a
result does not depend on where its element stands, and nothing outside a buffer is touched.
"""
from collections.abc import Callable, Mapping

from ...ir.graph import Atom
from ...ir.kernel import LoopKernel, BufferLocation
from .assembler import I32, V128, Function, shuffle
from .expression_codegen import CompiledExpression
from .host import THREADS_WORD, WORD_BYTES
from .loop_nest import CHUNK, LANES, LoopNest, choose_loop_nest, epilogue_nest, rows_are_contiguous
from .pass_values import assign_pass_values
from .loop_values import SCRATCH, WIDTH, Accumulator, LoopValues
from .loop_emitter import TAIL, LoopEmitterBase

THREAD_PARAM = 0                               # the parameter that holds this thread's number

_SWAPS = shuffle(2, 3, 0, 1), shuffle(1, 0, 3, 2)

# Bytes that a kernel may keep of its rows. SCRATCH_BYTES of the engine are more.
MAX_ROW_CACHE_BYTES = 1 << 20


def kernel(loop: LoopKernel, places: Mapping[Atom, BufferLocation], split: bool, relaxed: bool,
           scratch: int | None = None) -> Function:
    """The function that carries out `loop`; with `split` the threads divide it among themselves.
    A loop of several stages needs `scratch`, the function that gives a thread its memory."""
    if 0 in loop.reduced_space:
        return Function((I32, I32))
    parts = assign_pass_values(loop, relaxed)
    nest = choose_loop_nest(loop, parts, split)
    if WIDTH * nest.row_layout()[1] * sum(len(part.spilled) for part in parts) > MAX_ROW_CACHE_BYTES:
        parts = assign_pass_values(loop, relaxed, keep=False)
    return _LoopEmitter(nest, LoopValues(loop, parts, nest, places, relaxed), scratch).function(split)


def epilogue(loop: LoopKernel, places: Mapping[Atom, BufferLocation], relaxed: bool) -> Function:
    """The function `(arguments, row, rows, column, columns)` that carries out a rectangle of
    `loop`, whose space is rows and columns."""
    parts = assign_pass_values(loop, relaxed)
    nest = epilogue_nest(loop, parts)
    writer = _LoopEmitter(nest, LoopValues(loop, parts, nest, places, relaxed), None, (I32,) * 5, 0)
    for axis, (begin, count) in enumerate(((_ROW, _ROWS), (_COLUMN, _COLUMNS))):
        writer.parts[nest.axis_groups.index((axis,))] = begin, count
    if rows_are_contiguous(loop):
        writer.flatten_rows(loop.iteration_space[1])
    return writer.function()


_ROW, _ROWS, _COLUMN, _COLUMNS = 1, 2, 3, 4          # parameters of an epilogue


class _LoopEmitter(LoopEmitterBase):
    """Loops around what Writer writes. `parts` says of a loop that runs over a part of its turns
    which locals hold where that begins and how many turns it has."""

    def __init__(self, nest: LoopNest, values: LoopValues, scratch: int | None, *signature):
        super().__init__(nest, values, *signature)
        self.scratch = scratch
        self.parts: dict[int, tuple[int, int]] = {}

    def function(self, split: bool = False) -> Function:
        if split:
            self.emit_thread_partition()
        for key in self.begins:
            self.init_pointer(key)
        self.compute_level(0)
        self.emit_outer(0)
        return self.f

    def flatten_rows(self, columns: int):
        """Whole rows of an epilogue, as one that is as long as all of them."""
        self.f.get(_COLUMNS)
        self.f.const(columns)
        self.f.op("i32.eq")
        self.f.block("if")
        self.f.get(_ROWS)
        self.mul_const(columns)
        self.f.set(_COLUMNS)
        self.f.const(1)
        self.f.set(_ROWS)
        self.f.op("end")

    # ── threads ───────────────────────────────────────────────────────────────

    def emit_thread_partition(self):
        """Find this thread's part of the shared loop, or return."""
        if self.nest.thread_loop is None:
            self.f.get(THREAD_PARAM)
            self.return_if()
            return
        n, count = self.nest.sizes[self.nest.thread_loop], self.local(I32, "count")
        unit = CHUNK if self.nest.thread_loop in (self.nest.vector, self.nest.unroll_loop) else 1
        begin = self.local(I32, "begin")
        self.parts[self.nest.thread_loop] = begin, count
        # count = unit * ceil(ceil(n / unit) / threads); begin = thread * count
        self.f.const(-(-n // unit) - 1)
        self.word(THREADS_WORD)
        self.f.op("i32.add")
        self.word(THREADS_WORD)
        self.f.op("i32.div_u")
        self.mul_const(unit)
        self.f.tee(count)
        self.f.get(THREAD_PARAM)
        self.f.op("i32.mul")
        self.f.tee(begin)
        self.f.const(n)
        self.f.op("i32.ge_u")
        self.return_if()
        self.clamp_count(n, begin, count)

    def clamp_count(self, n: int, begin: int, count: int):
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
        self.f.memory("i32.load", WORD_BYTES * word)

    def init_pointer(self, key: tuple):
        word, steps = key
        pointer = self.pointers[key] = self.local(I32, "pointer", key, 0)
        if word is None:
            self.f.const(self.begins[key])
        elif word == SCRATCH:
            self.f.get(THREAD_PARAM)
            self.f.op("call", self.scratch)
            self.add_const(self.begins[key])
        else:
            self.word(word)
            self.add_const(self.begins[key])
        for i, (begin, _) in self.parts.items():
            if self.advances_with(key, i):
                self.f.get(begin)
                self.mul_const(steps[i])
                self.f.op("i32.add")
        self.f.set(pointer)

    # ── loops ─────────────────────────────────────────────────────────────────

    def emit_outer(self, i: int):
        if i == self.nest.num_outer:
            self.emit_passes()
        else:
            self.loop(i, lambda: self.emit_outer(i + 1))

    def emit_inner(self, i: int):
        if i == self.inner:
            self.body()
        else:
            self.loop(i, lambda: self.emit_inner(i + 1))

    def loop(self, i: int, inside: Callable[[], None]):
        """Loop i around `inside`, with pointers of its own, phase after phase."""
        before = self.pointers, self.copies, self.lanes
        wanted = self.pointers_used(self.stage) if i >= self.nest.num_outer else self.pointers
        self.pointers = {key: at for key, at in self.pointers.items() if key in wanted}
        # The outermost loop need not give them back, unless the next stage begins with it.
        for key in [key for key in self.pointers if self.advances_with(key, i)]:
            if i or len(self.used) > 1:
                self.f.get(self.pointers[key])
                self.pointers[key] = self.local(I32, "pointer", key, i + 1)
                self.f.set(self.pointers[key])
        phases = self.phases(i)
        for (copies, lanes, step), turns in zip(phases, self.turns(i, phases), strict=True):
            self.copies, self.lanes = copies, lanes
            self.emit_iterations(i, turns, step, inside)
        self.pointers, self.copies, self.lanes = before

    def advances_with(self, key: tuple, i: int) -> bool:
        """Whether a pointer moves with loop i. One row of scratch serves all rows."""
        word, steps = key
        return steps[i] != 0 and (word != SCRATCH or i >= self.nest.num_outer)

    def phases(self, i: int) -> list[tuple[tuple[int, ...], int, int]]:
        """Ways through loop i, each for what the last left: copies, lanes, elements a turn."""
        every, vector = tuple(range(self.nest.unrolls[self.stage])), self.nest.vector
        spread = self.nest.unroll_loop
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
            turns.append([self.iteration_count_local(i, before, step)] if part else left // step)
            left, before = left % step, step
        return turns

    def iteration_count_local(self, i: int, modulo: int | None, by: int) -> int:
        """A local that holds how many turns loop i has, % modulo // by."""
        self.f.get(self.parts[i][1])
        for n, op in ((modulo, "i32.rem_u"), (by, "i32.div_u")):
            if n not in (None, 1):
                self.f.const(n)
                self.f.op(op)
        out = self.local(I32, "turns", i, by)
        self.f.set(out)
        return out

    def emit_iterations(self, i: int, turns, step: int, inside: Callable[[], None]):
        """As often as `turns` says: what level i + 1 needs, `inside`, pointers on by `step`."""
        if turns == 0:
            return
        if turns == 1:
            self.emit_iteration(i, step, inside)
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
        self.emit_iteration(i, step, inside)
        self.f.get(counter)
        self.add_const(-1)
        self.f.tee(counter)
        self.f.op("br_if", 0)
        self.f.op("end")
        if not isinstance(turns, int):
            self.f.op("end")

    def emit_iteration(self, i: int, step: int, inside: Callable[[], None]):
        self.compute_level(i + 1)
        inside()
        for key, pointer in self.pointers.items():
            if self.advances_with(key, i):
                self.f.get(pointer)
                self.add_const(key[1][i] * step)
                self.f.set(pointer)

    def compute_level(self, level: int):
        """What the loops inside need of this level."""
        if level < self.inner:
            nodes = self.outer if level <= self.nest.num_outer else self.levels[self.stage]
            for copy in self.copies if level > self.nest.unroll_loop else (0,):
                self.emit_nodes(nodes[level], copy)

    def body(self):
        for copy in self.copies:
            self.emit_nodes(self.levels[self.stage][self.inner], copy)
            for at, fold in self.accumulators():
                self.push(fold.node, copy)
                self.f.set(self.accumulator(at, copy))
            self.write(self.early[self.stage], copy)

    # ── rows ──────────────────────────────────────────────────────────────────

    def emit_passes(self):
        """The stages, one after the other, over the rows in hand."""
        for n in range(len(self.used)):
            self.stage = n
            self.emit_pass()
        self.stage = 0

    def emit_pass(self):
        """Accumulators begin, the folded loops run, and the tail goes on with what is left."""
        across, copies = self.nest.reduces_lanes, self.copies
        if across:
            copies = (*range(self.nest.unrolls[self.stage]), TAIL)
        for at, fold in self.accumulators():
            for copy in copies:
                self.f.code += fold.start
                self.f.set(self.local(V128, "accumulator", at, copy))
        if self.used[self.stage]:
            self.emit_inner(self.nest.num_outer)
        for at, fold in self.accumulators() if across else ():
            self.horizontal_reduce(at, fold.formula)
        for copy in self.copies:
            self.emit_nodes(self.tails[self.stage], copy)
            self.write(self.late[self.stage], copy)

    def accumulators(self) -> list[tuple[int, Accumulator]]:
        return [(at, fold) for at, fold in enumerate(self.folds) if fold.stage == self.stage]

    def horizontal_reduce(self, at: int, formula: CompiledExpression):
        """All vectors of a fold's accumulators, and all lanes, into that of single elements."""
        single = self.local(V128, "accumulator", at, TAIL)
        total, moved = self.local(V128, "accumulator", at, 0), self.local(V128, "moved")
        for copy in range(1, self.nest.unrolls[self.stage]):
            self.combine(formula, total, self.local(V128, "accumulator", at, copy))
        for swap in _SWAPS:
            self.emit_binary(total, total, swap, moved)
            self.combine(formula, total, moved)
        if self.nest.sizes[self.nest.vector] % LANES:
            self.combine(formula, single, total)
        else:
            self.f.get(total)
            self.f.set(single)

    def combine(self, formula: CompiledExpression, total: int, other: int):
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
