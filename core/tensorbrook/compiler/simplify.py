"""Graph -> smaller graph that means the same."""
from ..ir import Const, Eqn, Graph, Var
from .split_reductions import split_long_reductions
from .constant_folding import fold_constants
from .concat_fusion import pads_to_concat
from .scan_optimization import merge_identical_scans, optimize_scan


def simplify(graph: Graph) -> Graph:
    graph = merge_identical_scans(eliminate_common_subexpressions(fold_constants(graph)))
    return split_long_reductions(eliminate_dead_code(pads_to_concat(graph)))


def eliminate_common_subexpressions(graph: Graph) -> Graph:
    """Equations that compute the same become one."""
    seen: dict = {}
    renamed: dict = {}
    eqns = []
    for e in graph.eqns:
        args = tuple(renamed.get(a, a) for a in e.args)
        # The result's shape too: a map of numbers alone does not tell it.
        key = (e.prim.name, tuple(o.spec for o in e.outs), tuple(map(_value_key, args)),
               tuple(e.attrs.items()))
        if key in seen:
            renamed.update(zip(e.outs, seen[key]))
        else:
            seen[key] = e.outs
            eqns.append(Eqn(e.prim, args, e.attrs, e.outs))
    return Graph(graph.inputs, eqns, [renamed.get(o, o) for o in graph.outputs], graph.input_output_aliases)


def _value_key(atom):
    """What makes two atoms the same value: the variable, or an equal number."""
    if isinstance(atom, Const) and atom.is_scalar:
        return atom.spec, repr(atom.value)
    return id(atom)


def eliminate_dead_code(graph: Graph) -> Graph:
    live = {o for o in graph.outputs if isinstance(o, Var)}
    eqns = []
    for e in reversed(graph.eqns):
        if not live.isdisjoint(e.outs):
            kept = [e] if e.prim.kind != "scan" else optimize_scan(e, live, simplify)
            live.update(a for each in kept for a in each.args if isinstance(a, Var))
            eqns += reversed(kept)
    return Graph(graph.inputs, eqns[::-1], graph.outputs, graph.input_output_aliases)
