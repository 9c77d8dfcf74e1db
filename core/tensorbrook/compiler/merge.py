"""Two loops become one where the first has nobody to serve before the second.

An equation joins the latest kernel that makes one of its arguments. Where two kernels made them, as
in `v * 0.9 - g * 0.1`, or the rows of a loss and of its labels, the earlier is a pass of its own,
though only the later one reads what it makes: it moves there.
"""
from collections.abc import Callable, Iterable
from typing import Any

from ..ir import Call, Var
from .group import Group

Kernels = list[Group | Call | None]


def merge(kernels: list, overwritten: dict[Var, Var],
          join: Callable[[Group, Group], Group | None]) -> list:
    """The kernels that are left; `join` makes one of two, where they fit. `overwritten[old]` is the
    new value of the Variable that came in as `old`: nothing that reads the old one moves beyond the
    kernel that makes the new one."""
    left: Kernels = list(kernels)
    maker: dict[Var, int] = {}
    for b in range(len(left)):
        while (found := _partner(left, b, maker, overwritten, join)) is not None:
            a, left[b] = found
            left[a] = None
            maker.update(dict.fromkeys(made(left[b]), b))
        maker.update(dict.fromkeys(made(left[b]), b))
    return [k for k in left if k is not None]


def _partner(kernels: Kernels, b: int, maker, overwritten, join) -> tuple[int, Group] | None:
    """An earlier kernel that may be carried out within kernel b, and the two in one."""
    second = kernels[b]
    if not isinstance(second, Group) or second.stored:
        return None
    for a in sorted({maker[v] for v in second.reads if v in maker}, reverse=True):
        if a != b and _moves(kernels, a, b, maker, overwritten):
            whole = join(kernels[a], second)
            if whole is not None:
                return a, whole
    return None


def _moves(kernels: Kernels, a: int, b: int, maker, overwritten) -> bool:
    """Whether kernel a may wait for kernel b."""
    first = kernels[a]
    if not isinstance(first, Group) or first.stored:
        return False
    between = {v for k in kernels[a + 1:b] if k is not None for v in k.reads}
    whole = all(maker[var] == a and var not in between for var in first.at)
    return whole and not any(a < maker.get(overwritten.get(v), -1) < b for v in first.reads)


def made(kernel: Any) -> Iterable[Any]:
    """What a kernel makes, for itself and for others."""
    return kernel.at if isinstance(kernel, Group) else kernel.writes
