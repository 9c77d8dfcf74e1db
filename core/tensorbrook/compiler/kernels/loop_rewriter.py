"""Rewriting of loop kernels: other stores, or other values in place of loads."""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from ...ir import (Atom, ElementwiseOp, Kernel, KernelCall, Load, LoopKernel, ReduceOp, RowPass,
                   ScalarConstant, Store, Value)
from ...base.value_keys import value_key
from ...ir.kernels import remap_operands


class LoopBuilder:
    """Collects the passes of a loop value by value; a value with a key is appended once to a
    section. A section is the elementwise or the post-reduce part of a pass."""

    def __init__(self):
        self.sections: list[tuple[list[Value], list[Value]]] = []
        self.in_post_reduce = False              # which section of the last pass grows
        self.position: dict = {}                 # key of a value -> its position
        self.count = 0

    def start_section(self, post_reduce: bool) -> None:
        """Continue in the post-reduce section of the last pass, or in a new pass."""
        self.in_post_reduce = post_reduce
        if not post_reduce:
            self.sections.append(([], []))

    def enter(self, row_pass: int, post_reduce: bool) -> None:
        """Continue in the section of a value of the loop that is rewritten."""
        while len(self.sections) <= row_pass:
            self.start_section(post_reduce=False)
        if post_reduce is not self.in_post_reduce:
            self.start_section(post_reduce)

    def append(self, value: Value) -> int:
        self.sections[-1][self.in_post_reduce].append(value)
        self.count += 1
        return self.count - 1

    def get_or_append(self, key, value: Value) -> int:
        """The position of the value with this key, which is appended if there is none."""
        key = key, self.in_post_reduce
        if key not in self.position:
            self.position[key] = self.append(value)
        return self.position[key]

    def append_leaf(self, value: Load | ScalarConstant) -> int:
        if isinstance(value, Load):
            return self.get_or_append((value.source, value.view, value.dtype), value)
        return self.get_or_append((value_key(value.value), value.dtype), value)

    def build(self, loop: LoopKernel, stores: Iterable[Store]) -> LoopKernel:
        """The loop with the collected passes; those without values are dropped."""
        passes = tuple(RowPass(tuple(e), tuple(r)) for e, r in self.sections if e or r)
        return LoopKernel(loop.iteration_space, loop.reduction_axes, passes, tuple(stores),
                          loop.eqns)


def replace_generated_loop(k: Kernel, loop: LoopKernel) -> Kernel:
    """The kernel with another loop, or the call with another epilogue."""
    if isinstance(k, KernelCall):
        return replace(k, epilogue=loop if loop.stores else None)
    return loop


def replace_loads(loop: LoopKernel, sources: Collection[Atom],
                  emit: Callable[[LoopBuilder, Load], int]) -> LoopKernel:
    """The loop with its loads of some sources replaced: `emit` appends the values that take the
    place of a load, and returns the position of the last."""
    builder, number = LoopBuilder(), {}
    for i, (value, site) in enumerate(zip(loop.values, loop.value_sites)):
        builder.enter(*site)
        if isinstance(value, Load) and value.source in sources:
            number[i] = emit(builder, value)
        elif isinstance(value, (Load, ScalarConstant)):
            number[i] = builder.append_leaf(value)
        else:
            number[i] = builder.append(remap_operands(value, number))
    return builder.build(loop, _remap_stores(loop.stores, number))


def replace_stores(loop: LoopKernel, stores: Collection[Store]) -> LoopKernel:
    """The loop with other stores of its values, and without the values that none of them needs."""
    needed = needed_values(loop, {s.value for s in stores})
    builder, number = LoopBuilder(), {}
    for i, (value, site) in enumerate(zip(loop.values, loop.value_sites)):
        if i in needed:
            builder.enter(*site)
            number[i] = builder.append(remap_operands(value, number))
    return builder.build(loop, _remap_stores(stores, number))


def needed_values(loop: LoopKernel, roots: Collection[int]) -> set[int]:
    """The positions of some values and of all values that they depend on."""
    found, pending = set(roots), list(roots)
    while pending:
        for i in operands_of(loop.values[pending.pop()]):
            if i not in found:
                found.add(i)
                pending.append(i)
    return found


def operands_of(value: Value) -> tuple[int, ...]:
    if isinstance(value, ElementwiseOp):
        return value.args
    return (value.arg,) if isinstance(value, ReduceOp) else ()


def _remap_stores(stores: Iterable[Store], number: dict[int, int]) -> list[Store]:
    return [replace(s, value=number[s.value]) for s in stores]
