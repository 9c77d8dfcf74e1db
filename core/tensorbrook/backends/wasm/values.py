"""What a Loop computes as a graph of vector instructions, and the leaves it reads."""
from collections.abc import Mapping
from dataclasses import dataclass

from ...base.dtypes import DType
from ...base.views import View
from ...ir.graph import Atom
from ...ir.kernel import Apply, Index, Load, Loop, Number, Place, Reduced, Value
from .assembler import OPCODES, v128_const
from .formulas import Template, constant, template
from .lanes import Lanes
from .nest import Nest, masked

ARENA, THREADS, SLOTS = 0, 1, 2          # words of the arguments block

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
    """Node `node` goes `to` memory; in the tail when `late`."""

    node: int
    to: Memory
    late: bool


@dataclass(frozen=True)
class Fold:
    """An accumulator begins as `start` and goes on as `node`; `formula` joins two of them."""

    start: bytes
    node: int
    formula: Template


class Values:
    """The loop's values as nodes of `lanes`, what is folded, and what is written."""

    def __init__(self, loop: Loop, nest: Nest, places: Mapping[Atom, Place], relaxed: bool):
        self.loop, self.nest, self.places, self.relaxed = loop, nest, places, relaxed
        self.lanes = Lanes()
        self.folds: list[Fold] = []
        self.nodes: list[int] = []
        for value in loop.body:
            self.nodes.append(self.node(value, late=False))
        for value in loop.tail:
            self.nodes.append(self.node(value, late=True))
        self.writes = [self.write(s.value, s.target, s.view) for s in loop.stores]

    def node(self, value: Value, late: bool) -> int:
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
                return self.fold(value)
        raise AssertionError(f"{value} is not a value")

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

    def fold(self, value: Reduced) -> int:
        kind, reduction, at = value.dtype.kind, value.reduction, len(self.folds)
        formula = template(reduction.formula, kind * 2, kind, self.relaxed)
        so_far = self.lanes.leaf(Folded(at, False), len(self.nest.sizes), True)
        node = self.lanes.apply(formula, (so_far, self.nodes[value.arg]))
        self.folds.append(Fold(_start(reduction.start, value.dtype), node, formula))
        return self.lanes.leaf(Folded(at, True), self.nest.kept, True)

    def write(self, value: int, target: Atom, view: View) -> Write:
        late = value >= len(self.loop.body)
        dtype = (self.loop.body + self.loop.tail)[value].dtype
        node = self.narrowed(self.nodes[value], dtype)
        return Write(node, self.memory(target, view, dtype, late), late)


def formula_of(loop: Loop, value: Apply, relaxed: bool) -> Template:
    """A value's formula for the kinds of its arguments."""
    values = loop.body + loop.tail
    args = [values[i] for i in value.args]
    kinds = "".join(arg.dtype.kind for arg in args)
    numbers = tuple(arg.value if isinstance(arg, Number) else None for arg in args)
    return template(value.formula, kinds, value.dtype.kind, relaxed, numbers)


def _start(start: float | str | None, dtype: DType) -> bytes:
    """What an accumulator begins with."""
    if start == "lowest":
        start = float("-inf") if dtype.is_floating else dtype.min
    elif start == "highest":
        start = float("inf") if dtype.is_floating else dtype.max
    return constant(start, dtype.kind)
