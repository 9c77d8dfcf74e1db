"""Bit exactness: whether a value that is recomputed in another kernel has the same bits there.

Where one loop computes a product and the sum that it goes into, the two may be contracted into one
fused multiply-add, which rounds once. So a sum has the same bits in two kernels if each of its
operands is loaded in both, computed in both, or no product.
"""
from __future__ import annotations

from dataclasses import dataclass

from ...base.views import View
from ...ir import Atom, ElementwiseOp, Load, LoopKernel, Var


@dataclass
class RecomputeExpression:
    """The computation of the value at position `root` of a loop: the values at `recomputed` from
    `loads`, each a buffer and the view of it over the loop's space."""

    loop: LoopKernel
    root: int
    recomputed: set[int]
    loads: dict[int, tuple[Atom, View]]

    def ops(self) -> list[ElementwiseOp]:
        values = map(self.loop.values.__getitem__, self.recomputed)
        return [v for v in values if isinstance(v, ElementwiseOp)]


def is_bit_exact(expression: RecomputeExpression) -> bool:
    """Whether a consumer computes the same bits as the loop, on every backend that rounds each
    addition as written."""
    ops = expression.ops()
    for op in ops:
        if not any(_is_varying(expression, a) for a in op.args):
            return False             # a backend may hoist it out of one loop and not of the other
        if op.expression.may_contract and not op.expression.is_difference \
                and any(a in expression.loads and may_be_product(expression.loop, a)
                        for a in op.args):
            return False
    # A later pass over a row may read a product that an earlier one has stored, rounded.
    return not may_contract_to_fma(expression) or \
        len(expression.loop.passes) == 1 and not any(map(_is_discontinuous, ops))


def _is_varying(expression: RecomputeExpression, i: int) -> bool:
    """Whether a value differs from index to index."""
    if i in expression.loads:
        return expression.loads[i][1].contiguous
    return isinstance(expression.loop.values[i], ElementwiseOp)


def may_contract_to_fma(expression: RecomputeExpression) -> bool:
    """Whether a GPU's driver may contract a product and a sum, or leave them apart."""
    return any(a in expression.recomputed and may_be_product(expression.loop, a)
               for op in expression.ops() if op.expression.may_contract for a in op.args)


def may_be_product(loop: LoopKernel, i: int) -> bool:
    """Whether a value may be the result of a multiplication."""
    value = loop.values[i]
    while isinstance(value, ElementwiseOp) and (
            value.expression.is_identity or value.expression.is_cast):
        value = loop.values[value.args[0]]
    floating = isinstance(value, ElementwiseOp) and value.dtype.kind == "f"
    return floating and value.expression.may_be_product


def feeds_discontinuity(loop: LoopKernel, sources: set[Var]) -> bool:
    """Whether a discontinuous operation of a loop depends on its loads of `sources`."""
    dependent: set[int] = set()
    for i, value in enumerate(loop.values):
        if isinstance(value, Load) and value.source in sources:
            dependent.add(i)
        elif isinstance(value, ElementwiseOp) and not dependent.isdisjoint(value.args):
            if _is_discontinuous(value):
                return True
            dependent.add(i)
    return False


def _is_discontinuous(value: ElementwiseOp) -> bool:
    truncates = value.expression.is_cast and value.dtype.kind != "f"
    return truncates or value.expression.is_discontinuous
