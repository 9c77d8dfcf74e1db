"""Fusion of operand casts: products read the source of a cast, and cast it as they load it.

A cast to float16 that is a separate kernel moves 6 bytes for each element, and 2 more for each
product that reads its result; a product that reads float32 moves 4. A cast from float16 to float32
changes no value, so a kernel that can read float16 always does.
"""
from __future__ import annotations

from dataclasses import replace

from ...base import dtypes
from ...base.dtypes import DType
from ...ir import PRIMITIVES, Atom, Const, Eqn, Graph, TargetInfo, TensorSpec, Var, kernel_name
from ...ir.analysis import consumers, producers, with_equations
from ..context import PassContext

# Up to this number of products read the float32 source; more would move more bytes than the cast.
MAX_FLOAT32_READERS = 3

# The atom that a product reads for an operand, the dtype to which it casts the atom, and the views
# that must be computed before.
Source = tuple[Atom, DType, list[Eqn]]


def fuse_operand_casts(graph: Graph, context: PassContext) -> Graph:
    """Let kernel calls read the sources of casts, and drop the casts that become dead."""
    if not context.target.kernels_casting_operands:
        return graph
    sources = _CastSources(graph, context.target)
    eqns: list[Eqn] = []
    for e in graph.eqns:
        found = [sources.source_of(a) for a in e.args] if sources.casts_operands(e) else []
        if any(x is not a for (x, _, _), a in zip(found, e.args)):
            eqns += [view for _, _, views in found for view in views]
            e = replace(e, args=tuple(x for x, _, _ in found),
                        operand_dtypes=tuple(dtype for _, dtype, _ in found))
        eqns.append(e)
    return with_equations(graph, _drop_dead_casts(eqns, graph))


def _drop_dead_casts(eqns: list[Eqn], graph: Graph) -> list[Eqn]:
    live, kept = {*graph.outputs}, []
    for e in reversed(eqns):
        if e.prim.kind not in ("elementwise", "view") or not live.isdisjoint(e.outs):
            live.update(e.args)
            kept.append(e)
    return kept[::-1]


class _CastSources:
    def __init__(self, graph: Graph, target: TargetInfo):
        self.target = target
        self.producers, self.consumers = producers(graph.eqns), consumers(graph.eqns)
        self.outputs = {*graph.outputs}

    def casts_operands(self, e: Eqn) -> bool:
        return e.prim.kind == "kernel" and kernel_name(e) in self.target.kernels_casting_operands

    def source_of(self, atom: Atom) -> Source:
        e = self.producers.get(atom)
        unchanged = atom, atom.spec.dtype, []
        if e is None or e.prim.name not in ("cast", "reshape"):
            return unchanged
        if e.prim.name == "reshape":
            x, dtype, views = self.source_of(e.args[0])
            if x is e.args[0]:
                return unchanged
            out = Var(TensorSpec(atom.spec.shape, x.spec.dtype))
            return out, dtype, [*views, Eqn(PRIMITIVES["reshape"], (x,), e.attrs, (out,))]
        x, = e.args
        if x.spec.shape != atom.spec.shape:
            return unchanged                     # a scalar that is broadcast
        if (x.spec.dtype, atom.spec.dtype) == (dtypes.float16, dtypes.float32):
            return self.source_of(x)
        if (x.spec.dtype, atom.spec.dtype) == (dtypes.float32, dtypes.float16) \
                and self.is_materialized(x) and self.is_profitable(atom):
            return x, dtypes.float16, []
        return unchanged

    def is_materialized(self, x: Atom) -> bool:
        """Whether a value is in memory anyway: an input, or the result of a kernel that takes no
        epilogue."""
        e = self.producers.get(x)
        if e is None:
            return not (isinstance(x, Const) and x.is_scalar)
        if e.prim.name == "reshape":
            return self.is_materialized(e.args[0])
        return e.prim.kind == "scan" or \
            e.prim.kind == "kernel" and kernel_name(e) not in self.target.kernels_with_epilogue

    def is_profitable(self, half: Var) -> bool:
        """Whether a cast to float16 needs no store: only loops and few products use it."""
        pending, products = [half], 0
        while pending:
            atom = pending.pop()
            if atom in self.outputs:
                return False
            for e in self.consumers.get(atom, ()):
                widens = e.prim.name == "cast" and e.out.spec.dtype is dtypes.float32
                if widens or e.prim.name == "reshape":
                    pending.append(e.out)
                elif self.casts_operands(e):
                    products += 1
                    if products > MAX_FLOAT32_READERS:
                        return False
                elif e.prim.kind not in ("elementwise", "reduce"):
                    return False
        return True
