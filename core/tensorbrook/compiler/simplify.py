"""Graph -> smaller graph that means the same."""
from math import prod

from ..base import shapes
from ..ir import PRIMS, Const, Eqn, Graph, Spec, Var
from .numbers import fold_numbers

# A fold over fewer elements than this is not worth a second kernel.
LONG_FOLD = 1 << 15
# How many parts a long fold with few results is cut into: enough for any number of threads we run.
PARTS = 64


def simplify(graph: Graph) -> Graph:
    return cut_long_folds(drop_unused(share_equal(fold_numbers(graph))))


def share_equal(graph: Graph) -> Graph:
    """Equations that compute the same become one."""
    seen: dict = {}
    renamed: dict = {}
    eqns = []
    for e in graph.eqns:
        args = tuple(renamed.get(a, a) for a in e.args)
        # The result's shape too: a map of numbers alone does not tell it.
        key = (e.prim.name, tuple(o.spec for o in e.outs), tuple(map(_identity, args)),
               tuple(e.attrs.items()))
        if key in seen:
            renamed.update(zip(e.outs, seen[key]))
        else:
            seen[key] = e.outs
            eqns.append(Eqn(e.prim, args, e.attrs, e.outs))
    return Graph(graph.inputs, eqns, [renamed.get(o, o) for o in graph.outputs], graph.updates)


def _identity(atom):
    """What makes two atoms the same value: the variable, or an equal number."""
    if isinstance(atom, Const) and atom.is_number:
        return atom.spec, repr(atom.value)
    return id(atom)


def drop_unused(graph: Graph) -> Graph:
    live = {o for o in graph.outputs if isinstance(o, Var)}
    eqns = []
    for e in reversed(graph.eqns):
        if not live.isdisjoint(e.outs):
            live.update(a for a in e.args if isinstance(a, Var))
            eqns.append(e)
    return Graph(graph.inputs, eqns[::-1], graph.outputs, graph.updates)


def cut_long_folds(graph: Graph) -> Graph:
    """A fold of many elements to few results becomes two, so that all threads can share the first.

    The parts do not depend on the number of threads, and so neither does the result."""
    eqns: list[Eqn] = []
    for e in graph.eqns:
        eqns += _in_two(e) if e.prim.kind == "reduce" else [e]
    return Graph(graph.inputs, eqns, graph.outputs, graph.updates)


def _in_two(e: Eqn) -> list[Eqn]:
    x, axes = e.args[0], e.attrs["axes"]
    shape = x.spec.shape
    folded = prod(shape[a] for a in axes)
    if folded < LONG_FOLD or e.out.spec.count >= PARTS:
        return [e]
    axis = max(axes, key=lambda a: shape[a])
    parts = next(n for n in range(min(PARTS, shape[axis]), 0, -1) if shape[axis] % n == 0)
    if parts == 1 or parts == folded:
        return [e]
    cut = shape[:axis] + (parts, shape[axis] // parts) + shape[axis + 1:]
    inner = tuple(a + (a >= axis) for a in axes)
    pieces = Var(Spec(cut, x.spec.dtype))
    partial = Var(Spec(shapes.dropped(cut, inner), x.spec.dtype))
    last = sum(a not in inner for a in range(axis))
    return [Eqn(PRIMS["reshape"], (x,), {"shape": cut}, (pieces,)),
            Eqn(e.prim, (pieces,), {"axes": inner}, (partial,)),
            Eqn(e.prim, (partial,), {"axes": (last,)}, e.outs)]
