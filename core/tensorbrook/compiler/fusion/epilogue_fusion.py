"""Epilogue fusion: elementwise values of a product's result are computed on each part of the result
while it is in cache."""
from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from ...ir import Atom, KernelCall, Load, Var
from .fusion_group import FusionGroup
from .group_builder import GroupBuilder

# Shorter rows are a separate loop, unless all operands continue from row to row: such a loop takes
# four rows at a time. LeNet lost 2 % of a step with its 6 channels in epilogues (wasmtime 50).
MIN_EPILOGUE_COLUMNS = 16


class CallWithEpilogue:
    """A kernel call and the group that is its epilogue, while kernels are fused."""

    def __init__(self, call: KernelCall, group: FusionGroup):
        self.call, self.group = call, group
        self.position = (*call.outs, *group.position)
        self.reads: set[Atom] = {*call.args, *group.reads} - set(call.outs)

    def finalize(self, escaping: Container[Var]) -> KernelCall:
        out, = self.call.outs
        return replace(self.call, epilogue=self.group.finalize(escaping),
                       result_escapes=out in escaping)


def fuse_epilogue(call: KernelCall, group: FusionGroup,
                  builder: GroupBuilder) -> CallWithEpilogue | None:
    """The call with the whole group as its epilogue, if its kernel takes one and the group fits."""
    if call.kernel not in builder.target.kernels_with_epilogue:
        return None
    epilogue = builder.rebuild(call.result_matrix_shape, (), group.eqns)
    out, = call.outs
    if epilogue is None or not _is_elementwise_on(epilogue, out):
        return None
    bindings = builder.bindings.count_bindings(epilogue) + len({*call.args, out} - epilogue.reads)
    if not builder.target.materializes_epilogue_input \
            and not builder.bindings.escapes(out, {*epilogue.eqns}):
        bindings -= 1
    return CallWithEpilogue(call, epilogue) if bindings <= builder.bindings.maximum else None


def _is_elementwise_on(group: FusionGroup, out: Var) -> bool:
    """Whether the group reads each element of `out` only at its own index, and other operands
    contiguously in rows that are long enough."""
    _, columns = group.space
    loads = [v for v in group.values if isinstance(v, Load)]
    if not all(v.view.contiguous for v in loads if v.source is out):
        return False
    if columns == 1:
        return True
    strides = [v.view.strides for v in loads]
    continuous = all(row == columns * column for row, column in strides)
    return (columns >= MIN_EPILOGUE_COLUMNS or continuous) \
        and all(column in (0, 1) for _, column in strides)
