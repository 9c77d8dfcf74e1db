"""Parts of one tensor: sums of parts that do not meet are no sums, and whoever makes a part may
store it where it belongs."""
from math import prod

from ..ir import PRIMITIVES, Atom, Eqn, Graph, Load, Var
from .binding_limits import BindingLimits
from .fusion_group import FusionGroup

# Where each piece of a tensor begins along an axis, and the piece: the rest of the tensor is 0.
Slices = dict[int, Var]


def pads_to_concat(graph: Graph) -> Graph:
    """Sums of pieces placed side by side, as the gradients of slices are, become a `concat` where
    they fill the whole."""
    if sum(e.prim.name == "pad" for e in graph.eqns) < 2:
        return graph
    known: dict[Var, tuple[int, Slices]] = {}
    eqns = []
    for e in graph.eqns:
        found = _padded_slice(e) if e.prim.name == "pad" else _sum_of_slices(e, known)
        if found is not None:
            known[e.out] = found
            axis, pieces = found
            if len(pieces) > 1 and _covers(axis, pieces, e.out):
                args = tuple(pieces[begin] for begin in sorted(pieces))
                e = Eqn(PRIMITIVES["concat"], args, {"axis": axis}, e.outs)
        eqns.append(e)
    return Graph(graph.inputs, eqns, graph.outputs, graph.input_output_aliases)


def _padded_slice(e: Eqn) -> tuple[int, Slices] | None:
    """The one piece of a `place` that is shorter than the whole along one axis."""
    x, shape = e.args[0], e.attrs["shape"]
    axes = [i for i, (n, m) in enumerate(zip(x.spec.shape, shape)) if n != m]
    plain = e.attrs.get("fill", 0) == 0 and all(step == 1 for step in e.attrs["steps"])
    if len(axes) != 1 or not plain or not isinstance(x, Var):
        return None
    return axes[0], {e.attrs["begin"][axes[0]]: x}


def _sum_of_slices(e: Eqn, known: dict) -> tuple[int, Slices] | None:
    """The pieces of a sum of two tensors that are known to be pieces, if they do not meet."""
    if e.prim.name != "add" or not all(a in known and a.spec == e.out.spec for a in e.args):
        return None
    (axis, one), (other_axis, other) = (known[a] for a in e.args)
    pieces = one | other
    apart = axis == other_axis and len(pieces) == len(one) + len(other)
    ends = sorted((begin, begin + x.spec.shape[axis]) for begin, x in pieces.items())
    apart = apart and all(end <= begin for (_, end), (begin, _) in zip(ends, ends[1:]))
    return (axis, pieces) if apart else None


def _covers(axis: int, pieces: Slices, whole: Var) -> bool:
    return sum(x.spec.shape[axis] for x in pieces.values()) == whole.spec.shape[axis]


def fuse_region_stores(kernels: list, buffers: BindingLimits) -> list:
    """The kernels; one that only moves what an earlier group makes to its part of a result is done
    by that group, which stores it there."""
    left = list(kernels)
    for n, k in enumerate(left):
        source = _copied_source(k) if isinstance(k, FusionGroup) else None
        makers = [g for g in left[:n] if isinstance(g, FusionGroup) and source in g.position]
        if len(makers) == 1 and _can_store_region(makers[0], source, k, left, buffers):
            (out, region), = k.store_views.items()
            maker, = makers
            maker.extra_stores.append((maker.position[source], out, region.reshape(maker.space)))
            maker.eqns += [e for e in k.eqns if e not in maker.eqns]
            left[n] = None
    return [k for k in left if k is not None]


def _copied_source(k: FusionGroup) -> Atom | None:
    """The variable that a kernel copies to a part of a result, element by element in order."""
    first = k.values[0]
    if not k.store_views or not isinstance(first, Load) or len(k.values) != 2:
        return None
    whole = first.view.contiguous and first.source.spec.count == prod(first.view.shape)
    return first.source if whole else None


def _can_store_region(maker: FusionGroup, source: Atom, k: FusionGroup, kernels: list, buffers: BindingLimits) -> bool:
    """Whether a group may store a value at once where kernel k would. Nobody may fill the result
    in between."""
    (out, region), = k.store_views.items()
    fills = any(isinstance(g, FusionGroup) and out in g.position and out not in g.store_views for g in kernels)
    room = buffers.count_bindings(maker) < buffers.maximum
    return (not fills and not maker.store_views and maker.site_of(source) is False and room
            and region.reshape(maker.space) is not None)
