"""What follows a product is carried out on each part of its result, while that is in cache.

merge.py brings the two together; here stands which groups may follow, and what such a pair is. A
group that also folds, as the gradient of an activation whose sum is that of the bias, is divided
first: what is made for every element may follow the product, and the fold reads what is stored.
"""
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..ir import Atom, Call, Eqn, Limits, Load, Var
from .buffers import Buffers
from .group import Group

# Rows shorter than this are a pass of their own, unless all that they read goes on from row to row:
# such a pass takes four rows at a time. LeNet lost 2 % of a step with its 6 channels in epilogues
# (wasmtime 50).
NARROW = 16

# A group for equations, if they fit together; the variable whose elements an atom shows.
Regroup = Callable[[tuple, tuple, Iterable[Eqn]], Group | None]
Base = Callable[[Atom], Atom]


class Followed:
    """A call and the group that is its epilogue, while kernels are put together."""

    def __init__(self, call: Call, group: Group):
        self.call, self.group = call, group
        self.at = (*call.outs, *group.at)
        self.reads: set[Atom] = {*call.args, *group.reads} - set(call.outs)

    def close(self, needed) -> Call:
        out, = self.call.outs
        return replace(self.call, epilogue=self.group.close(needed, merge_axes=False),
                       kept=out in needed)


def followed(call: Call, group: Group, limits: Limits, regroup: Regroup,
             buffers: Buffers) -> Followed | None:
    """The call with all of the group as its epilogue, if it takes one and the group fits."""
    if call.function not in limits.epilogues:
        return None
    whole = regroup(call.rectangle, (), group.eqns)
    out, = call.outs
    if whole is None or not _in_step(whole, out):
        return None
    touched = buffers.touched(whole) + len({*call.args, out} - whole.reads)
    if not limits.staged and not buffers.is_stored(out, {*whole.eqns}):
        touched -= 1
    return Followed(call, whole) if touched <= limits.buffers else None


def _in_step(group: Group, out: Var) -> bool:
    """Whether the group reads each element of `out` at its own index alone, and the elements of
    what else it reads side by side, in rows that are long enough."""
    _, columns = group.space
    loads = [v for v in group.values if isinstance(v, Load)]
    if not all(v.view.contiguous for v in loads if v.source is out):
        return False
    if columns == 1:
        return True
    strides = [v.view.strides for v in loads]
    on_and_on = all(down == columns * along for down, along in strides)
    return (columns >= NARROW or on_and_on) and all(along in (0, 1) for _, along in strides)


def divided(kernels: list, outputs: Iterable[Var], limits: Limits, regroup: Regroup,
            base: Base) -> list:
    """The kernels; a group of folds whose other values others need is two, the folds last."""
    calls = {k.outs[0] for k in kernels if isinstance(k, Call) and k.function in limits.epilogues}
    out = []
    for k in kernels:
        pair = None
        if isinstance(k, Group) and k.axes and not calls.isdisjoint(k.reads):
            wanted = set(outputs).union(*(other.reads for other in kernels if other is not k))
            pair = _in_two(k, wanted, regroup, base)
        out += pair or [k]
    return out


def _in_two(group: Group, wanted: set, regroup: Regroup, base: Base) -> list[Group] | None:
    """A group that makes what others want at every index, and one with all the rest; None unless
    the second can do with what is stored anyway."""
    stored = {e.out for e in group.eqns if e.out in wanted and group.level(e.out) is False}
    early = _with_sources(group.eqns, stored, base)
    rest = [e for e in group.eqns if e not in early]
    crossing = {base(a) for e in rest for a in e.args} & {e.out for e in early}
    if not early or not rest or not crossing <= stored:
        return None
    first, second = regroup(group.space, (), early), regroup(group.space, group.axes, rest)
    return [first, second] if first and second else None


def _with_sources(eqns: list[Eqn], wanted: set, base: Base) -> list[Eqn]:
    """The equations among these that `wanted` takes, in order."""
    needed, found = set(wanted), []
    for e in reversed(eqns):
        if e.out in needed:
            needed.update(map(base, e.args))
            found.append(e)
    return found[::-1]
