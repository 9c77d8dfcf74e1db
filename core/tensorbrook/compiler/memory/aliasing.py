"""Alias analysis: whether a result may be written over a buffer that other kernels read."""
from __future__ import annotations

from collections.abc import Sequence

from ...ir import Kernel, KernelCall, Load, LoopKernel, ScanKernel, TargetInfo, Var
from ..kernel_index import KernelIndex


class Aliasing:
    """Answers queries about kernels in their order."""

    def __init__(self, kernels: Sequence[Kernel], target: TargetInfo):
        self.index, self.target = KernelIndex(kernels), target

    def can_alias(self, out: Var, old: Var) -> bool:
        """Whether `out` may be written over `old`: no kernel reads `old` after the first write to
        `out`, and a kernel that does both reads each element before it writes it."""
        writers = self.index.producers.get(out, [])
        readers = self.index.consumers.get(old, set())
        if any(n > writers[0] for n in readers):
            return False
        return all(can_update_in_place(self.index.kernels[n], out, old, self.target)
                   for n in writers if n in readers)


def can_update_in_place(k: Kernel, new: Var, old: Var, target: TargetInfo) -> bool:
    """Whether a kernel writes each element of `new` after its last read of that of `old`."""
    if new.spec.count != old.spec.count or new.spec.dtype.size != old.spec.dtype.size:
        return False
    if target.alias_needs_same_dtype and new.spec.dtype is not old.spec.dtype:
        return False
    if isinstance(k, ScanKernel):
        return False
    if isinstance(k, KernelCall):
        if k.epilogue is None or old in k.args or new in k.outs:
            return False
        k = k.epilogue
    return _same_index_map(k, new, old)


def _same_index_map(loop: LoopKernel, new: Var, old: Var) -> bool:
    """Whether all stores to `new`, in the last pass, and all loads of `old` have one view."""
    stores = [s for s in loop.stores if s.target is new]
    views = [v.view for v in loop.values if isinstance(v, Load) and v.source is old]
    last = all(loop.value_sites[s.value][0] == len(loop.passes) - 1 for s in stores)
    return bool(stores and views) and last and all(s.view == view for s in stores for view in views)
