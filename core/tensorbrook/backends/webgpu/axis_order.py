"""Axis order: permute and merge the axes of a loop in memory order, and analyse its accesses."""
from __future__ import annotations

from dataclasses import replace

from ...base.shapes import num_elements
from ...base.views import View, coalesce_axes
from ...ir import ElementwiseOp, IndexValue, Load, LoopKernel, RowPass
from .shader_dispatch import WGSL_TYPES

MIN_TRANSPOSED_SIDE = 8      # elements of a memory sector of 32 bytes


def reorder_axes(loop: LoopKernel) -> LoopKernel:
    """Return the same loop with its axes in memory order, reduction axes last, so that the last
    axis of each kind has the smallest strides. Axes that all accesses traverse with one stride are
    merged. The result has at least one kept axis and, if the loop reduces, one reduction axis."""
    order = sorted(range(len(loop.iteration_space)),
                   key=lambda axis: (-_stride_extent(loop, axis), axis))
    order = [a for a in order if a not in loop.reduction_axes] \
        + [a for a in order if a in loop.reduction_axes]
    views = [_broadcast_view(v, loop.iteration_space).transpose(order) for v in _views(loop)]
    sizes = tuple(loop.iteration_space[a] for a in order)
    groups = coalesce_axes(sizes, views, tuple(a in loop.reduction_axes for a in order))
    groups = [tuple(order[i] for i in group) for group in groups]
    kept = [g for g in groups if g[0] not in loop.reduction_axes] or [()]
    reduces = any(post_reduce for _, post_reduce in loop.value_sites)
    reduced = [g for g in groups if g[0] in loop.reduction_axes] or [()] * reduces
    return _RegroupedLoop(loop, kept, reduced).loop()


def _views(loop: LoopKernel):
    for value in loop.values:
        if isinstance(value, Load):
            yield value.view
        if isinstance(value, IndexValue):
            yield View(loop.iteration_space, value.strides)
    for store in loop.stores:
        yield store.view


def _stride_extent(loop: LoopKernel, axis: int) -> int:
    """The largest stride along an axis of the per-element loads of a reduction, or of the first
    store of an elementwise loop."""
    views = _element_load_views(loop) if loop.reduction_axes else [s.view for s in loop.stores[:1]]
    return max((abs(v.strides[axis]) for v in views), default=0)


def _element_load_views(loop: LoopKernel) -> list[View]:
    return [v.view for v, (_, post_reduce) in zip(loop.values, loop.value_sites)
            if isinstance(v, Load) and not post_reduce]


def is_column_reduction(loop: LoopKernel) -> bool:
    """Whether more accesses are contiguous along the last kept axis than along the last reduction
    axis."""
    kept = loop.reduction_axes[0] - 1
    views = _element_load_views(loop)
    views += [s.view for s in loop.stores if not loop.value_sites[s.value][1]]
    return sum(v.strides[kept] == 1 for v in views) > sum(v.strides[-1] == 1 for v in views)


def transposed_axis(loop: LoopKernel) -> int | None:
    """Return an axis other than the last along which an operand is contiguous while its last axis
    is strided, or None if there is no such axis of sufficient size."""
    last = len(loop.iteration_space) - 1
    for view in _element_load_views(loop):
        for axis, stride in enumerate(view.strides[:-1]):
            side = min(loop.iteration_space[axis], loop.iteration_space[last])
            if stride == 1 and abs(view.strides[last]) > 1 and side >= MIN_TRANSPOSED_SIDE:
                return axis
    return None


def _broadcast_view(view: View, space) -> View:
    """Broadcast a view over the iteration space or the reduced space to the iteration space."""
    strides = tuple(0 if n == 1 else s for n, s in zip(view.shape, view.strides))
    return View(tuple(space), strides, view.offset)


class _RegroupedLoop:
    """A loop over groups of another loop's axes, in this order; an empty group has size 1."""

    def __init__(self, original: LoopKernel, kept: list[tuple], reduced: list[tuple]):
        self.original, self.groups = original, kept + reduced
        self.space = tuple(num_elements(tuple(original.iteration_space[a] for a in group))
                           for group in self.groups)
        self.reduction_axes = tuple(range(len(kept), len(self.groups)))
        self.reduced_space = tuple(1 if i in self.reduction_axes else n
                                   for i, n in enumerate(self.space))

    def strides(self, strides) -> tuple[int, ...]:
        return tuple(strides[group[-1]] if group else 0 for group in self.groups)

    def view(self, view: View, post_reduce: bool) -> View:
        strides = self.strides(_broadcast_view(view, self.original.iteration_space).strides)
        return View(self.reduced_space if post_reduce else self.space, strides, view.offset)

    def value(self, value, post_reduce: bool):
        if isinstance(value, Load):
            return replace(value, view=self.view(value.view, post_reduce))
        if isinstance(value, IndexValue):
            return replace(value, strides=self.strides(value.strides))
        return value

    def loop(self) -> LoopKernel:
        loop = self.original
        passes = tuple(RowPass(tuple(self.value(v, False) for v in row_pass.elementwise),
                               tuple(self.value(v, True) for v in row_pass.post_reduce))
                       for row_pass in loop.passes)
        stores = tuple(replace(s, view=self.view(s.view, loop.value_sites[s.value][1]))
                       for s in loop.stores)
        return LoopKernel(self.space, self.reduction_axes, passes, stores, loop.eqns)


# ── varying values and vec4 accesses ──────────────────────────────────────────────────────────


def varying_values(loop: LoopKernel, axes: set[int]) -> list[bool]:
    """Return for each value whether it varies along the axes; post-reduction values do not."""
    varies: list[bool] = []
    for value, (_, post_reduce) in zip(loop.values, loop.value_sites):
        if post_reduce:
            varies.append(False)
        elif isinstance(value, Load):
            varies.append(any(value.view.strides[a] for a in axes))
        elif isinstance(value, IndexValue):
            varies.append(any(value.strides[a] for a in axes))
        else:
            varies.append(isinstance(value, ElementwiseOp) and any(varies[i] for i in value.args))
    return varies


def vec4_buffers(loop: LoopKernel) -> frozenset:
    """Return the buffers that every access reads or writes as aligned vec4s along the last axis.
    Buffers of equal dtype and size, which may alias, are either all vec4 or all scalar."""
    uses: dict = {}
    for value, (_, post_reduce) in zip(loop.values, loop.value_sites):
        if isinstance(value, Load):
            aligned = not post_reduce and _is_vec4_aligned(value.view)
            uses.setdefault(value.source, []).append(aligned)
    for store in loop.stores:
        aligned = not loop.value_sites[store.value][1] and _is_vec4_aligned(store.view)
        uses.setdefault(store.target, []).append(aligned)
    scalar = {(a.spec.dtype, a.spec.count) for a, aligned in uses.items() if not all(aligned)}
    return frozenset(a for a in uses if (a.spec.dtype, a.spec.count) not in scalar
                     and a.spec.count % 4 == 0 and a.spec.dtype.name in WGSL_TYPES)


def _is_vec4_aligned(view: View) -> bool:
    *outer, last = view.strides
    return last == 1 and view.offset % 4 == 0 and all(s % 4 == 0 for s in outer)
