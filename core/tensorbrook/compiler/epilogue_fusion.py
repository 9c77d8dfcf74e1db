"""What follows a product is carried out on each part of its result, while that is in cache.

merge.py brings the two together; here stands which groups may follow, and what such a pair is. A
group that also folds, as the gradient of an activation whose sum is that of the bias, is divided
first: what is made for every element may follow the product, and the fold reads what is stored.
"""
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..ir import Atom, KernelCall, Eqn, TargetInfo, Load, Var
from .binding_limits import BindingLimits
from .fusion_group import FusionGroup

# Rows shorter than this are a pass of their own, unless all that they read goes on from row to row:
# such a pass takes four rows at a time. LeNet lost 2 % of a step with its 6 channels in epilogues
# (wasmtime 50).
MIN_EPILOGUE_COLUMNS = 16

# A group for equations, if they fit together; the variable whose elements an atom shows.
Regroup = Callable[[tuple, tuple, Iterable[Eqn]], FusionGroup | None]
Base = Callable[[Atom], Atom]


class CallWithEpilogue:
    """A call and the group that is its epilogue, while kernels are put together."""

    def __init__(self, call: KernelCall, group: FusionGroup):
        self.call, self.group = call, group
        self.position = (*call.outs, *group.position)
        self.reads: set[Atom] = {*call.args, *group.reads} - set(call.outs)

    def finalize(self, needed) -> KernelCall:
        out, = self.call.outs
        return replace(self.call, epilogue=self.group.finalize(needed, merge_axes=False),
                       result_escapes=out in needed)


def fuse_epilogue(call: KernelCall, group: FusionGroup, target: TargetInfo, regroup: Regroup,
             buffers: BindingLimits) -> CallWithEpilogue | None:
    """The call with all of the group as its epilogue, if it takes one and the group fits."""
    if call.kernel not in target.kernels_with_epilogue:
        return None
    whole = regroup(call.result_matrix_shape, (), group.eqns)
    out, = call.outs
    if whole is None or not _is_elementwise_on(whole, out):
        return None
    touched = buffers.count_bindings(whole) + len({*call.args, out} - whole.reads)
    if not target.materializes_epilogue_input and not buffers.escapes(out, {*whole.eqns}):
        touched -= 1
    return CallWithEpilogue(call, whole) if touched <= target.max_buffers_per_kernel else None


def _is_elementwise_on(group: FusionGroup, out: Var) -> bool:
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
    return (columns >= MIN_EPILOGUE_COLUMNS or on_and_on) and all(along in (0, 1) for _, along in strides)


def split_mixed_groups(kernels: list, outputs: Iterable[Var], target: TargetInfo, regroup: Regroup,
            base: Base) -> list:
    """The kernels; a group of folds whose other values others need is two, the folds last."""
    calls = {k.outs[0] for k in kernels if isinstance(k, KernelCall) and k.kernel in target.kernels_with_epilogue}
    out = []
    for k in kernels:
        pair = None
        if isinstance(k, FusionGroup) and k.axes and not calls.isdisjoint(k.reads):
            wanted = set(outputs).union(*(other.reads for other in kernels if other is not k))
            pair = _split_group(k, wanted, regroup, base)
        out += pair or [k]
    return out


def _split_group(group: FusionGroup, wanted: set, regroup: Regroup, base: Base) -> list[FusionGroup] | None:
    """A group that makes what others want at every index, and one with all the rest; None unless
    the second can do with what is stored anyway."""
    stored = {e.out for e in group.eqns if e.out in wanted and group.site_of(e.out) is False}
    early = _backward_slice(group.eqns, stored, base)
    rest = [e for e in group.eqns if e not in early]
    crossing = {base(a) for e in rest for a in e.args} & {e.out for e in early}
    if not early or not rest or not crossing <= stored:
        return None
    first, second = regroup(group.space, (), early), regroup(group.space, group.axes, rest)
    return [first, second] if first and second else None


def _backward_slice(eqns: list[Eqn], wanted: set, base: Base) -> list[Eqn]:
    """The equations among these that `wanted` takes, in order."""
    needed, found = set(wanted), []
    for e in reversed(eqns):
        if e.out in needed:
            needed.update(map(base, e.args))
            found.append(e)
    return found[::-1]
