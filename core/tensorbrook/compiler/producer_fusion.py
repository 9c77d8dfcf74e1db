"""Two kernels become one where the first has nobody to serve before the second.

An equation joins the latest kernel that makes one of its arguments. Where two kernels made them, as
in `v * 0.9 - g * 0.1`, or the rows of a loss and of its labels, the earlier is a pass of its own,
though only the later one reads what it makes: it moves there. So does a product, if what reads it
may follow as its epilogue.
"""
from collections.abc import Callable, Iterable
from typing import Any

from ..ir import KernelCall, ScanKernel, Var
from .epilogue_fusion import CallWithEpilogue
from .fusion_group import FusionGroup

Kernels = list[FusionGroup | KernelCall | CallWithEpilogue | ScanKernel | None]


def sink_producers(kernels: list, overwritten: dict[Var, Var],
          join: Callable[[Any, FusionGroup], FusionGroup | CallWithEpilogue | None]) -> list:
    """The kernels that are left; `join` makes one of two, where they fit. `overwritten[old]` is the
    new value of the Variable that came in as `old`: nothing that reads the old one moves beyond the
    kernel that makes the new one."""
    left: Kernels = list(kernels)
    maker: dict[Var, int] = {}
    for b in range(len(left)):
        for kind in (FusionGroup, KernelCall):
            while (found := _find_producer(left, kind, b, maker, overwritten, join)) is not None:
                a, left[b] = found
                left[a] = None
        maker.update(dict.fromkeys(defined_values(left[b]), b))
    return [k for k in left if k is not None]


def _find_producer(kernels: Kernels, kind: type, b: int, maker, overwritten, join):
    """An earlier kernel of a kind that may be carried out with kernel b, and the two in one."""
    second = kernels[b]
    if not isinstance(second, FusionGroup) or second.store_views:
        return None
    for a in sorted({maker[v] for v in second.reads if v in maker}, reverse=True):
        if isinstance(kernels[a], kind) and _can_sink(kernels, a, b, maker, overwritten):
            whole = join(kernels[a], second)
            if whole is not None:
                return a, whole
    return None


def _can_sink(kernels: Kernels, a: int, b: int, maker, overwritten) -> bool:
    """Whether kernel a may wait for kernel b."""
    first = kernels[a]
    if first is None or isinstance(first, FusionGroup) and first.store_views:
        return False
    between = {v for k in kernels[a + 1:b] if k is not None for v in k.reads}
    whole = all(maker[var] == a and var not in between for var in defined_values(first))
    return whole and not any(a < maker.get(overwritten.get(v), -1) < b for v in first.reads)


def defined_values(kernel: Any) -> Iterable[Any]:
    """What a kernel makes, for itself and for others."""
    return kernel.position if isinstance(kernel, (FusionGroup, CallWithEpilogue)) else kernel.writes
