"""Optimization of scans: dead results, constants, invariant carries, loop-invariant code."""
from __future__ import annotations

from dataclasses import replace

from ...ir import PRIMITIVES, Atom, Const, Eqn, Graph, Subgraph, TensorSpec, Var
from ...ir.analysis import backward_slice, dependencies, substitute, with_equations, with_operands
from ..context import PassContext


def optimize_scans(graph: Graph, context: PassContext) -> Graph:
    """Replace each scan that is live by equations that compute its live results with less work."""
    if not any(e.prim.kind == "scan" for e in graph.eqns):
        return graph
    live: set[Atom] = set(graph.outputs)
    reverse: list[Eqn] = []
    for e in reversed(graph.eqns):
        is_live = not live.isdisjoint(e.outs)
        eqns = _optimize(e, live, context) if is_live and e.prim.kind == "scan" else [e]
        if is_live:
            live.update(a for each in eqns for a in each.args)
        reverse += reversed(eqns)
    return with_equations(graph, reverse[::-1])


def _optimize(e: Eqn, live: set, context: PassContext) -> list[Eqn]:
    """The equations that compute the results of a scan that are in `live`."""
    if not e.attrs["length"]:
        return _zero_trip_scan(e, live)
    e = _propagate_constants(_drop_dead_results(e, live))
    e, copies = _drop_invariant_carries(e)
    e = _with_body(e, context.simplify(e.attrs["body"].graph), e.args, e.outs)
    e, hoisted = _hoist_invariants(e)
    return [*copies, *hoisted, _drop_dead_inputs(e)]


def _with_body(e: Eqn, graph: Graph, args, outs, **attrs) -> Eqn:
    return Eqn(e.prim, tuple(args), e.attrs | attrs | {"body": Subgraph(graph)}, tuple(outs))


def _zero_trip_scan(e: Eqn, live: set) -> list[Eqn]:
    """A scan of no iterations: carries leave as they entered, stacked results are empty."""
    empty = [Const(TensorSpec((), v.spec.dtype), 0) for v in e.outs[e.attrs["carries"]:]]
    ends = [*e.args[:e.attrs["carries"]], *empty]
    return [Eqn(PRIMITIVES["identity"], (end,), {}, (v,))
            for end, v in zip(ends, e.outs) if v in live]


def _drop_dead_results(e: Eqn, live: set) -> Eqn:
    graph, n = e.attrs["body"].graph, e.attrs["carries"]
    stacked = [i for i in range(n, len(e.outs)) if e.outs[i] in live]
    carried = {i for i in range(n) if e.outs[i] in live}
    while True:
        needed = dependencies(graph.eqns, [graph.outputs[i] for i in (*carried, *stacked)])
        more = carried | {i for i in range(n) if graph.inputs[i] in needed}
        if more == carried:
            break
        carried = more
    kept = [*sorted(carried), *stacked]
    dead = {i for i in range(n) if i not in carried}
    inputs = [v for i, v in enumerate(graph.inputs) if i not in dead]
    args = [a for i, a in enumerate(e.args) if i not in dead]
    body = Graph(inputs, graph.eqns, [graph.outputs[i] for i in kept])
    return _with_body(e, body, args, [e.outs[i] for i in kept], carries=len(carried))


def _propagate_constants(e: Eqn) -> Eqn:
    """Move scalar constants into the body, and let it read an operand that is given twice once."""
    graph, first = e.attrs["body"].graph, e.attrs["carries"] + e.attrs["xs"]
    known: dict[Atom, Atom] = {}
    replacements: dict[Atom, Atom] = {}
    for var, arg in zip(graph.inputs[first:], e.args[first:]):
        scalar = isinstance(arg, Const) and arg.is_scalar
        replacements[var] = arg if scalar else known.setdefault(arg, var)
    return _with_body(e, substitute(graph, replacements), e.args, e.outs)


def _drop_invariant_carries(e: Eqn) -> tuple[Eqn, list[Eqn]]:
    """Convert carries that no iteration changes to constants of the scan."""
    graph, n, xs = e.attrs["body"].graph, e.attrs["carries"], e.attrs["xs"]
    still = [i for i in range(n) if graph.outputs[i] is graph.inputs[i]]
    moving = [i for i in range(n) if graph.outputs[i] is not graph.inputs[i]]
    order = [*moving, *range(n, n + xs), *range(n + xs, len(e.args)), *still]
    kept = [*moving, *range(n, len(e.outs))]
    body = Graph([graph.inputs[i] for i in order], graph.eqns, [graph.outputs[i] for i in kept])
    copies = [Eqn(PRIMITIVES["identity"], (e.args[i],), {}, (e.outs[i],)) for i in still]
    return _with_body(e, body, [e.args[i] for i in order], [e.outs[i] for i in kept],
                      carries=len(moving)), copies


def _hoist_invariants(e: Eqn) -> tuple[Eqn, list[Eqn]]:
    """Loop-invariant code motion: equations that depend only on constants move out of the loop.

    A view of constants is hoisted only where a kernel call needs it as a buffer; elsewhere a view
    costs nothing in the loop.
    """
    graph, first = e.attrs["body"].graph, e.attrs["carries"] + e.attrs["xs"]
    outside: dict[Atom, Atom] = dict(zip(graph.inputs[first:], e.args[first:]))
    buffered = {a for one in graph.eqns if one.prim.kind in ("kernel", "scan") for a in one.args}
    invariant = [one for one in _invariants(graph, outside)
                 if one.prim.kind != "view" or one.out in buffered]
    if not invariant:
        return e, []
    ends = [v for one in invariant for v in one.outs]
    moved = backward_slice(graph.eqns, ends)
    outer = {v: Var(v.spec) for one in moved for v in one.outs}
    outside |= outer
    hoisted = [replace(with_operands(one, outside), outs=tuple(outer[v] for v in one.outs))
               for one in moved]
    removed = set(ends)      # views between them stay: equations of the body may use them
    body = Graph([*graph.inputs, *ends],
                 [one for one in graph.eqns if removed.isdisjoint(one.outs)], graph.outputs)
    return _with_body(e, body, [*e.args, *(outer[v] for v in ends)], e.outs), hoisted


def _invariants(graph: Graph, constants) -> list[Eqn]:
    """The equations that depend on nothing but constants."""
    same, found = set(constants), []
    for e in graph.eqns:
        if any(isinstance(a, Var) for a in e.args) and all(
                isinstance(a, Const) or a in same for a in e.args):
            same.update(e.outs)
            found.append(e)
    return found


def _drop_dead_inputs(e: Eqn) -> Eqn:
    graph, n, xs = e.attrs["body"].graph, e.attrs["carries"], e.attrs["xs"]
    used = {a for one in graph.eqns for a in one.args} | set(graph.outputs)
    kept = [i for i, v in enumerate(graph.inputs) if i < n or v in used]
    body = Graph([graph.inputs[i] for i in kept], graph.eqns, graph.outputs)
    return _with_body(e, body, [e.args[i] for i in kept], e.outs,
                      xs=sum(n <= i < n + xs for i in kept))
