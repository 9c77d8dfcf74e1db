"""Products read what their arguments are casts of, and cast it as they load it.

A cast to float16 that is a kernel of its own moves 6 bytes for each element, and 2 more for each
product that reads what it writes; a product that reads float32 moves 4. A cast of float16 to
float32 changes no number, so who may read float16 always does.
"""
from dataclasses import dataclass

from ..base import dtypes
from ..base.dtypes import DType
from ..ir import PRIMITIVES, Atom, Const, Eqn, Graph, TargetInfo, TensorSpec, Var, kernel_name

# So many products may read the float32; from then on they would move more than the cast saves.
MAX_FLOAT32_READERS = 3


@dataclass(frozen=True, eq=False)
class CastingEqn(Eqn):
    """A call that takes its arguments as `loads`, whatever float they are in memory."""

    loads: tuple[DType, ...] = ()


def fuse_operand_casts(graph: Graph, target: TargetInfo) -> Graph:
    """The graph with products that read what is cast for them. A cast that nobody reads any more
    is gone."""
    if not target.kernels_casting_operands:
        return graph
    sources = _CastSources(graph, target)
    eqns: list[Eqn] = []
    for e in graph.eqns:
        found = [sources.source_of(a) for a in e.args] if sources.casts_operands(e) else []
        if any(x is not a for (x, _, _), a in zip(found, e.args)):
            eqns += [view for _, _, views in found for view in views]
            e = CastingEqn(e.prim, tuple(x for x, _, _ in found), e.attrs, e.outs,
                        tuple(dtype for _, dtype, _ in found))
        eqns.append(e)
    return Graph(graph.inputs, _drop_dead_casts(eqns, graph), graph.outputs, graph.input_output_aliases)


def _drop_dead_casts(eqns: list[Eqn], graph: Graph) -> list[Eqn]:
    read, left = {*graph.outputs}, []
    for e in reversed(eqns):
        if e.prim.kind not in ("elementwise", "view") or not read.isdisjoint(e.outs):
            read.update(e.args)
            left.append(e)
    return left[::-1]


# What a product reads for an argument, what it takes that as, and views to make before.
Source = tuple[Atom, DType, list[Eqn]]


class _CastSources:
    def __init__(self, graph: Graph, target: TargetInfo):
        self.target = target
        self.makers = {out: e for e in graph.eqns for out in e.outs}
        self.readers: dict[Atom, list[Eqn]] = {}
        for e in graph.eqns:
            for a in e.args:
                self.readers.setdefault(a, []).append(e)
        self.outputs = {*graph.outputs}

    def casts_operands(self, e: Eqn) -> bool:
        return e.prim.kind == "kernel" and kernel_name(e) in self.target.kernels_casting_operands

    def source_of(self, atom: Atom) -> Source:
        e = self.makers.get(atom)
        plain = atom, atom.spec.dtype, []
        if e is None or e.prim.name not in ("cast", "reshape"):
            return plain
        if e.prim.name == "reshape":
            x, dtype, views = self.source_of(e.args[0])
            if x is e.args[0]:
                return plain
            out = Var(TensorSpec(atom.spec.shape, x.spec.dtype))
            view = Eqn(PRIMITIVES["reshape"], (x,), e.attrs, (out,))
            return view.out, dtype, [*views, view]
        x, = e.args
        if x.spec.shape != atom.spec.shape:
            return plain                         # a number in place of a tensor that repeats it
        if (x.spec.dtype, atom.spec.dtype) == (dtypes.float16, dtypes.float32):
            return self.source_of(x)
        if (x.spec.dtype, atom.spec.dtype) == (dtypes.float32, dtypes.float16) \
                and self.is_materialized(x) and self.is_profitable(atom):
            return x, dtypes.float16, []
        return plain

    def is_materialized(self, x: Atom) -> bool:
        """Whether something lies in memory anyway: it comes in, or a kernel makes it that others
        cannot follow."""
        e = self.makers.get(x)
        if e is None:
            return not (isinstance(x, Const) and x.is_scalar)
        if e.prim.name == "reshape":
            return self.is_materialized(e.args[0])
        return e.prim.kind == "scan" or \
            e.prim.kind == "kernel" and kernel_name(e) not in self.target.kernels_with_epilogue

    def is_profitable(self, half: Var) -> bool:
        """Whether a cast to float16 need not be written."""
        pending, products = [half], 0
        while pending:
            atom = pending.pop()
            if atom in self.outputs:
                return False
            for e in self.readers.get(atom, ()):
                wide = e.prim.name == "cast" and e.out.spec.dtype is dtypes.float32
                if wide or e.prim.name == "reshape":
                    pending.append(e.out)
                elif self.casts_operands(e):
                    products += 1
                elif e.prim.kind not in ("elementwise", "reduce"):
                    return False
        return products <= MAX_FLOAT32_READERS
