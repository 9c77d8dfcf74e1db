"""Loops written once more: with other stores, or with other values where they loaded some."""
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from ..ir import ElementwiseOp, Atom, KernelCall, Kernel, Load, LoopKernel, ScalarConstant, ReduceOp, RowPass, Store, Value


class LoopBuilder:
    """Collects the stages of a loop, value by value; what has a key stands once in a part."""

    def __init__(self):
        self.stages: list[tuple[list[Value], list[Value]]] = []
        self.in_post_reduce = False                        # which part of the last stage grows
        self.index: dict = {}                       # what is there already -> its position
        self.count = 0

    def start_section(self, late: bool) -> None:
        """Go on in the tail of the last stage, or in the body of a new one."""
        self.in_post_reduce = late
        if not late:
            self.stages.append(([], []))

    def append(self, value: Value) -> int:
        self.stages[-1][self.in_post_reduce].append(value)
        self.count += 1
        return self.count - 1

    def get_or_append(self, key, value: Value) -> int:
        """The position of the value that `key` names, which is added if it is not there."""
        key = key, self.in_post_reduce
        if key not in self.index:
            self.index[key] = self.append(value)
        return self.index[key]

    def append_leaf(self, value: Load | ScalarConstant) -> int:
        """The position of what is loaded, or of a number."""
        if isinstance(value, Load):
            return self.get_or_append((value.source, value.view, value.dtype), value)
        return self.get_or_append((repr(value.value), value.dtype), value)

    def build(self, loop: LoopKernel, stores: Iterable[Store]) -> LoopKernel:
        """The loop with these stages, but for those without values."""
        stages = tuple(RowPass(tuple(b), tuple(t)) for b, t in self.stages if b or t)
        return replace(loop, passes=stages, stores=tuple(stores))


def replace_generated_loop(k: Kernel, loop: LoopKernel) -> Kernel:
    """The kernel with this in place of what of it is generated."""
    if isinstance(k, KernelCall):
        return replace(k, epilogue=loop if loop.stores else None)
    return loop


def replace_loads(loop: LoopKernel, sources: Collection[Atom],
               make: Callable[[LoopBuilder, Load], int]) -> LoopKernel:
    """The loop with what `make` adds, and gives the position of, in place of its loads of some
    sources."""
    def position(value: Value) -> int:
        if isinstance(value, Load) and value.source in sources:
            return make(rewriter, value)
        if isinstance(value, (Load, ScalarConstant)):
            return rewriter.append_leaf(value)
        return rewriter.append(remap_operands(value, number))

    rewriter, number = LoopBuilder(), {}
    for i, (value, part) in enumerate(zip(loop.values, loop.value_sites)):
        _enter_section(rewriter, part)
        number[i] = position(value)
    return rewriter.build(loop, _stores(loop.stores, number))


def replace_stores(loop: LoopKernel, stores: Collection[Store]) -> LoopKernel:
    """The loop with these stores of its values, and without the values that none of them needs."""
    wanted = backward_slice(loop, {s.value for s in stores})
    rewriter, number = LoopBuilder(), {}
    for i, (value, part) in enumerate(zip(loop.values, loop.value_sites)):
        if i in wanted:
            _enter_section(rewriter, part)
            number[i] = rewriter.append(remap_operands(value, number))
    return rewriter.build(loop, _stores(stores, number))


def backward_slice(loop: LoopKernel, ends: Collection[int]) -> set[int]:
    """The positions of these values, and of all that they are made from."""
    found = set(ends)
    for i in range(len(loop.values) - 1, -1, -1):
        if i in found:
            found.update(operands_of(loop.values[i]))
    return found


def operands_of(value: Value) -> tuple[int, ...]:
    return value.args if isinstance(value, ElementwiseOp) else \
        (value.arg,) if isinstance(value, ReduceOp) else ()


def remap_operands(value: Value, number: dict[int, int]) -> Value:
    """The value with the new positions of its arguments."""
    if isinstance(value, ElementwiseOp):
        return replace(value, args=tuple(number[i] for i in value.args))
    return replace(value, arg=number[value.arg]) if isinstance(value, ReduceOp) else value


def _enter_section(rewriter: LoopBuilder, part: tuple[int, bool]) -> None:
    """On to a part of a stage, as the loop that is read had it."""
    stage, late = part
    while len(rewriter.stages) <= stage:
        rewriter.start_section(late=False)
    if late is not rewriter.in_post_reduce:
        rewriter.start_section(late)


def _stores(stores: Iterable[Store], number: dict[int, int]) -> list[Store]:
    return [replace(s, value=number[s.value]) for s in stores]
