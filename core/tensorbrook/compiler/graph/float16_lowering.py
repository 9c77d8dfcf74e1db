"""Legalization of float16: a storage type that results are rounded to, computed in float32.

A reduction of float16 becomes a reduction of float32 between two casts, so that no partial sum is
rounded; so does a kernel call that the target does not provide for float16. Elementwise equations
stay: each result is rounded to float16 before it is used, so that a value equals its copy in
memory, and a maximum equals one of its elements.
"""
from dataclasses import replace

from ...base import dtypes
from ...ir import (PRIMITIVES, Atom, Eqn, Graph, Subgraph, TargetInfo, TensorSpec, Var, as_tuple,
                   kernel_name, walk_equations)
from ...ir.analysis import consumers, with_equations
from ..context import PassContext


def lower_float16(graph: Graph, context: PassContext) -> Graph:
    """Insert casts around the equations that the target computes in float32.

    A target without float16 (`float16_kernels` is None) gets the graph unchanged, and refuses it.
    """
    target = context.target
    if target.float16_kernels is None or not uses_float16(graph):
        return graph
    eqns: list[Eqn] = []
    unrounded = _UnroundedValues(graph, target)
    for e in graph.eqns:
        if e.prim.kind == "scan":
            *casts, scan = _hoist_invariant_casts(_lower_body(e, context))
            lowered = [*casts, *_align_odd_slices(scan)]
        elif e.attrs.get("rounded", True):
            lowered = _wrap_in_casts(e) if _has_float16(e) and _needs_float32(e, target) else [e]
        else:
            lowered = unrounded.lower_cast(e)
        unrounded.register(lowered)
        eqns += lowered
    return with_equations(graph, eqns)


def uses_float16(graph: Graph) -> bool:
    """Whether any equation, in scan bodies too, has a float16 operand or result."""
    return any(map(_has_float16, walk_equations(graph)))


def _has_float16(e: Eqn) -> bool:
    return dtypes.float16 in [a.spec.dtype for a in (*e.args, *e.outs)]


def _needs_float32(e: Eqn, target: TargetInfo) -> bool:
    if e.prim.kind != "kernel":
        return e.prim.kind == "reduce"
    return kernel_name(e) not in (target.float16_kernels or ())


def _wrap_in_casts(e: Eqn) -> list[Eqn]:
    """The equation on float32, with casts of its float16 operands and results."""
    casts: list[Eqn] = []
    args = [_to_float32(a, casts) if a.spec.dtype is dtypes.float16 else a for a in e.args]
    specs = as_tuple(e.prim.spec(*[a.spec for a in args], **e.attrs))
    wide = [out if out.spec == spec else Var(spec) for out, spec in zip(e.outs, specs)]
    narrowing = [_cast(x, out) for x, out in zip(wide, e.outs) if x is not out]
    return [*casts, Eqn(e.prim, tuple(args), e.attrs, tuple(wide)), *narrowing]


class _UnroundedValues:
    """Casts to float32 with `rounded=False`, which may read the value before it was rounded to
    float16."""

    def __init__(self, graph: Graph, target: TargetInfo):
        self.target = target
        self.producers: dict[Atom, Eqn] = {}     # of the lowered graph
        self.uses = {atom: len(eqns) for atom, eqns in consumers(graph.eqns).items()}
        for atom in graph.outputs:
            self.uses[atom] = self.uses.get(atom, 0) + 1

    def register(self, eqns: list[Eqn]) -> None:
        self.producers.update((out, e) for e in eqns for out in e.outs)

    def lower_cast(self, e: Eqn) -> list[Eqn]:
        """The equations that compute the result of such a cast."""
        unrounded = self.unrounded(e.args[0], e.out)
        return unrounded or [Eqn(e.prim, e.args, {"dtype": e.out.spec.dtype}, e.outs)]

    def unrounded(self, half: Atom, out: Var) -> list[Eqn] | None:
        """Equations that give `out` the float32 value that `half` was rounded from; None if there
        is no such value."""
        e = self.producers.get(half)
        if e is None:
            return None
        if e.prim.name == "cast" and e.args[0].spec.dtype is dtypes.float32:
            return [Eqn(PRIMITIVES["reshape"], e.args, {"shape": out.spec.shape}, (out,))]
        if e.prim.kind == "view":
            source = Var(TensorSpec(e.args[0].spec.shape, dtypes.float32))
            eqns = self.unrounded(e.args[0], source)
            return eqns and [*eqns, Eqn(e.prim, (source,), e.attrs, (out,))]
        if e.prim.kind == "kernel" and kernel_name(e) in self.target.kernels_casting_operands \
                and self.uses[half] == 1:
            casts: list[Eqn] = []
            args = tuple(_to_float32(a, casts) for a in e.args)
            return [*casts, Eqn(e.prim, args, e.attrs, (out,))]
        return None


def _cast(x: Atom, out: Var) -> Eqn:
    return Eqn(PRIMITIVES["cast"], (x,), {"dtype": out.spec.dtype}, (out,))


def _to_float32(x: Atom, eqns: list[Eqn]) -> Var:
    """`x` as float32, by an equation appended to `eqns`."""
    eqns.append(_cast(x, Var(TensorSpec(x.spec.shape, dtypes.float32))))
    return eqns[-1].out


# ── scans ─────────────────────────────────────────────────────────────────────────────────────


def _lower_body(e: Eqn, context: PassContext) -> Eqn:
    body = Subgraph(lower_float16(e.attrs["body"].graph, context))
    return replace(e, attrs={**e.attrs, "body": body})


def _hoist_invariant_casts(e: Eqn) -> list[Eqn]:
    """Casts of loop-invariant operands, as a layer's weights, followed by the scan that reads
    their results."""
    graph, first_constant = e.attrs["body"].graph, e.attrs["carries"] + e.attrs["xs"]
    outside = dict(zip(graph.inputs[first_constant:], e.args[first_constant:]))
    invariant = {c.out: c for c in graph.eqns if c.prim.name == "cast" and c.args[0] in outside}
    if not invariant:
        return [e]
    hoisted = [_cast(outside[c.args[0]], Var(out.spec)) for out, c in invariant.items()]
    body = Graph([*graph.inputs, *invariant],
                 [c for c in graph.eqns if c.outs[0] not in invariant], graph.outputs)
    args = (*e.args, *(c.out for c in hoisted))
    return [*hoisted, replace(e, args=args, attrs={**e.attrs, "body": Subgraph(body)})]


def _align_odd_slices(e: Eqn) -> list[Eqn]:
    """The scan with float32 in place of slices of an odd number of float16, cast in each
    iteration: no GPU buffer can begin, and no copy can start, inside a 4-byte word."""
    graph, carries = e.attrs["body"].graph, e.attrs["carries"]
    xs = range(carries, carries + e.attrs["xs"])
    before, last, after = [], [], []
    inputs = [Var(TensorSpec(v.spec.shape, dtypes.float32)) if i in xs and _is_misaligned(v) else v
              for i, v in enumerate(graph.inputs)]
    args = [a if new is old else _to_float32(a, before)
            for a, old, new in zip(e.args, graph.inputs, inputs, strict=True)]
    first = [_cast(new, old) for old, new in zip(graph.inputs, inputs) if new is not old]
    outputs, outs = list(graph.outputs), list(e.outs)
    for i, (element, out) in enumerate(zip(graph.outputs, e.outs)):
        if i >= carries and _is_misaligned(element):
            outputs[i] = _to_float32(element, last)
            outs[i] = Var(TensorSpec(out.spec.shape, dtypes.float32))
            after.append(_cast(outs[i], out))
    if not first and not last:
        return [e]
    body = Subgraph(Graph(inputs, [*first, *graph.eqns, *last], outputs))
    return [*before, Eqn(e.prim, tuple(args), {**e.attrs, "body": body}, tuple(outs)), *after]


def _is_misaligned(element: Atom) -> bool:
    return element.spec.dtype is dtypes.float16 and element.spec.count % 2 == 1
