"""What float16 means to a compiler: an element, two bytes, that is rounded to, not computed in.

Folds of float16 become folds of float32 between two casts, so that no sum is rounded before its
end; and so do calls of kernels that do not take float16 themselves, which a backend tells as data.
What is left for it are maps, whose every result is rounded to float16 before another reads it (or
else a value would differ from its copy in memory, and a maximum from the element that it is), and
movement.
"""
from dataclasses import replace

from ..base import dtypes
from ..ir import (PRIMITIVES, Atom, Subgraph, Eqn, Graph, TargetInfo, TensorSpec, Var, walk_equations, kernel_name,
                  as_tuple)
from .finite_checks import move_finite_checks_to_producers


def lower_float16(graph: Graph, target: TargetInfo) -> Graph:
    """The graph with casts around what a backend of these limits computes in float32. One that
    computes no float16 at all (`target.halves` is None) gets it as it is, to refuse it by name."""
    if target.float16_kernels is None or not uses_float16(graph):
        return graph
    eqns: list[Eqn] = []
    whole = _UnroundedValues(graph, target)
    for e in graph.eqns:
        if e.prim.kind == "scan":
            *casts, loop = _hoist_invariant_casts(_lower_body(e, target))
            made = [*casts, *_align_odd_slices(loop)]
        elif e.attrs.get("rounded", True):
            made = _wrap_in_casts(e) if _has_halves(e) and _needs_float32(e, target) else [e]
        else:
            made = whole.lower_cast(e)
        whole.register(made)
        eqns += made
    return move_finite_checks_to_producers(Graph(graph.inputs, eqns, graph.outputs, graph.input_output_aliases), target)


def uses_float16(graph: Graph) -> bool:
    """Whether float16 is among what the equations read or make."""
    return any(map(_has_halves, walk_equations(graph)))


def _has_halves(e: Eqn) -> bool:
    return any(a.spec.dtype is dtypes.float16 for a in (*e.args, *e.outs))


def _needs_float32(e: Eqn, target: TargetInfo) -> bool:
    if e.prim.kind != "kernel":
        return e.prim.kind == "reduce"
    return kernel_name(e) not in (target.float16_kernels or ())


def _wrap_in_casts(e: Eqn) -> list[Eqn]:
    """The equation on float32, and casts before and after it."""
    before: list[Eqn] = []
    args = [_to_float32(a, before) if a.spec.dtype is dtypes.float16 else a for a in e.args]
    specs = as_tuple(e.prim.spec(*[a.spec for a in args], **e.attrs))
    made = [out if out.spec == spec else Var(spec) for out, spec in zip(e.outs, specs)]
    after = [_cast(new, out) for new, out in zip(made, e.outs) if new is not out]
    return [*before, Eqn(e.prim, tuple(args), e.attrs, tuple(made)), *after]


class _UnroundedValues:
    """Casts to float32 that need not be of float16: they go on with what was rounded to it."""

    def __init__(self, graph: Graph, target: TargetInfo):
        self.target = target
        self.makers: dict[Atom, Eqn] = {}        # of the graph as it becomes
        self.readers: dict[Atom, int] = {}
        for a in (*(a for e in graph.eqns for a in e.args), *graph.outputs):
            self.readers[a] = self.readers.get(a, 0) + 1

    def register(self, eqns: list[Eqn]) -> None:
        self.makers.update((out, e) for e in eqns for out in e.outs)

    def lower_cast(self, e: Eqn) -> list[Eqn]:
        """The equations that make the result of such a cast."""
        found = self.made(e.args[0], e.out)
        return found or [Eqn(e.prim, e.args, {"dtype": e.out.spec.dtype}, e.outs)]

    def made(self, half: Atom, out: Var) -> list[Eqn] | None:
        """Equations that give `out` what a float16 was rounded from; None if nobody knows it."""
        e = self.makers.get(half)
        if e is None:
            return None
        if e.prim.name == "cast" and e.args[0].spec.dtype is dtypes.float32:
            return [Eqn(PRIMITIVES["reshape"], e.args, {"shape": out.spec.shape}, (out,))]
        if e.prim.kind == "view":
            before = Var(TensorSpec(e.args[0].spec.shape, dtypes.float32))
            found = self.made(e.args[0], before)
            return found and [*found, Eqn(e.prim, (before,), e.attrs, (out,))]
        if e.prim.kind == "kernel" and kernel_name(e) in self.target.kernels_casting_operands \
                and self.readers[half] == 1:
            casts: list[Eqn] = []
            args = tuple(_to_float32(a, casts) for a in e.args)
            return [*casts, Eqn(e.prim, args, e.attrs, (out,))]
        return None


def _cast(x: Atom, out: Var) -> Eqn:
    return Eqn(PRIMITIVES["cast"], (x,), {"dtype": out.spec.dtype}, (out,))


def _to_float32(x: Atom, eqns: list[Eqn]) -> Var:
    """`x` as float32, by one more equation."""
    eqns.append(_cast(x, Var(TensorSpec(x.spec.shape, dtypes.float32))))
    return eqns[-1].out


# ── loops ─────────────────────────────────────────────────────────────────────────────────────


def _lower_body(e: Eqn, target: TargetInfo) -> Eqn:
    """A loop with its body widened."""
    return replace(e, attrs={**e.attrs, "body": Subgraph(lower_float16(e.attrs["body"].graph, target))})


def _hoist_invariant_casts(e: Eqn) -> list[Eqn]:
    """Casts of what is the same in every turn, as a layer's weights, and then the loop with their
    results."""
    graph, given = e.attrs["body"].graph, e.attrs["carries"] + e.attrs["xs"]
    outside = dict(zip(graph.inputs[given:], e.args[given:]))
    moved = [each for each in graph.eqns if each.prim.name == "cast" and each.args[0] in outside]
    if not moved:
        return [e]
    before = [_cast(outside[each.args[0]], Var(each.out.spec)) for each in moved]
    body = Graph([*graph.inputs, *(each.out for each in moved)],
                 [each for each in graph.eqns if each not in moved], graph.outputs)
    args = (*e.args, *(each.out for each in before))
    return [*before, replace(e, args=args, attrs={**e.attrs, "body": Subgraph(body)})]


def _align_odd_slices(e: Eqn) -> list[Eqn]:
    """A loop whose pieces of an odd number of float16 are float32, each the cast of it in its turn:
    no buffer of a GPU begins, and nothing is copied, in the midst of a word of four bytes."""
    graph, carries = e.attrs["body"].graph, e.attrs["carries"]
    xs = range(carries, carries + e.attrs["xs"])
    before, last, after = [], [], []
    inputs = [Var(TensorSpec(v.spec.shape, dtypes.float32)) if i in xs and _is_misaligned(v) else v
              for i, v in enumerate(graph.inputs)]
    args = [a if new is old else _to_float32(a, before)
            for a, old, new in zip(e.args, graph.inputs, inputs, strict=True)]
    first = [_cast(new, old) for old, new in zip(graph.inputs, inputs) if new is not old]
    outputs, outs = list(graph.outputs), list(e.outs)
    for i, (piece, out) in enumerate(zip(graph.outputs, e.outs)):
        if i >= carries and _is_misaligned(piece):
            outputs[i] = _to_float32(piece, last)
            outs[i] = Var(TensorSpec(out.spec.shape, dtypes.float32))
            after.append(_cast(outs[i], out))
    if not first and not last:
        return [e]
    body = Subgraph(Graph(inputs, [*first, *graph.eqns, *last], outputs))
    return [*before, Eqn(e.prim, tuple(args), {**e.attrs, "body": body}, tuple(outs)), *after]


def _is_misaligned(piece: Atom) -> bool:
    return piece.spec.dtype is dtypes.float16 and piece.spec.count % 2 == 1
