"""A Loop as one WebAssembly function `(thread, arguments)`.

The loops of the nest stand inside each other; each keeps a pointer for every group of leaves that
moves in the same steps. The vector loop runs in phases: several vectors at a time, then one, then
the last one to three elements through the same instructions, one element in all four lanes; so a
result does not depend on where its element stands, and nothing outside a buffer is touched.
"""
from dataclasses import dataclass
from typing import Callable, Mapping

from ...ir.graph import Atom
from ...ir.kernel import Apply, Loop, Place
from .assembler import I32, OPCODES, V128, Function, shuffle, unsigned, v128_const
from .formulas import Template
from .lanes import named, used
from .nest import CHUNK, LANES, Nest, arrange
from .values import THREADS, Counter, Folded, Memory, Values, Write, formula_of

THREAD, ARGUMENTS = 0, 1                 # the function's parameters
WORD = 4                                 # bytes of a word of the arguments block
SINGLE = -1                              # the accumulator of the last few elements

_HALVES, _PAIRS = shuffle(2, 3, 0, 1), shuffle(1, 0, 3, 2)


@dataclass(frozen=True)
class Phase:
    """One way through the vector loop: the copies of the body, of `lanes` elements each."""

    copies: tuple[int, ...]
    lanes: int


def kernel(loop: Loop, places: Mapping[Atom, Place], split: bool, relaxed: bool) -> Function:
    """The function that carries out `loop`; with `split` the threads divide it among themselves."""
    if any(n == 0 for i, n in enumerate(loop.space) if i not in loop.axes):
        return Function((I32, I32))
    weight = sum(len(formula_of(loop, v, relaxed).code) for v in loop.body if isinstance(v, Apply))
    nest = arrange(loop, weight, split)
    return _Writer(nest, Values(loop, nest, places, relaxed)).function(split)


def _pointer(leaf: Memory | Counter) -> tuple:
    """Leaves with the same key share a pointer."""
    return (leaf.word if isinstance(leaf, Memory) else None), leaf.steps


class _Writer:
    """Writes the function. `pointers` are those of the loop at hand, `count` is how many turns of
    the shared loop are this thread's, when that is known only at run time."""

    def __init__(self, nest: Nest, values: Values):
        self.nest, self.lanes, self.folds = nest, values.lanes, values.folds
        self.early = [w for w in values.writes if not w.late]
        self.late = [w for w in values.writes if w.late]
        self.inner = len(nest.sizes)
        self.levels, self.tail, self.named = self.schedule()
        self.f = Function((I32, I32))
        self.locals: dict[tuple, int] = {}
        self.pointers: dict[tuple, int] = {}
        self.begins = self.least_offsets()
        self.count: int | None = None
        self.phase = Phase((0,), 1)

    def schedule(self) -> tuple[list[list[int]], list[int], set[int]]:
        """The nodes that get a local: by level, then those of the tail, then all of them."""
        body = [fold.node for fold in self.folds] + [w.node for w in self.early]
        tail = [w.node for w in self.late]
        roots = dict.fromkeys(tail, self.nest.kept) | dict.fromkeys(body, self.inner)
        # Where several buffers are written, all values are there before the first is written:
        # one may be written over what another is computed from.
        keep = {w.node for writes in (self.early, self.late) if len(writes) > 1 for w in writes}
        nodes = used(self.lanes, body + tail)
        chosen = named(self.lanes, nodes, roots, keep)
        in_body = set(used(self.lanes, body))
        levels: list[list[int]] = [[] for _ in range(self.inner + 1)]
        after: list[int] = []
        for node in nodes:
            if node in chosen and not isinstance(self.lanes.code[node], Folded):
                level = self.lanes.level[node]
                (levels[level] if node in in_body or level < self.nest.kept else after).append(node)
        return levels, after, chosen

    def function(self, split: bool) -> Function:
        if split:
            self.divide()
        for key in self.begins:
            self.start_pointer(key)
        self.enter(0)
        self.outer_loops(0)
        return self.f

    # ── threads and pointers ──────────────────────────────────────────────────

    def divide(self):
        """This thread's share of the shared loop: `begin` and `count`; nothing left, return."""
        if self.nest.shared is None:
            self.f.get(THREAD)
            self.return_if()
            return
        n = self.nest.sizes[self.nest.shared]
        unit = CHUNK if self.nest.shared == self.nest.vector else 1
        begin, count, threads = self.local(I32, "begin"), self.local(I32, "count"), self.local(I32, "threads")
        self.word(THREADS, threads)
        self.f.const(-(-n // unit) - 1)
        self.f.get(threads)
        self.f.op("i32.add")
        self.f.get(threads)
        self.f.op("i32.div_u")
        self.times(unit)
        self.f.tee(count)
        self.f.get(THREAD)
        self.f.op("i32.mul")
        self.f.tee(begin)
        self.f.const(n)
        self.f.op("i32.ge_u")
        self.return_if()
        self.least(count, n, begin)
        self.count = count

    def least(self, count: int, n: int, begin: int):
        """count = min(count, n - begin)"""
        rest = self.local(I32, "rest")
        self.f.get(count)
        self.f.const(n)
        self.f.get(begin)
        self.f.op("i32.sub")
        self.f.tee(rest)
        self.f.get(count)
        self.f.get(rest)
        self.f.op("i32.lt_u")
        self.f.op("select")
        self.f.set(count)

    def return_if(self):
        self.f.block("if")
        self.f.op("return")
        self.f.op("end")

    def word(self, word: int, into: int):
        self.f.get(ARGUMENTS)
        self.f.memory("i32.load", WORD * word)
        self.f.set(into)

    def times(self, n: int):
        if n != 1:
            self.f.const(n)
            self.f.op("i32.mul")

    def plus(self, n: int):
        if n:
            self.f.const(n)
            self.f.op("i32.add")

    def local(self, type: int, *key) -> int:
        """The local for `key`, the same one each time."""
        if key not in self.locals:
            self.locals[key] = self.f.local(type)
        return self.locals[key]

    def least_offsets(self) -> dict[tuple, int]:
        """Where each pointer begins: at the first of the leaves that share it."""
        roots = [w.node for w in self.early + self.late] + [fold.node for fold in self.folds]
        leaves = [self.lanes.code[node] for node in used(self.lanes, roots)]
        leaves += [w.to for w in self.early + self.late]
        begins: dict[tuple, int] = {}
        for leaf in leaves:
            if isinstance(leaf, (Memory, Counter)):
                key = _pointer(leaf)
                begins[key] = min(begins.get(key, leaf.offset), leaf.offset)
        return begins

    def start_pointer(self, key: tuple):
        word, steps = key
        pointer = self.pointers[key] = self.local(I32, "pointer", key, 0)
        if word is None:
            self.f.const(self.begins[key])
        else:
            self.f.get(ARGUMENTS)
            self.f.memory("i32.load", WORD * word)
            self.plus(self.begins[key])
        if self.count is not None and steps[self.nest.shared]:
            self.f.get(self.local(I32, "begin"))
            self.times(steps[self.nest.shared])
            self.f.op("i32.add")
        self.f.set(pointer)

    def address(self, leaf: Memory, further: int) -> int:
        """Push the leaf's pointer; returns the offset to load from, `further` bytes on."""
        key = _pointer(leaf)
        offset = leaf.offset - self.begins[key] + further
        self.f.get(self.pointers[key])
        if offset >= 0:
            return offset
        self.plus(offset)
        return 0

    # ── loops ─────────────────────────────────────────────────────────────────

    def outer_loops(self, i: int):
        if i == self.nest.kept:
            self.fold()
        else:
            self.loop(i, lambda: self.outer_loops(i + 1))

    def inner_loops(self, i: int):
        if i == self.inner:
            self.body()
        else:
            self.loop(i, lambda: self.inner_loops(i + 1))

    def loop(self, i: int, inside: Callable[[], None]):
        """Loop i around `inside`, with its own pointers."""
        before = dict(self.pointers)
        for key in [key for key in before if key[1][i]] if i else ():
            self.pointers[key] = self.local(I32, "pointer", key, i)
            self.f.get(before[key])
            self.f.set(self.pointers[key])
        if i == self.nest.vector:
            for self.phase, turns in self.phases(self.turns(i)):
                self.turn(i, turns, len(self.phase.copies) * self.phase.lanes, inside)
        else:
            self.turn(i, self.turns(i), 1, inside)
        self.pointers = before

    def turns(self, i: int) -> int | None:
        """How often loop i turns, None if `count` says it."""
        return None if self.count is not None and i == self.nest.shared else self.nest.sizes[i]

    def phases(self, n: int | None):
        """The phases of the vector loop and their turns: numbers, or, for None, locals in a list."""
        unroll = self.nest.unroll
        blocks, vectors, singles = Phase(tuple(range(unroll)), LANES), Phase((0,), LANES), Phase((0,), 1)
        if n is not None:
            rest = n % (unroll * LANES)
            return (blocks, n // (unroll * LANES)), (vectors, rest // LANES), (singles, n % LANES)
        return ((blocks, [self.quotient(unroll * LANES, None)]),
                (vectors, [self.quotient(LANES, unroll)]), (singles, [self.quotient(1, LANES)]))

    def quotient(self, by: int, modulo: int | None) -> int:
        """A local that holds count // by % modulo."""
        out = self.local(I32, "quotient", by, modulo)
        self.f.get(self.count)
        self.f.const(by)
        self.f.op("i32.div_u")
        if modulo is not None:
            self.f.const(modulo)
            self.f.op("i32.rem_u")
        self.f.set(out)
        return out

    def turn(self, i: int, turns, step: int, inside: Callable[[], None]):
        """`turns` times: what level i + 1 needs, `inside`, and the pointers on by `step` turns."""
        known = isinstance(turns, int)
        if turns == 0:
            return
        if turns == 1:
            self.enter(i + 1)
            inside()
            self.advance(i, step)
            return
        counter = self.local(I32, "counter", i)
        if known:
            self.f.const(turns)
        else:
            self.f.get(self.count if turns is None else turns[0])
        self.f.tee(counter)
        self.f.block("if")
        self.f.block("loop")
        self.enter(i + 1)
        inside()
        self.advance(i, step)
        self.f.get(counter)
        self.f.const(-1)
        self.f.op("i32.add")
        self.f.tee(counter)
        self.f.op("br_if", 0)
        self.f.op("end")
        self.f.op("end")

    def advance(self, i: int, step: int):
        for (word, steps), pointer in self.pointers.items():
            if steps[i]:
                self.f.get(pointer)
                self.plus(steps[i] * step)
                self.f.set(pointer)

    # ── folding ───────────────────────────────────────────────────────────────

    def fold(self):
        """Accumulators begin, the folded loops run, and the tail goes on with what is left."""
        across = self.nest.vector >= self.nest.kept
        copies = (*range(self.nest.unroll), SINGLE) if across else self.phase.copies
        for at, fold in enumerate(self.folds):
            for copy in copies:
                self.f.code += fold.start
                self.f.set(self.accumulator(at, copy))
        self.inner_loops(self.nest.kept)
        if across:
            for at, fold in enumerate(self.folds):
                self.bring_together(at, fold.formula)
            self.phase = Phase((0,), 1)
        for copy in self.phase.copies:
            self.compute(self.tail, copy)
            self.write(self.late, copy)

    def accumulator(self, at: int, copy: int) -> int:
        return self.local(V128, "accumulator", at, copy)

    def bring_together(self, at: int, formula: Template):
        """All of a fold's accumulators, and all their lanes, into the first."""
        total = self.accumulator(at, 0)
        for copy in range(1, self.nest.unroll):
            self.join(formula, total, self.accumulator(at, copy))
        moved = self.local(V128, "moved")
        for swap in (_HALVES, _PAIRS):
            self.f.get(total)
            self.f.get(total)
            self.f.code += swap
            self.f.set(moved)
            self.join(formula, total, moved)
        self.join(formula, total, self.accumulator(at, SINGLE))

    def join(self, formula: Template, total: int, other: int):
        def push(value):
            if value < 2:
                return self.f.get((total, other)[value])
            code, args = formula.code[value - 2]
            for arg in args:
                push(arg)
            self.f.code += code
        push(formula.result)
        self.f.set(total)

    # ── values ────────────────────────────────────────────────────────────────

    def enter(self, level: int):
        """What the loops inside need of this level."""
        if level < self.inner:
            copies = self.phase.copies if level > self.nest.vector else (0,)
            for copy in copies:
                self.compute(self.levels[level], copy)

    def body(self):
        for copy in self.phase.copies:
            self.compute(self.levels[self.inner], copy)
            single = self.nest.vector >= self.nest.kept and self.phase.lanes == 1
            for at, fold in enumerate(self.folds):
                self.push(fold.node, copy)
                self.f.set(self.accumulator(at, SINGLE if single else copy))
            self.write(self.early, copy)

    def compute(self, nodes: list[int], copy: int):
        """Named nodes into their locals; what all copies share, with the first."""
        for node in nodes:
            if self.lanes.varies[node] or copy == self.phase.copies[0]:
                self.push_fresh(node, copy)
                self.f.set(self.local_of(node, copy))

    def local_of(self, node: int, copy: int) -> int:
        return self.local(V128, "node", node, copy if self.lanes.varies[node] else 0)

    def push(self, node: int, copy: int):
        if node in self.named and not isinstance(self.lanes.code[node], Folded):
            self.f.get(self.local_of(node, copy))
        else:
            self.push_fresh(node, copy)

    def push_fresh(self, node: int, copy: int):
        match self.lanes.code[node]:
            case Memory() as leaf:
                self.load(leaf, copy)
            case Counter() as leaf:
                self.count_up(leaf, copy)
            case Folded() as leaf:
                across = self.nest.vector >= self.nest.kept
                single = across and not leaf.done and self.phase.lanes == 1
                self.f.get(self.accumulator(leaf.at, SINGLE if single else copy))
            case code:
                for arg in self.lanes.args[node]:
                    self.push(arg, copy)
                self.f.code += code

    # ── memory ────────────────────────────────────────────────────────────────

    def load(self, leaf: Memory, copy: int):
        step, bits = leaf.steps[self.nest.vector], 8 * leaf.size
        if step == 0 or self.phase.lanes == 1:
            self.f.memory(f"v128.load{bits}_splat", self.address(leaf, 0))
        elif step == leaf.size:
            name = "v128.load" if bits == 32 else "v128.load32_zero"
            self.f.memory(name, self.address(leaf, copy * LANES * step))
        else:
            self.gather(leaf, copy * LANES * step, step, bits)

    def gather(self, leaf: Memory, first: int, step: int, bits: int):
        """Four elements that do not lie side by side."""
        offsets = [self.address(leaf, first + lane * step) for lane in reversed(range(LANES))]
        self.f.memory(f"v128.load{bits}_splat", offsets.pop())
        for lane in range(1, LANES):
            self.f.memory(f"v128.load{bits}_lane", offsets.pop(), lane)

    def count_up(self, leaf: Counter, copy: int):
        """The counter in every lane, each lane one step further."""
        step = leaf.steps[self.nest.vector]
        self.f.get(self.pointers[_pointer(leaf)])
        self.plus(leaf.offset - self.begins[_pointer(leaf)])
        self.f.op("i32x4.splat")
        if step and self.phase.lanes > 1:
            lanes = [step * (copy * LANES + lane) & 0xFFFFFFFF for lane in range(LANES)]
            self.f.code += v128_const(b"".join(n.to_bytes(4, "little") for n in lanes))
            self.f.op("i32x4.add")

    def write(self, writes: list[Write], copy: int):
        for write in writes:
            step, bits = write.to.steps[self.nest.vector], 8 * write.to.size
            if self.phase.lanes > 1 and step != write.to.size:
                self.scatter(write, copy, step, bits)
                continue
            offset = self.address(write.to, copy * self.phase.lanes * step)
            self.push(write.node, copy)
            if self.phase.lanes == 1:
                self.f.memory(f"v128.store{bits}_lane", offset, 0)
            elif bits == 32:
                self.f.memory("v128.store", offset)
            else:
                self.f.memory("v128.store32_lane", offset, 0)

    def scatter(self, write: Write, copy: int, step: int, bits: int):
        """Four elements to places that do not lie side by side."""
        vector = self.local(V128, "scattered")
        self.push(write.node, copy)
        self.f.set(vector)
        for lane in range(LANES):
            offset = self.address(write.to, step * (copy * LANES + lane))
            self.f.get(vector)
            self.f.memory(f"v128.store{bits}_lane", offset, lane)
