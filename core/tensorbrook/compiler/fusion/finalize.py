"""Finalization of fusion groups: groups become loop kernels that store their escaping values."""
from __future__ import annotations

from dataclasses import replace

from ...ir import KernelCall, ScanKernel
from ...ir.loop_axes import coalesce_axes
from ..context import PassContext
from ..lowering import Lowering
from .fusion_group import FusionGroup


def finalize_groups(lowering: Lowering, context: PassContext) -> Lowering:
    """Convert groups to loop kernels with coalesced axes, and calls with groups to kernel calls
    with epilogues."""
    escaping = set(lowering.outputs).union(*(k.reads for k in lowering.kernels))

    def finished(k):
        if isinstance(k, (KernelCall, ScanKernel)):
            return k
        kernel = k.finalize(escaping)
        return coalesce_axes(kernel) if isinstance(k, FusionGroup) else kernel

    return replace(lowering, kernels=tuple(map(finished, lowering.kernels)))
