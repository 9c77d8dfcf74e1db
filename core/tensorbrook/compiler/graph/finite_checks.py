"""Motion of finite checks: gradients are checked by checking the values they are computed from.

A step in mixed precision changes nothing unless all gradients are finite. Reading all gradients
for that check, and again for the update, costs more than float16 saves, and the update could no
longer be an epilogue of the product that computes a gradient. But a product of float16 operands
accumulated in float32 is finite exactly where both operands are: float32 holds the sum of 10^28
such products, and an infinity or a NaN in an operand shows in each product that it takes part in.
So the operands are checked instead, which exist before any product of a weight's gradient; their
producers check them in registers (see compiler/kernels/finite_checks.py).
"""
from __future__ import annotations

from math import prod

from ...base import dtypes
from ...ir import Atom, Const, Eqn, Graph, Primitive, TensorSpec, Var
from ...ir.analysis import producers, with_equations
from ..context import PassContext

NAME = "all_finite"
FLAG = TensorSpec((), dtypes.bool_)
ALL_FINITE = Primitive(
    NAME, "kernel", lambda *specs: FLAG, None,
    lambda np, *xs: np.all([np.isfinite(x).all() for x in xs]),
    kernel_call=lambda specs, out: (NAME, (), sum(spec.count for spec in specs)))


def move_finite_checks_to_producers(graph: Graph, context: PassContext) -> Graph:
    """Replace each check that tensors are finite by one equation over the tensors that decide it,
    where the target provides such a kernel."""
    if NAME not in context.target.kernels_casting_operands:
        return graph
    checks = _FiniteChecks(graph)
    eqns = []
    for e in graph.eqns:
        checked = checks.roots.get(e.outs[0])
        if checked:
            deciding = dict.fromkeys(d for a in checked for d in checks.sufficient_operands(a))
            e = Eqn(ALL_FINITE, tuple(deciding), {}, e.outs)
        eqns.append(e)
    return with_equations(graph, eqns)


class _FiniteChecks:
    """`checked` maps a flag to the tensors that it checks; `roots` are the flags that are used by
    more than another check."""

    def __init__(self, graph: Graph):
        self.producers = producers(graph.eqns)
        self.kernel_operands: set[Atom] = set()
        self.checked: dict[Var, list[Atom]] = {}
        inner, used = set(), set(graph.outputs)
        for e in graph.eqns:
            found = self.checked_operands(e)
            if e.prim.kind == "kernel":
                self.kernel_operands.update(map(self.through_casts, e.args))
            if found is None:
                used.update(e.args)
            else:
                self.checked[e.out] = found
                inner.update(e.args)
        self.roots = {v: found for v, found in self.checked.items()
                      if found and (v in used or v not in inner)}

    def producer_if(self, atom: Atom, *names: str) -> Eqn | None:
        """The producer of an atom, if its primitive has one of these names."""
        e = self.producers.get(atom)
        return e if e is not None and e.prim.name in names else None

    def checked_operands(self, e: Eqn) -> list[Atom] | None:
        """The tensors that an equation's result states to be finite; None if it is no check."""
        if e.prim.name == "bitwise_and" and e.out.spec == FLAG:
            x, y = map(self.known_checked, e.args)
            return None if x is None or y is None else x + y
        if e.prim.name != "greater" or e.out.spec != FLAG or not _is(e.args[1], 0):
            return None
        reduction = self.producer_if(e.args[0], "reduce_min")      # absent for a single element
        ones = self.producer_if(reduction.args[0] if reduction else e.args[0], "cast")
        check = ones and self.producer_if(ones.args[0], "is_finite")
        return [check.args[0]] if check else None

    def known_checked(self, atom: Atom) -> list[Atom] | None:
        return [] if _is(atom, True) else self.checked.get(atom)

    def through_casts(self, atom: Atom) -> Atom:
        """The tensor whose elements an atom has, in another floating dtype or shape."""
        e = self.producer_if(atom, "reshape", "cast", "transpose")
        while e is not None and all(a.spec.dtype.is_floating for a in (*e.args, *e.outs)):
            atom = e.args[0]
            e = self.producer_if(atom, "reshape", "cast", "transpose")
        return atom

    def sufficient_operands(self, atom: Atom) -> list[Atom]:
        """The tensors that are finite exactly where `atom` is."""
        e = self.producer_if(atom, "reshape", "transpose", "matmul", "conv2d_filter_grad",
                             "reduce_sum", "cast")
        if e is None or not atom.spec.count or atom.spec.dtype is not dtypes.float32:
            return [atom]
        if e.prim.name in ("reshape", "transpose"):
            return self.sufficient_operands(e.args[0])
        halves = [half for half in map(self.float16_source, e.args) if half is not None]
        if len(halves) < len(e.args) or prod(a.spec.count for a in e.args) == 0:
            return [atom]
        if e.prim.name == "conv2d_filter_grad" and not _every_pixel_contributes(e):
            return [atom]
        # The operand of a sum only where a kernel call reads it, so that it is in memory anyway.
        stored = e.prim.name != "reduce_sum" \
            or self.through_casts(halves[0]) in self.kernel_operands
        return halves if stored else [atom]

    def float16_source(self, atom: Atom) -> Atom | None:
        """The float16 tensor whose elements an atom has, in another float or shape."""
        while atom.spec.dtype is not dtypes.float16:
            e = self.producer_if(atom, "reshape", "transpose", "cast")
            if e is None or not e.args[0].spec.dtype.is_floating:
                return None
            atom = e.args[0]
        return atom


def _every_pixel_contributes(e: Eqn) -> bool:
    """Whether each pixel and each output gradient contributes to the gradient of a filter: not if
    strides skip pixels, nor if a window may be entirely outside of the image."""
    _, h, w, _, kh, kw, _, oh, ow, *steps, top, left, _ = e.kernel_call[1]
    below, right = oh - 1 + kh - h - top, ow - 1 + kw - w - left
    return steps == [1, 1, 1, 1] and all(0 <= pad < k for pad, k in (
        (top, kh), (below, kh), (left, kw), (right, kw)))


def _is(atom: Atom, value) -> bool:
    return isinstance(atom, Const) and atom.is_scalar and atom.value == value
