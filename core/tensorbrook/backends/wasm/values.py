"""What a Loop computes as a graph of vector instructions, and the leaves it reads."""
from collections.abc import Mapping
from dataclasses import dataclass

from ...base.dtypes import DType
from ...base.views import View
from ...ir.graph import Atom
from ...ir.kernel import Apply, Index, Load, Loop, Number, Place, Reduced, Store
from .assembler import OPCODES, v128_const
from .formulas import BOUNDS, Template, constant, template
from .host import ARENA, SLOTS
from .lanes import Lanes
from .nest import Nest, masked
from .rows import Share, formula_of

SCRATCH = -1                             # in place of a word: this thread's scratch memory

WIDTH = 4                                # bytes of a lane
_ZERO = v128_const(bytes(16))


@dataclass(frozen=True)
class Memory:
    """A leaf: elements of `size` bytes, `offset` bytes from where word `word` of the arguments
    points, and `steps` bytes further with each turn of a loop."""

    word: int
    steps: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True)
class Counter:
    """A leaf: the number `offset`, and `steps` more with each turn of a loop."""

    steps: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Folded:
    """A leaf: the accumulator of fold number `at`; when `done`, for use in the tail."""

    at: int
    done: bool


@dataclass(frozen=True)
class Write:
    """Node `node` goes `to` memory; in the tail of the stage when `late`."""

    stage: int
    node: int
    to: Memory
    late: bool


@dataclass(frozen=True)
class Fold:
    """An accumulator of a stage begins as `start` and goes on as `node`; `formula` joins two."""

    stage: int
    start: bytes
    node: int
    formula: Template


class Values:
    """The loop's values as nodes of `lanes`, what is folded, and what is written."""

    def __init__(self, loop: Loop, shares: list[Share], nest: Nest, places: Mapping[Atom, Place],
                 relaxed: bool):
        self.loop, self.nest, self.places, self.relaxed = loop, nest, places, relaxed
        self.lanes = Lanes(relaxed)
        self.folds: list[Fold] = []
        self.writes: list[Write] = []
        self.nodes: dict[int, int] = {}              # of the stage at hand and of all tails so far
        self.kept = {i: at for at, i in enumerate(i for share in shares for i in share.keeps)}
        for n, share in enumerate(shares):
            self.stage(n, share)

    def stage(self, n: int, share: Share):
        for i in sorted(share.computes + share.takes):
            self.nodes[i] = self.again(i) if i in share.takes else self.node(i)
        for i, part in enumerate(self.loop.parts):
            if part == (n, True):
                self.nodes[i] = self.node(i)
        self.writes += [Write(n, self.nodes[i], self.row(i), False) for i in share.keeps]
        self.writes += [self.write(s) for s in self.loop.stores if self.loop.parts[s.value][0] == n]

    def node(self, i: int) -> int:
        value, (stage, late) = self.loop.values[i], self.loop.parts[i]
        match value:
            case Load():
                leaf = self.memory(value.source, value.view, value.dtype, late)
                return self.widened(self.leaf(leaf, leaf.steps), value.dtype)
            case Number():
                return self.lanes.op(constant(value.value, value.dtype.kind))
            case Index():
                steps = self.steps(value.weights, late)
                return self.leaf(Counter(steps, value.begin), steps)
            case Apply():
                formula = formula_of(self.loop, value, self.relaxed)
                return self.lanes.apply(formula, tuple(self.nodes[i] for i in value.args))
            case Reduced():
                return self.fold(value, stage)
        raise AssertionError(f"{value} is not a value")

    def again(self, i: int) -> int:
        """A value as an earlier stage has kept it."""
        return self.lanes.leaf(self.row(i), len(self.nest.sizes), True)

    def row(self, i: int) -> Memory:
        """Where a value is kept: all lanes of it, whatever its dtype, row behind row."""
        steps, count = self.nest.row()
        return Memory(SCRATCH, tuple(WIDTH * s for s in steps), WIDTH * count * self.kept[i], WIDTH)

    def of_stages(self, late: bool) -> list[list[Write]]:
        """What each stage writes, in its tail or at every index."""
        return [[w for w in self.writes if w.stage == n and w.late == late]
                for n in range(len(self.loop.stages))]

    def steps(self, strides: tuple[int, ...], late: bool) -> tuple[int, ...]:
        return self.nest.steps(masked(strides, self.loop.axes) if late else strides)

    def memory(self, atom: Atom, view: View, dtype: DType, late: bool) -> Memory:
        place = self.places[atom]
        word, begin = (ARENA, place.at) if place.kind == "arena" else (SLOTS + place.at, 0)
        steps = tuple(s * dtype.size for s in self.steps(view.strides, late))
        return Memory(word, steps, begin + view.offset * dtype.size, dtype.size)

    def leaf(self, leaf: Memory | Counter, steps: tuple[int, ...]) -> int:
        level = max((i + 1 for i, step in enumerate(steps) if step), default=0)
        varies = steps[self.nest.vector] or steps[self.nest.spread]
        return self.lanes.leaf(leaf, level, bool(varies))

    def widened(self, node: int, dtype: DType) -> int:
        """Bytes 0 to 3 as four lanes."""
        if dtype.size == 4:
            return node
        for name in ("i16x8.extend_low_i8x16_u", "i32x4.extend_low_i16x8_u"):
            node = self.lanes.op(OPCODES[name], (node,))
        return self.lanes.op(OPCODES["i32x4.neg"], (node,)) if dtype.is_bool else node

    def narrowed(self, node: int, dtype: DType) -> int:
        """Four lanes as bytes 0 to 3."""
        if dtype.size == 4:
            return node
        op, zero = self.lanes.op, self.lanes.op(_ZERO)
        if dtype.is_bool:
            node = op(OPCODES["v128.and"], (node, op(constant(1, "i"))))
        node = op(OPCODES["i16x8.narrow_i32x4_u"], (node, zero))
        return op(OPCODES["i8x16.narrow_i16x8_u"], (node, zero))

    def fold(self, value: Reduced, stage: int) -> int:
        kind, reduction = value.dtype.kind, value.reduction
        start = _start(reduction.start, value.dtype)
        bound = BOUNDS.get(reduction.formula) if kind == "f" else None
        if bound is None:
            return self.accumulated(stage, reduction.formula, kind, start, self.nodes[value.arg])
        # What lets NaN through takes nine instructions on x86, also when lanes come together; these
        # are three.
        x = self.nodes[value.arg]
        best = self.accumulated(stage, bound, kind, start, x)
        is_nan = self.lanes.op(OPCODES["f32x4.ne"], (x, x))
        spoilt = self.accumulated(stage, "x | y", "b", constant(False, "b"), is_nan)
        return self.lanes.apply(template("select(x, nan, y)", "bf", "f", self.relaxed),
                                (spoilt, best))

    def accumulated(self, stage: int, formula: str, kind: str, start: bytes, node: int) -> int:
        """What is left of a node along the row, by a formula that folds it in."""
        at, both = len(self.folds), template(formula, kind * 2, kind, self.relaxed)
        so_far = self.lanes.leaf(Folded(at, False), len(self.nest.sizes), True)
        self.folds.append(Fold(stage, start, self.lanes.apply(both, (so_far, node)), both))
        return self.lanes.leaf(Folded(at, True), self.nest.kept, not self.nest.across, stage + 1)

    def write(self, store: Store) -> Write:
        stage, late = self.loop.parts[store.value]
        dtype = self.loop.values[store.value].dtype
        node = self.narrowed(self.nodes[store.value], dtype)
        return Write(stage, node, self.memory(store.target, store.view, dtype, late), late)


def _start(start: float | str | None, dtype: DType) -> bytes:
    """What an accumulator begins with."""
    if start == "lowest":
        start = float("-inf") if dtype.is_floating else dtype.min
    elif start == "highest":
        start = float("inf") if dtype.is_floating else dtype.max
    return constant(start, dtype.kind)
