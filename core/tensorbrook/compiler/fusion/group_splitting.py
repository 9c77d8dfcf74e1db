"""Splitting of mixed groups: separates the elementwise part that a product can take as epilogue."""
from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from ...ir import Atom, KernelCall
from ...ir.analysis import backward_slice
from ..context import PassContext
from ..lowering import Lowering
from .fusion_group import FusionGroup
from .group_builder import GroupBuilder
from ..kernel_index import KernelIndex


def split_mixed_groups(lowering: Lowering, context: PassContext) -> Lowering:
    """Split a group that reads a product and also reduces: an epilogue cannot reduce.

    The gradient of an activation, whose column sums are the gradient of the bias, is such a group.
    Its elementwise values can become the product's epilogue, and the reduction then reads them
    from memory.
    """
    with_epilogue = context.target.kernels_with_epilogue
    products = {k.outs[0] for k in lowering.kernels
                if isinstance(k, KernelCall) and k.kernel in with_epilogue}
    index, outputs = KernelIndex(lowering.kernels), set(lowering.outputs)
    kernels: list = []
    for n, k in enumerate(lowering.kernels):
        parts = None
        if isinstance(k, FusionGroup) and k.axes and not products.isdisjoint(k.reads):
            escaping = {v for v in k.position if v in outputs or index.is_used_elsewhere(v, n)}
            parts = _split(k, escaping, lowering.builder)
        kernels += parts or [k]
    return replace(lowering, kernels=tuple(kernels))


def _split(group: FusionGroup, escaping: Container[Atom],
           builder: GroupBuilder) -> list[FusionGroup] | None:
    """A group of the elementwise values that escape, and one of all the rest; None unless the
    second needs no value of the first that would not be stored anyway."""
    stored = {e.out for e in group.eqns
              if e.out in escaping and group.is_reduced(e.out) is False}
    first = backward_slice(group.eqns, stored, builder.base)
    computed = {e.out for e in first}
    second = [e for e in group.eqns if e.out not in computed]
    crossing = {builder.base(a) for e in second for a in e.args} & computed
    if not first or not second or not crossing <= stored:
        return None
    elementwise = builder.rebuild(group.space, (), first)
    rest = builder.rebuild(group.space, group.axes, second)
    return [elementwise, rest] if elementwise and rest else None
