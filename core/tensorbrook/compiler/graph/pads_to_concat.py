"""Strength reduction: a sum of padded slices that do not overlap becomes a concatenation."""
from ...ir import PRIMITIVES, Eqn, Graph, Var
from ...ir.analysis import with_equations
from ..context import PassContext

# Slices of a tensor by their begin along an axis; the rest of the tensor is 0.
Slices = dict[int, Var]


def combine_pads_into_concat(graph: Graph, context: PassContext) -> Graph:
    """Replace sums of padded slices, as gradients of slices are, by `concat` where the slices
    cover the whole tensor."""
    if sum(e.prim.name == "pad" for e in graph.eqns) < 2:
        return graph
    known: dict[Var, tuple[int, Slices]] = {}
    eqns = []
    for e in graph.eqns:
        found = _padded_slice(e) if e.prim.name == "pad" else _sum_of_slices(e, known)
        if found is not None:
            known[e.out] = found
            axis, slices = found
            if len(slices) > 1 and _covers(axis, slices, e.out):
                args = tuple(slices[begin] for begin in sorted(slices))
                e = Eqn(PRIMITIVES["concat"], args, {"axis": axis}, e.outs)
        eqns.append(e)
    return with_equations(graph, eqns)


def _padded_slice(e: Eqn) -> tuple[int, Slices] | None:
    """The axis and the only slice of a pad that extends its operand along one axis."""
    x, shape = e.args[0], e.attrs["shape"]
    axes = [i for i, (n, m) in enumerate(zip(x.spec.shape, shape)) if n != m]
    plain = e.attrs.get("fill", 0) == 0 and all(step == 1 for step in e.attrs["steps"])
    if len(axes) != 1 or not plain or not isinstance(x, Var):
        return None
    return axes[0], {e.attrs["begin"][axes[0]]: x}


def _sum_of_slices(e: Eqn, known: dict) -> tuple[int, Slices] | None:
    """The slices of a sum of two tensors of known slices, if they do not overlap."""
    if e.prim.name != "add" or not all(a in known and a.spec == e.out.spec for a in e.args):
        return None
    (axis, left), (other_axis, right) = (known[a] for a in e.args)
    slices = left | right
    disjoint = axis == other_axis and len(slices) == len(left) + len(right)
    ends = sorted((begin, begin + x.spec.shape[axis]) for begin, x in slices.items())
    disjoint = disjoint and all(end <= begin for (_, end), (begin, _) in zip(ends, ends[1:]))
    return (axis, slices) if disjoint else None


def _covers(axis: int, slices: Slices, whole: Var) -> bool:
    return sum(x.spec.shape[axis] for x in slices.values()) == whole.spec.shape[axis]
