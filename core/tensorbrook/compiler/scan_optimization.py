"""Loops in a graph: two of the same body become one, and each does no more than it must."""
from collections.abc import Callable

from ..ir import PRIMITIVES, Atom, Subgraph, Const, Eqn, Graph, TensorSpec, Var

Simplify = Callable[[Graph], Graph]


# ── two loops in one ──────────────────────────────────────────────────────────────────────────


def merge_identical_scans(graph: Graph) -> Graph:
    """Loops over the same arguments and equations become one with the results of all, as those of
    a forward pass and of the values that its gradient needs do."""
    if not any(e.prim.kind == "scan" for e in graph.eqns):
        return graph
    at: dict[tuple, int] = {}
    renamed: dict[Atom, Atom] = {}
    eqns: list[Eqn] = []
    for e in graph.eqns:
        e = Eqn(e.prim, tuple(renamed.get(a, a) for a in e.args), e.attrs, e.outs)
        if e.prim.kind == "scan":
            key = _key(e)
            if key in at:
                eqns[at[key]] = _merge_results(eqns[at[key]], e, renamed)
                continue
            at[key] = len(eqns)
        eqns.append(e)
    return Graph(graph.inputs, eqns, [renamed.get(o, o) for o in graph.outputs], graph.input_output_aliases)


def _key(e: Eqn) -> tuple:
    graph, carries = e.attrs["body"].graph, e.attrs["carries"]
    number = {v: i for i, v in enumerate(_variables(graph))}
    state = tuple(number.get(o, repr(o)) for o in graph.outputs[:carries])
    rest = tuple(value for name, value in e.attrs.items() if name != "body")
    return e.args, e.attrs["body"].equations_digest, state, rest


def _variables(graph: Graph) -> list[Atom]:
    return [*graph.inputs, *(v for e in graph.eqns for v in e.outs)]


def _merge_results(first: Eqn, second: Eqn, renamed: dict) -> Eqn:
    """`first` with what `second` results in besides; `renamed` tells where its results are now."""
    graph, other = first.attrs["body"].graph, second.attrs["body"].graph
    same = dict(zip(_variables(other), _variables(graph)))
    carries = first.attrs["carries"]
    renamed.update(zip(second.outs[:carries], first.outs))
    outputs, outs = list(graph.outputs), list(first.outs)
    for o, var in zip(other.outputs[carries:], second.outs[carries:]):
        o = same.get(o, o)
        if o in outputs[carries:]:
            renamed[var] = outs[outputs.index(o, carries)]
        else:
            outputs.append(o)
            outs.append(var)
    return _with_body(first, Graph(graph.inputs, graph.eqns, outputs), first.args, outs)


def _with_body(e: Eqn, graph: Graph, args, outs, **attrs) -> Eqn:
    return Eqn(e.prim, tuple(args), e.attrs | attrs | {"body": Subgraph(graph)}, tuple(outs))


# ── one loop, as small as can be ──────────────────────────────────────────────────────────────


def optimize_scan(e: Eqn, live: set, simplify: Simplify) -> list[Eqn]:
    """The equations that a scan comes to if only those in `live` are read: what does not change
    from turn to turn goes before it, what nobody reads goes."""
    if not e.attrs["length"]:
        return _zero_trip_scan(e, live)
    e = _propagate_constants(_drop_dead_results(e, live))
    e, before = _drop_invariant_carries(e)
    e = _with_body(e, simplify(e.attrs["body"].graph), e.args, e.outs)
    e, hoisted = _hoist_invariants(e)
    return [*before, *hoisted, _drop_dead_inputs(e)]


def _zero_trip_scan(e: Eqn, live: set) -> list[Eqn]:
    """Carries leave as they came, and there is nothing in the others."""
    nothing = [Const(TensorSpec((), v.spec.dtype), 0) for v in e.outs[e.attrs["carries"]:]]
    ends = [*e.args[:e.attrs["carries"]], *nothing]
    return [Eqn(PRIMITIVES["identity"], (end,), {}, (v,)) for end, v in zip(ends, e.outs) if v in live]


def _drop_dead_results(e: Eqn, live: set) -> Eqn:
    graph, n = e.attrs["body"].graph, e.attrs["carries"]
    ys = [i for i in range(n, len(e.outs)) if e.outs[i] in live]
    state = {i for i in range(n) if e.outs[i] in live}
    while True:
        needed = _backward_slice(graph, [graph.outputs[i] for i in (*state, *ys)])
        more = state | {i for i in range(n) if graph.inputs[i] in needed}
        if more == state:
            break
        state = more
    kept = sorted(state)
    gone = [i for i in range(n) if i not in state]
    inputs = [v for i, v in enumerate(graph.inputs) if i not in gone]
    outs = [*kept, *ys]
    small = Graph(inputs, graph.eqns, [graph.outputs[i] for i in outs])
    args = [a for i, a in enumerate(e.args) if i not in gone]
    return _with_body(e, small, args, [e.outs[i] for i in outs], carries=len(kept))


def _backward_slice(graph: Graph, outputs) -> set[Atom]:
    """All that the outputs depend on."""
    live = set(outputs)
    for e in reversed(graph.eqns):
        if not live.isdisjoint(e.outs):
            live.update(e.args)
    return live


def _propagate_constants(e: Eqn) -> Eqn:
    """Constants that are numbers, or are given twice, as the body's own."""
    graph, first = e.attrs["body"].graph, e.attrs["carries"] + e.attrs["xs"]
    known: dict[Atom, Atom] = {}
    renamed: dict[Atom, Atom] = {}
    for var, arg in zip(graph.inputs[first:], e.args[first:]):
        is_number = isinstance(arg, Const) and arg.is_scalar
        renamed[var] = arg if is_number else known.setdefault(arg, var)
    return _with_body(e, _substitute(graph, renamed), e.args, e.outs)


def _substitute(graph: Graph, renamed: dict[Atom, Atom]) -> Graph:
    eqns = [Eqn(e.prim, tuple(renamed.get(a, a) for a in e.args), e.attrs, e.outs)
            for e in graph.eqns]
    return Graph(graph.inputs, eqns, [renamed.get(o, o) for o in graph.outputs])


def _drop_invariant_carries(e: Eqn) -> tuple[Eqn, list[Eqn]]:
    """Carries that leave a turn as they came become constants."""
    graph, n, xs = e.attrs["body"].graph, e.attrs["carries"], e.attrs["xs"]
    still = [i for i in range(n) if graph.outputs[i] is graph.inputs[i]]
    moving = [i for i in range(n) if i not in still]
    order = [*moving, *range(n, n + xs), *range(n + xs, len(e.args)), *still]
    outs = [*moving, *range(n, len(e.outs))]
    small = Graph([graph.inputs[i] for i in order], graph.eqns, [graph.outputs[i] for i in outs])
    same = [Eqn(PRIMITIVES["identity"], (e.args[i],), {}, (e.outs[i],)) for i in still]
    return _with_body(e, small, [e.args[i] for i in order], [e.outs[i] for i in outs],
                      carries=len(moving)), same


def _hoist_invariants(e: Eqn) -> tuple[Eqn, list[Eqn]]:
    """What is computed of constants alone goes before the loop; a view of them does where a kernel
    needs it in a buffer, and stays where it costs nothing."""
    graph, first = e.attrs["body"].graph, e.attrs["carries"] + e.attrs["xs"]
    outside: dict[Atom, Atom] = dict(zip(graph.inputs[first:], e.args[first:]))
    invariant = [one for one in _invariants(graph, outside) if one.prim.kind != "view"
                 or _is_read_by_a_kernel(graph, one)]
    if not invariant:
        return e, []
    ends = [v for one in invariant for v in one.outs]
    wanted = _backward_slice(graph, ends)
    moved = [one for one in graph.eqns if not wanted.isdisjoint(one.outs)]
    outer = {v: Var(v.spec) for one in moved for v in one.outs}
    outside |= outer
    hoisted = [Eqn(one.prim, tuple(outside.get(a, a) for a in one.args), one.attrs,
                   tuple(outer[v] for v in one.outs)) for one in moved]
    views = [one for one in moved if one not in invariant]           # others may read them still
    gone = {id(one) for one in moved} - {id(one) for one in views}
    small = Graph([*graph.inputs, *ends], [one for one in graph.eqns if id(one) not in gone],
                  graph.outputs)
    return _with_body(e, small, [*e.args, *(outer[v] for v in ends)], e.outs), hoisted


def _invariants(graph: Graph, constants) -> list[Eqn]:
    """The equations that read nothing but constants, or what is made of them."""
    same, found = set(constants), []
    for e in graph.eqns:
        if any(isinstance(a, Var) for a in e.args) and all(
                isinstance(a, Const) or a in same for a in e.args):
            same.update(e.outs)
            found.append(e)
    return found


def _is_read_by_a_kernel(graph: Graph, view: Eqn) -> bool:
    return any(e.prim.kind in ("kernel", "scan") and view.out in e.args for e in graph.eqns)


def _drop_dead_inputs(e: Eqn) -> Eqn:
    graph, n, xs = e.attrs["body"].graph, e.attrs["carries"], e.attrs["xs"]
    read = {a for one in graph.eqns for a in one.args} | set(graph.outputs)
    kept = [i for i, v in enumerate(graph.inputs) if i < n or v in read]
    eqns = Graph([graph.inputs[i] for i in kept], graph.eqns, graph.outputs)
    return _with_body(e, eqns, [e.args[i] for i in kept], e.outs,
                      xs=sum(n <= i < n + xs for i in kept))
