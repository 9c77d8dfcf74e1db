"""What a Loop computes as a graph of vector instructions, and the leaves it reads."""
from collections.abc import Mapping
from dataclasses import dataclass

from ...base.dtypes import DType
from ...base.views import View
from ...ir.graph import Atom
from ...ir.kernel import ElementwiseOp, IndexValue, Load, LoopKernel, ScalarConstant, BufferLocation, ReduceOp, Store
from .assembler import OPCODES, v128_const
from .expression_codegen import NAN_DROPPING_REDUCTIONS, CompiledExpression, constant, compile_expression
from .host import ARENA_WORD, FIRST_SLOT_WORD
from .instruction_graph import InstructionGraph
from .loop_nest import LoopNest, zero_axes
from .pass_values import PassValues, compiled_expression_of

SCRATCH = -1                             # in place of a word: this thread's scratch memory

WIDTH = 4                                # bytes of a lane
_ZERO = v128_const(bytes(16))


@dataclass(frozen=True)
class MemoryLeaf:
    """A leaf: elements of `size` bytes, `offset` bytes from where word `word` of the arguments
    points, and `steps` bytes further with each turn of a loop."""

    word: int
    steps: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True)
class IndexLeaf:
    """A leaf: the number `offset`, and `steps` more with each turn of a loop."""

    steps: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class AccumulatorLeaf:
    """A leaf: the accumulator of fold number `at`; when `done`, for use in the tail."""

    at: int
    done: bool


@dataclass(frozen=True)
class StoreNode:
    """Node `node` goes `to` memory; in the tail of the stage when `late`."""

    stage: int
    node: int
    to: MemoryLeaf
    late: bool


@dataclass(frozen=True)
class Accumulator:
    """An accumulator of a stage begins as `start` and goes on as `node`; `formula` joins two."""

    stage: int
    start: bytes
    node: int
    formula: CompiledExpression


class LoopValues:
    """The loop's values as nodes of `lanes`, what is folded, and what is written."""

    def __init__(self, loop: LoopKernel, shares: list[PassValues], nest: LoopNest, places: Mapping[Atom, BufferLocation],
                 relaxed: bool):
        self.loop, self.nest, self.places, self.relaxed = loop, nest, places, relaxed
        self.lanes = InstructionGraph(relaxed)
        self.folds: list[Accumulator] = []
        self.writes: list[StoreNode] = []
        self.nodes: dict[int, int] = {}              # of the stage at hand and of all tails so far
        self.kept = {i: at for at, i in enumerate(i for share in shares for i in share.spilled)}
        for n, share in enumerate(shares):
            self.stage(n, share)

    def stage(self, n: int, share: PassValues):
        for i in sorted(share.recomputed + share.reloaded):
            self.nodes[i] = self.reload(i) if i in share.reloaded else self.node(i)
        for i, part in enumerate(self.loop.value_sites):
            if part == (n, True):
                self.nodes[i] = self.node(i)
        self.writes += [StoreNode(n, self.nodes[i], self.row_cache_slot(i), False) for i in share.spilled]
        self.writes += [self.write(s) for s in self.loop.stores if self.loop.value_sites[s.value][0] == n]

    def node(self, i: int) -> int:
        value, (stage, late) = self.loop.values[i], self.loop.value_sites[i]
        match value:
            case Load():
                leaf = self.memory(value.source, value.view, value.dtype, late)
                return self.widen_bytes(self.leaf(leaf, leaf.steps), value.dtype)
            case ScalarConstant():
                return self.lanes.add_op(constant(value.value, value.dtype.kind))
            case IndexValue():
                steps = self.steps(value.strides, late)
                return self.leaf(IndexLeaf(steps, value.offset), steps)
            case ElementwiseOp():
                formula = compiled_expression_of(self.loop, value, self.relaxed)
                return self.lanes.apply(formula, tuple(self.nodes[i] for i in value.args))
            case ReduceOp():
                return self.fold(value, stage)
        raise AssertionError(f"{value} is not a value")

    def reload(self, i: int) -> int:
        """A value as an earlier stage has kept it."""
        return self.lanes.add_leaf(self.row_cache_slot(i), len(self.nest.sizes), True)

    def row_cache_slot(self, i: int) -> MemoryLeaf:
        """Where a value is kept: all lanes of it, whatever its dtype, row behind row."""
        steps, count = self.nest.row_layout()
        return MemoryLeaf(SCRATCH, tuple(WIDTH * s for s in steps), WIDTH * count * self.kept[i], WIDTH)

    def stores_by_pass(self, late: bool) -> list[list[StoreNode]]:
        """What each stage writes, in its tail or at every index."""
        return [[w for w in self.writes if w.stage == n and w.late == late]
                for n in range(len(self.loop.passes))]

    def steps(self, strides: tuple[int, ...], late: bool) -> tuple[int, ...]:
        return self.nest.loop_strides(zero_axes(strides, self.loop.reduction_axes) if late else strides)

    def memory(self, atom: Atom, view: View, dtype: DType, late: bool) -> MemoryLeaf:
        place = self.places[atom]
        word, begin = (ARENA_WORD, place.offset) if place.space == "arena" else (FIRST_SLOT_WORD + place.offset, 0)
        steps = tuple(s * dtype.size for s in self.steps(view.strides, late))
        return MemoryLeaf(word, steps, begin + view.offset * dtype.size, dtype.size)

    def leaf(self, leaf: MemoryLeaf | IndexLeaf, steps: tuple[int, ...]) -> int:
        level = max((i + 1 for i, step in enumerate(steps) if step), default=0)
        varies = steps[self.nest.vector] or steps[self.nest.unroll_loop]
        return self.lanes.add_leaf(leaf, level, bool(varies))

    def widen_bytes(self, node: int, dtype: DType) -> int:
        """Bytes 0 to 3 as four lanes."""
        if dtype.size == 4:
            return node
        for name in ("i16x8.extend_low_i8x16_u", "i32x4.extend_low_i16x8_u"):
            node = self.lanes.add_op(OPCODES[name], (node,))
        return self.lanes.add_op(OPCODES["i32x4.neg"], (node,)) if dtype.is_bool else node

    def narrowed(self, node: int, dtype: DType) -> int:
        """Four lanes as bytes 0 to 3."""
        if dtype.size == 4:
            return node
        op, zero = self.lanes.add_op, self.lanes.add_op(_ZERO)
        if dtype.is_bool:
            node = op(OPCODES["v128.and"], (node, op(constant(1, "i"))))
        node = op(OPCODES["i16x8.narrow_i32x4_u"], (node, zero))
        return op(OPCODES["i8x16.narrow_i16x8_u"], (node, zero))

    def fold(self, value: ReduceOp, stage: int) -> int:
        kind, reduction = value.dtype.kind, value.reduction
        start = _start(reduction.init, value.dtype)
        bound = NAN_DROPPING_REDUCTIONS.get(reduction.combiner) if kind == "f" else None
        if bound is None:
            return self.add_accumulator(stage, reduction.combiner, kind, start, self.nodes[value.arg])
        # What lets NaN through takes nine instructions on x86, also when lanes come together; these
        # are three.
        x = self.nodes[value.arg]
        best = self.add_accumulator(stage, bound, kind, start, x)
        is_nan = self.lanes.add_op(OPCODES["f32x4.ne"], (x, x))
        spoilt = self.add_accumulator(stage, "x | y", "b", constant(False, "b"), is_nan)
        return self.lanes.apply(compile_expression("select(x, nan, y)", "bf", "f", self.relaxed),
                                (spoilt, best))

    def add_accumulator(self, stage: int, formula: str, kind: str, start: bytes, node: int) -> int:
        """What is left of a node along the row, by a formula that folds it in."""
        at, both = len(self.folds), compile_expression(formula, kind * 2, kind, self.relaxed)
        so_far = self.lanes.add_leaf(AccumulatorLeaf(at, False), len(self.nest.sizes), True)
        self.folds.append(Accumulator(stage, start, self.lanes.apply(both, (so_far, node)), both))
        return self.lanes.add_leaf(AccumulatorLeaf(at, True), self.nest.num_outer, not self.nest.reduces_lanes, stage + 1)

    def write(self, store: Store) -> StoreNode:
        stage, late = self.loop.value_sites[store.value]
        dtype = self.loop.values[store.value].dtype
        node = self.narrowed(self.nodes[store.value], dtype)
        return StoreNode(stage, node, self.memory(store.target, store.view, dtype, late), late)


def _start(start: float | str | None, dtype: DType) -> bytes:
    """What an accumulator begins with."""
    if start == "lowest":
        start = float("-inf") if dtype.is_floating else dtype.min
    elif start == "highest":
        start = float("inf") if dtype.is_floating else dtype.max
    return constant(start, dtype.kind)
