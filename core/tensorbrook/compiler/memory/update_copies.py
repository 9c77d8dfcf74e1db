"""Copies of updates: a Variable's new value that cannot be written over the old one in place."""
from __future__ import annotations

from dataclasses import replace

from ...base.views import View
from ...ir import (PRIMITIVES, ElementwiseOp, Eqn, Load, LoopKernel, RowPass, Store, TensorSpec,
                   Var)
from ...ir.scalar_expression import IDENTITY
from ..context import PassContext
from ..lowering import Lowering
from .aliasing import Aliasing


def copy_unsafe_updates(lowering: Lowering, context: PassContext) -> Lowering:
    """Compute an update elsewhere, and copy it at the end, if a kernel still reads the old value of
    the Variable after the first write of the new one."""
    graph, outputs, copies = lowering.graph, list(lowering.outputs), []
    aliasing = Aliasing(lowering.kernels, context.target)
    for i, j in graph.input_output_aliases.items():
        if not aliasing.can_alias(outputs[i], graph.inputs[j]):
            copies.append(_copy(outputs[i]))
            outputs[i] = copies[-1].writes[0]
    return replace(lowering, kernels=(*lowering.kernels, *copies), outputs=tuple(outputs))


def _copy(var: Var) -> LoopKernel:
    out = Var(TensorSpec(var.spec.shape, var.spec.dtype))
    view = View.of((var.spec.count,))
    values = Load(var, view, var.spec.dtype), ElementwiseOp(IDENTITY, (0,), var.spec.dtype)
    return LoopKernel(view.shape, (), (RowPass(values),), (Store(1, out, view),),
                      (Eqn(PRIMITIVES["identity"], (var,), {}, (out,)),))
