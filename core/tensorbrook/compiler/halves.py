"""What float16 means to a compiler: an element, two bytes, that is rounded to, not computed in.

Folds of float16 become folds of float32 between two casts, so that no sum is rounded before its
end; and so do calls of kernels that do not take float16 themselves, which a
backend tells as data. What is left for it are maps, whose every result is rounded to float16 before
another reads it (or else a value would differ from its copy in memory, and a maximum from the
element that it is), and movement.
"""
from dataclasses import replace

from ..base import dtypes
from ..ir import PRIMS, Atom, Body, Eqn, Graph, Limits, Spec, Var, every_equation, several


def widened(graph: Graph, limits: Limits) -> Graph:
    """The graph with casts around what a backend of these limits computes in float32. One that
    computes no float16 at all (`limits.halves` is None) gets it as it is, to refuse it by name."""
    if limits.halves is None or not any(map(_has_halves, every_equation(graph))):
        return graph
    eqns: list[Eqn] = []
    for e in graph.eqns:
        wide = _has_halves(e) and _is_wide(e, limits)
        eqns += _between_casts(e) if wide else [_inside(e, limits)]
    return Graph(graph.inputs, eqns, graph.outputs, graph.updates)


def _has_halves(e: Eqn) -> bool:
    return any(a.spec.dtype is dtypes.float16 for a in (*e.args, *e.outs))


def _is_wide(e: Eqn, limits: Limits) -> bool:
    if e.prim.kind != "call":
        return e.prim.kind == "reduce"
    specs = tuple(v.spec for v in e.outs)
    given = [a.spec for a in e.args]
    function, _, _ = e.prim.call(given, specs if len(specs) > 1 else specs[0], **e.attrs)
    return function not in (limits.halves or ())


def _between_casts(e: Eqn) -> list[Eqn]:
    """The equation on float32, and casts before and after it."""
    before, args = [], []
    for a in e.args:
        if a.spec.dtype is dtypes.float16:
            before.append(_cast(a, Var(Spec(a.spec.shape, dtypes.float32))))
            a = before[-1].out
        args.append(a)
    specs = several(e.prim.spec(*[a.spec for a in args], **e.attrs))
    made = [out if out.spec == spec else Var(spec) for out, spec in zip(e.outs, specs)]
    after = [_cast(new, out) for new, out in zip(made, e.outs) if new is not out]
    return [*before, Eqn(e.prim, tuple(args), e.attrs, tuple(made)), *after]


def _cast(x: Atom, out: Var) -> Eqn:
    return Eqn(PRIMS["cast"], (x,), {"dtype": out.spec.dtype}, (out,))


def _inside(e: Eqn, limits: Limits) -> Eqn:
    """The equation with its body, where it has one, widened too."""
    bodies = {name: Body(widened(value.graph, limits)) for name, value in e.attrs.items()
              if isinstance(value, Body)}
    return replace(e, attrs={**e.attrs, **bodies}) if bodies else e
