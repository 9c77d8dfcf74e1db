"""Graph -> smaller graph that means the same."""
from ..ir import Const, Eqn, Graph, Var
from .folds import cut_long_folds
from .numbers import fold_numbers
from .regions import join_places
from .scans import merge_scans, trimmed


def simplify(graph: Graph) -> Graph:
    graph = merge_scans(share_equal(fold_numbers(graph)))
    return cut_long_folds(drop_unused(join_places(graph)))


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
            kept = [e] if e.prim.kind != "scan" else trimmed(e, live, simplify)
            live.update(a for each in kept for a in each.args if isinstance(a, Var))
            eqns += reversed(kept)
    return Graph(graph.inputs, eqns[::-1], graph.outputs, graph.updates)
