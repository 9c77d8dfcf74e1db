"""Parts of one tensor: sums of parts that do not meet are no sums, and whoever makes a part may
store it where it belongs."""
from math import prod

from ..ir import PRIMS, Atom, Eqn, Graph, Load, Var
from .buffers import Buffers
from .group import Group

# Where each piece of a tensor begins along an axis, and the piece: the rest of the tensor is 0.
Pieces = dict[int, Var]


def join_places(graph: Graph) -> Graph:
    """Sums of pieces placed side by side, as the gradients of slices are, become a `concat` where
    they fill the whole."""
    if sum(e.prim.name == "place" for e in graph.eqns) < 2:
        return graph
    known: dict[Var, tuple[int, Pieces]] = {}
    eqns = []
    for e in graph.eqns:
        found = _placed(e) if e.prim.name == "place" else _sum(e, known)
        if found is not None:
            known[e.out] = found
            axis, pieces = found
            if len(pieces) > 1 and _fill(axis, pieces, e.out):
                args = tuple(pieces[begin] for begin in sorted(pieces))
                e = Eqn(PRIMS["concat"], args, {"axis": axis}, e.outs)
        eqns.append(e)
    return Graph(graph.inputs, eqns, graph.outputs, graph.updates)


def _placed(e: Eqn) -> tuple[int, Pieces] | None:
    """The one piece of a `place` that is shorter than the whole along one axis."""
    x, shape = e.args[0], e.attrs["shape"]
    axes = [i for i, (n, m) in enumerate(zip(x.spec.shape, shape)) if n != m]
    plain = e.attrs.get("fill", 0) == 0 and all(step == 1 for step in e.attrs["steps"])
    if len(axes) != 1 or not plain or not isinstance(x, Var):
        return None
    return axes[0], {e.attrs["begin"][axes[0]]: x}


def _sum(e: Eqn, known: dict) -> tuple[int, Pieces] | None:
    """The pieces of a sum of two tensors that are known to be pieces, if they do not meet."""
    if e.prim.name != "add" or not all(a in known and a.spec == e.out.spec for a in e.args):
        return None
    (axis, one), (other_axis, other) = (known[a] for a in e.args)
    pieces = one | other
    apart = axis == other_axis and len(pieces) == len(one) + len(other)
    ends = sorted((begin, begin + x.spec.shape[axis]) for begin, x in pieces.items())
    apart = apart and all(end <= begin for (_, end), (begin, _) in zip(ends, ends[1:]))
    return (axis, pieces) if apart else None


def _fill(axis: int, pieces: Pieces, whole: Var) -> bool:
    return sum(x.spec.shape[axis] for x in pieces.values()) == whole.spec.shape[axis]


def stored_by_makers(kernels: list, buffers: Buffers) -> list:
    """The kernels; one that only moves what an earlier group makes to its part of a result is done
    by that group, which stores it there."""
    left = list(kernels)
    for n, k in enumerate(left):
        source = _moved(k) if isinstance(k, Group) else None
        makers = [g for g in left[:n] if isinstance(g, Group) and source in g.at]
        if len(makers) == 1 and _takes(makers[0], source, k, left, buffers):
            (out, region), = k.stored.items()
            maker, = makers
            maker.also.append((maker.at[source], out, region.reshape(maker.space)))
            maker.eqns += [e for e in k.eqns if e not in maker.eqns]
            left[n] = None
    return [k for k in left if k is not None]


def _moved(k: Group) -> Atom | None:
    """The variable that a kernel copies to a part of a result, element by element in order."""
    first = k.values[0]
    if not k.stored or not isinstance(first, Load) or len(k.values) != 2:
        return None
    whole = first.view.contiguous and first.source.spec.count == prod(first.view.shape)
    return first.source if whole else None


def _takes(maker: Group, source: Atom, k: Group, kernels: list, buffers: Buffers) -> bool:
    """Whether a group may store a value at once where kernel k would. Nobody may fill the result
    in between."""
    (out, region), = k.stored.items()
    fills = any(isinstance(g, Group) and out in g.at and out not in g.stored for g in kernels)
    room = buffers.touched(maker) < buffers.most
    return (not fills and not maker.stored and maker.level(source) is False and room
            and region.reshape(maker.space) is not None)
