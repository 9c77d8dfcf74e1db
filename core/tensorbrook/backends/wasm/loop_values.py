"""Lowering of a LoopKernel's values to an InstructionGraph, its accumulators and its stores."""
from dataclasses import dataclass

from ...base.dtypes import DType
from ...base.views import View
from ...ir.graph import Atom
from ...ir.kernels import (
    ElementwiseOp,
    IndexValue,
    Load,
    LoopKernel,
    ReduceOp,
    ScalarConstant,
    Store,
)
from ...ir.scalar_expression import ScalarExpression, scalar_expression
from .assembler import OPCODES, v128_const
from .buffer_addresses import BufferAddresses
from .expression_codegen import (
    NAN_DROPPING_REDUCTIONS,
    CompiledExpression,
    compile_expression,
    constant,
)
from .instruction_graph import InstructionGraph
from .loop_nest import LoopNest, zero_axes
from .pass_values import PassValues, compiled_expression_of

_SELECT_NAN, _OR = scalar_expression("select(x, nan, y)"), scalar_expression("x | y")
SCRATCH = -1                             # MemoryLeaf.buffer of this thread's scratch memory
LANE_BYTES = 4
_ZERO = v128_const(bytes(16))


@dataclass(frozen=True)
class MemoryLeaf:
    """A leaf of elements in memory. The first one is `offset` bytes from the address of buffer
    number `buffer`; `strides` are the bytes per iteration of each loop."""

    buffer: int
    strides: tuple[int, ...]
    offset: int
    element_size: int


@dataclass(frozen=True)
class IndexLeaf:
    """A leaf of index values: `offset`, plus a stride per iteration of each loop."""

    strides: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class AccumulatorLeaf:
    """A leaf that reads accumulator `index`: `final` after its pass, else during the pass."""

    index: int
    final: bool


@dataclass(frozen=True)
class StoreNode:
    """A store of a node to memory, at every index or, with `post_reduce`, once per row."""

    pass_index: int
    node: int
    target: MemoryLeaf
    post_reduce: bool


@dataclass(frozen=True)
class Accumulator:
    """An accumulator of a pass: an instruction for its initial value, the node that updates it, and
    the expression that combines two accumulators."""

    pass_index: int
    init: bytes
    update: int
    combiner: CompiledExpression


class LoopValues:
    """A loop's values as nodes of `graph`, with its accumulators and stores. The `addresses` of
    its buffers are parameters."""

    def __init__(self, loop: LoopKernel, passes: list[PassValues], nest: LoopNest,
                 addresses: BufferAddresses, relaxed: bool):
        self.loop, self.nest, self.addresses, self.relaxed = loop, nest, addresses, relaxed
        self.graph = InstructionGraph(relaxed)
        self.accumulators: list[Accumulator] = []
        self.stores: list[StoreNode] = []
        # Value -> node; a per-element value has the node of the latest pass.
        self.nodes: dict[int, int] = {}
        self.row_cache_index = {i: n for n, i in enumerate(i for p in passes for i in p.spilled)}
        for n, p in enumerate(passes):
            self.add_pass(n, p)

    def add_pass(self, n: int, values: PassValues):
        for i in sorted(values.recomputed + values.reloaded):
            self.nodes[i] = self.reload(i) if i in values.reloaded else self.node(i)
        for i, site in enumerate(self.loop.value_sites):
            if site == (n, True):
                self.nodes[i] = self.node(i)
        self.stores += [StoreNode(n, self.nodes[i], self.row_cache_slot(i), False)
                        for i in values.spilled]
        self.stores += [self.store_node(s) for s in self.loop.stores
                        if self.loop.value_sites[s.value][0] == n]

    def node(self, i: int) -> int:
        value, (pass_index, post_reduce) = self.loop.values[i], self.loop.value_sites[i]
        match value:
            case Load():
                leaf = self.memory_leaf(value.source, value.view, value.dtype, post_reduce)
                return self.widen_bytes(self.add_leaf(leaf), value.dtype)
            case ScalarConstant():
                return self.graph.add_op(constant(value.value, value.dtype.kind))
            case IndexValue():
                strides = self.loop_strides(value.strides, post_reduce)
                return self.add_leaf(IndexLeaf(strides, value.offset))
            case ElementwiseOp():
                expression = compiled_expression_of(self.loop, value, self.relaxed)
                return self.graph.apply(expression, tuple(self.nodes[i] for i in value.args))
            case ReduceOp():
                return self.reduce(value, pass_index)
        raise AssertionError(f"{value} is not a value")

    def reload(self, i: int) -> int:
        """Load a value that an earlier pass spilled to the row cache."""
        return self.graph.add_leaf(self.row_cache_slot(i), len(self.nest.sizes), True)

    def row_cache_slot(self, i: int) -> MemoryLeaf:
        """Return where a value is spilled: full lanes for any dtype, one row after another."""
        strides, count = self.nest.row_layout()
        return MemoryLeaf(SCRATCH, tuple(LANE_BYTES * s for s in strides),
                          LANE_BYTES * count * self.row_cache_index[i], LANE_BYTES)

    def stores_by_pass(self, post_reduce: bool) -> list[list[StoreNode]]:
        """Return the stores of each pass, either its post-reduction or its per-element ones."""
        return [[s for s in self.stores if s.pass_index == n and s.post_reduce == post_reduce]
                for n in range(len(self.loop.passes))]

    def loop_strides(self, strides: tuple[int, ...], post_reduce: bool) -> tuple[int, ...]:
        if post_reduce:
            strides = zero_axes(strides, self.loop.reduction_axes)
        return self.nest.loop_strides(strides)

    def memory_leaf(self, atom: Atom, view: View, dtype: DType, post_reduce: bool) -> MemoryLeaf:
        strides = tuple(s * dtype.size for s in self.loop_strides(view.strides, post_reduce))
        param, offset = self.addresses.of[atom]
        return MemoryLeaf(param, strides, offset + view.offset * dtype.size, dtype.size)

    def add_leaf(self, leaf: MemoryLeaf | IndexLeaf) -> int:
        level = max((i + 1 for i, stride in enumerate(leaf.strides) if stride), default=0)
        varies = leaf.strides[self.nest.vector_loop] or leaf.strides[self.nest.unroll_loop]
        return self.graph.add_leaf(leaf, level, bool(varies))

    def widen_bytes(self, node: int, dtype: DType) -> int:
        """Widen bytes 0 to 3 of a vector to its four lanes."""
        if dtype.size == 4:
            return node
        for name in ("i16x8.extend_low_i8x16_u", "i32x4.extend_low_i16x8_u"):
            node = self.graph.add_op(OPCODES[name], (node,))
        return self.graph.add_op(OPCODES["i32x4.neg"], (node,)) if dtype.is_bool else node

    def narrow_to_bytes(self, node: int, dtype: DType) -> int:
        """Narrow the four lanes of a vector to its bytes 0 to 3."""
        if dtype.size == 4:
            return node
        op, zero = self.graph.add_op, self.graph.add_op(_ZERO)
        if dtype.is_bool:
            node = op(OPCODES["v128.and"], (node, op(constant(1, "i"))))
        node = op(OPCODES["i16x8.narrow_i32x4_u"], (node, zero))
        return op(OPCODES["i8x16.narrow_i16x8_u"], (node, zero))

    def reduce(self, value: ReduceOp, pass_index: int) -> int:
        kind, reduction = value.dtype.kind, value.reduction
        init = _initial_value(reduction.init, value.dtype)
        nan_dropping = NAN_DROPPING_REDUCTIONS.get(reduction.combiner) if kind == "f" else None
        arg = self.nodes[value.arg]
        if nan_dropping is None:
            return self.add_accumulator(pass_index, reduction.combiner, kind, init, arg)
        # The instruction that propagates NaN takes nine instructions on x86, also to combine the
        # lanes; one that drops NaN and an accumulator that records NaN take three.
        extremum = self.add_accumulator(pass_index, nan_dropping, kind, init, arg)
        is_nan = self.graph.add_op(OPCODES["f32x4.ne"], (arg, arg))
        any_nan = self.add_accumulator(pass_index, _OR, "b", constant(False, "b"), is_nan)
        propagate = compile_expression(_SELECT_NAN, "bf", "f", self.relaxed)
        return self.graph.apply(propagate, (any_nan, extremum))

    def add_accumulator(
        self, pass_index: int, combiner: ScalarExpression, kind: str, init: bytes, node: int
    ) -> int:
        """Reduce a node along the row; returns the node of the final value."""
        combine = compile_expression(combiner, kind * 2, kind, self.relaxed)
        index, depth = len(self.accumulators), len(self.nest.sizes)
        current = self.graph.add_leaf(AccumulatorLeaf(index, False), depth, True)
        update = self.graph.apply(combine, (current, node))
        self.accumulators.append(Accumulator(pass_index, init, update, combine))
        return self.graph.add_leaf(AccumulatorLeaf(index, True), self.nest.num_outer,
                                   not self.nest.reduces_lanes, pass_index + 1)

    def store_node(self, store: Store) -> StoreNode:
        pass_index, post_reduce = self.loop.value_sites[store.value]
        dtype = self.loop.values[store.value].dtype
        node = self.narrow_to_bytes(self.nodes[store.value], dtype)
        target = self.memory_leaf(store.target, store.view, dtype, post_reduce)
        return StoreNode(pass_index, node, target, post_reduce)


def _initial_value(init: float | str | None, dtype: DType) -> bytes:
    """Return the instruction for an accumulator's initial value."""
    if init == "lowest":
        init = float("-inf") if dtype.is_floating else dtype.min
    elif init == "highest":
        init = float("inf") if dtype.is_floating else dtype.max
    return constant(init, dtype.kind)
