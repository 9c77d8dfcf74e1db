"""Loop fusion: equations that visit the same iteration space join one fusion group.

Equations are visited in order. An elementwise equation joins the latest group that produces one of
its operands, or else a later group that reads one of them, if that group visits the same elements
in the same order; so a chain of equations, and whatever branches off it, is one loop. A reduction
joins the producer of its operand, and elementwise equations of its result follow it in the same
group; one that reads the result through a broadcast is computed in another pass over the row. An
equation that only moves data becomes a view. Joining the latest producer, or a group after it,
keeps the order valid: all other operands exist by then.
"""
from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace

from ...base.views import View
from ...ir import PRIMITIVES, Atom, Const, Eqn, KernelCall, TargetInfo, TensorSpec, Var
from ..context import PassContext
from ..lowering import Lowering
from .binding_limits import BindingLimits
from .fusion_group import FusionGroup
from .group_builder import GroupBuilder, index_view
from .scan_lowering import lower_scan

# How many groups that read an operand an equation may try to join, the latest first: a tensor that
# every layer reads would otherwise cost each layer an attempt at all others.
MAX_CANDIDATES = 4


def fuse_loops(lowering: Lowering, context: PassContext) -> Lowering:
    """Combine the equations of the graph into fusion groups, kernel calls and scans."""
    graph = lowering.graph
    bindings = BindingLimits(graph, context.target.max_buffers_per_kernel, lowering.aliases)
    sources = {v: (v, View.of(v.spec.shape)) for v in graph.inputs}
    sources |= {v: (a, View.of(v.spec.shape)) for v, a in lowering.captured.items()}
    fusion = _Fusion(GroupBuilder(context.target, bindings, sources), context)
    for e in graph.eqns:
        fusion.visit(e)
    outputs = fusion.distinct_outputs(graph.outputs)
    return replace(lowering, kernels=tuple(fusion.kernels), outputs=tuple(outputs),
                   builder=fusion.builder, bindings_aliases=bindings.aliases)


class _Fusion:
    def __init__(self, builder: GroupBuilder, context: PassContext):
        self.builder, self.context = builder, context
        self.target: TargetInfo = context.target
        self.kernels: list = []
        self.producer: dict[Atom, int] = {}      # variable in memory -> the kernel that defines it
        self.readers: dict[Atom, list[int]] = {}     # buffer -> groups that load it, ascending

    def visit(self, e: Eqn) -> None:
        getattr(self, f"visit_{e.prim.kind}")(e)

    def new_kernel(self, kernel) -> int:
        self.kernels.append(kernel)
        return len(self.kernels) - 1

    def define(self, out: Var, kernel: int) -> None:
        self.producer[out] = kernel
        self.builder.sources[out] = out, View.of(out.spec.shape)

    def register_reads(self, kernel: int, e: Eqn) -> None:
        """Note which buffers a group loads for an equation."""
        for base in map(self.builder.base, e.args):
            readers = self.readers.setdefault(base, [])
            if (not readers or readers[-1] != kernel) and base in self.kernels[kernel].reads:
                position = bisect_right(readers, kernel)
                if position == 0 or readers[position - 1] != kernel:
                    readers.insert(position, kernel)

    # ── elementwise ──

    def visit_elementwise(self, e: Eqn) -> None:
        for k in self.candidates(e):
            self.context.counts["fusion candidates"] += 1
            if self.builder.try_add_elementwise(self.kernels[k], e):
                break
        else:
            group = FusionGroup(e.out.spec.shape)
            k = self.new_kernel(group)
            added = self.builder.try_add_elementwise(group, e)
            assert added, f"an empty group takes {e.prim.name}"
        self.register_reads(k, e)
        self.define(e.out, k)

    def candidates(self, e: Eqn) -> Iterator[int]:
        """The groups that an equation may join: the latest producer of its operands, then groups
        after it that read an operand."""
        bases = [self.builder.base(a) for a in e.args]
        latest = max((self.producer[b] for b in bases if b in self.producer), default=-1)
        if latest >= 0 and isinstance(self.kernels[latest], FusionGroup):
            yield latest
        # Groups that share only a scalar, as a learning rate, are not worth joining: the limit of
        # bindings would then separate equations that belong together.
        shared = [b for b in bases if isinstance(b, Var)
                  and (b.spec.count > 1 or e.out.spec.count == 1)]
        later: set[int] = set()
        for base in shared:
            readers = self.readers.get(base, [])
            first = bisect_right(readers, latest)
            later.update(readers[max(first, len(readers) - MAX_CANDIDATES):])
        yield from sorted(later)

    def visit_iota(self, e: Eqn) -> None:
        group = FusionGroup(e.attrs["shape"])
        group.add_index(e, index_view(e).strides)
        self.define(e.out, self.new_kernel(group))

    # ── reductions ──

    def visit_reduce(self, e: Eqn) -> None:
        base, view = self.builder.source(e.args[0])
        k = self.producer.get(base)
        if k is None or not self.try_join_producer(k, base, view, e):
            group = FusionGroup(e.args[0].spec.shape, e.attrs["axes"])
            k = self.new_kernel(group)
            group.add_reduction(e, group.operand(base, view, False))
            self.register_reads(k, e)
        self.define(e.out, k)

    def try_join_producer(self, k: int, base: Atom, view: View, e: Eqn) -> bool:
        """Reduce a value in the group that produces it, if the group visits the elements in the
        order of the reduction."""
        group, axes = self.kernels[k], e.attrs["axes"]
        if not isinstance(group, FusionGroup) or group.store_views or not view.contiguous:
            return False
        if group.is_reduced(base) is not False:
            return False
        if group.axes and (group.axes != axes or group.space != view.shape):
            return False
        if not self.builder.bindings.can_add(group, e, [base]):
            return False
        if not group.axes and not group.reduce_over(view.shape, axes):
            return False
        group.add_reduction(e, group.operand(base, None, False))
        return True

    # ── movement ──

    def visit_view(self, e: Eqn) -> None:
        base, view = self.builder.source(e.args[0])
        moved = e.prim.view(view, **e.attrs)
        if moved is None:
            base = self.materialize_copy(e.args[0])
            moved = e.prim.view(View.of(view.shape), **e.attrs)
        self.builder.sources[e.out] = base, moved

    def materialize_copy(self, atom: Atom) -> Var:
        """A new variable with the same elements in a contiguous buffer."""
        out = Var(TensorSpec(atom.spec.shape, atom.spec.dtype))
        self.visit_elementwise(Eqn(PRIMITIVES["identity"], (atom,), {}, (out,)))
        return out

    def visit_assemble(self, e: Eqn) -> None:
        fill, slices = e.prim.assemble([a.spec for a in e.args], **e.attrs)
        last = -1
        if fill is not None:
            group = FusionGroup(e.out.spec.shape)
            scalar = Const(TensorSpec((), e.out.spec.dtype), fill)
            group.add_copy(e, group.operand(scalar, None, False))
            last = self.new_kernel(group)
        for i, view in slices:
            group = FusionGroup(view.shape)
            group.add_copy(e, group.operand(*self.builder.source(e.args[i]), False))
            group.store_views[e.out] = view
            last = self.new_kernel(group)
        self.define(e.out, last)

    # ── kernels of the engine, scans ──

    def visit_kernel(self, e: Eqn) -> None:
        args = tuple(map(self.contiguous_buffer, e.args))
        kernel, params, flops = e.kernel_call
        k = self.new_kernel(KernelCall(
            kernel, args, e.outs, params, flops, (e,), operand_dtypes=e.operand_dtypes,
            result_materialized=self.target.materializes_epilogue_input))
        for out in e.outs:
            self.define(out, k)

    def visit_scan(self, e: Eqn) -> None:
        buffers = [self.contiguous_buffer(a) for a in e.args]
        k = self.new_kernel(lower_scan(e, buffers, self.context))
        for out in e.outs:
            self.define(out, k)

    def contiguous_buffer(self, atom: Atom) -> Atom:
        """A buffer that holds the atom's elements in order: the one it is in, or else a copy."""
        base, view = self.builder.source(atom)
        whole = view.contiguous and base.spec.count == atom.spec.count
        scalar = isinstance(base, Const) and base.is_scalar
        return base if whole and not scalar else self.materialize_copy(atom)

    # ── outputs ──

    def distinct_outputs(self, outputs: list[Atom]) -> list[Var]:
        """For each output a variable that a kernel defines, in order, and no other output is."""
        found: dict = {}
        for i, o in enumerate(outputs):
            base, view = self.builder.source(o)
            own = base in self.producer and base not in found
            own = own and view.contiguous and base.spec.count == o.spec.count
            found[base if own else self.materialize_copy(o)] = i
        return list(found)
