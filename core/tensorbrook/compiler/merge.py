"""Two loops become one where the first has nobody to serve before the second.

An equation joins the latest kernel that makes one of its arguments. Where two kernels made them, as
in `v * 0.9 - g * 0.1`, the earlier is a pass of its own, though only the later one reads what it
makes: it moves there.
"""
from ..ir import Call, Limits, Load, Var
from .group import Group

Kernels = list[Group | Call | None]


def merge(kernels: list, overwritten: dict[Var, Var], limits: Limits) -> list:
    """The kernels that are left. `overwritten[old]` is the new value of the Variable that came in
    as `old`: nothing that reads the old one moves beyond the kernel that makes the new one."""
    left: Kernels = list(kernels)
    maker: dict[Var, int] = {}
    for b, group in enumerate(left):
        while isinstance(group, Group) and not group.stored:
            a = next((a for a in _made_by(group, maker) if _moves(
                left, a, b, maker, overwritten, limits)), None)
            if a is None:
                break
            group.take_in(left[a])
            maker.update(dict.fromkeys(left[a].at, b))
            left[a] = None
        maker.update(dict.fromkeys(group.at if isinstance(group, Group) else group.writes, b))
    return [k for k in left if k is not None]


def _made_by(group: Group, maker: dict[Var, int]) -> list[int]:
    """The kernels that make what a group reads, the latest first."""
    found = {maker[v.source] for v in group.body if isinstance(v, Load) and v.source in maker}
    return sorted(found, reverse=True)


def _moves(kernels: Kernels, a: int, b: int, maker, overwritten, limits: Limits) -> bool:
    """Whether kernel a may be carried out within kernel b."""
    first, second = kernels[a], kernels[b]
    if not isinstance(first, Group) or first is second or first.axes or first.tail or first.stored:
        return False
    between = {v for k in kernels[a + 1:b] if k is not None for v in sources(k)}
    whole = all(maker[var] == a and var not in between for var in first.at)
    in_time = not any(a < maker.get(overwritten.get(v), -1) < b for v in sources(first))
    few = first.buffers() + second.buffers() <= limits.buffers
    return whole and in_time and few and second.reads_in_order(first.at) \
        and first.respaced(second.space) is not None


def sources(kernel: Group | Call) -> list:
    """What a kernel reads."""
    if isinstance(kernel, Call):
        return list(kernel.reads)
    return [v.source for v in kernel.body + kernel.tail if isinstance(v, Load)]
