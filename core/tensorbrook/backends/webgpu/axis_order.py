"""A Loop with its axes in the order of memory, and what one may know of it for that."""
from __future__ import annotations

from dataclasses import replace

from ...base.shapes import num_elements
from ...base.views import View, coalesce_axes
from ...ir import ElementwiseOp, IndexValue, Load, LoopKernel, RowPass
from .shader_dispatch import WGSL_TYPES

LONG_SIDE = 8                # elements: a sector of memory of 32 bytes


def reorder_axes(loop: LoopKernel) -> LoopKernel:
    """The same loop with its axes, folded ones last, in the order of memory, so that neighbours lie
    along the last of each kind; axes are merged that everything walks in one stride. There is
    always a last axis that is kept and, where something is folded, one that is folded."""
    order = sorted(range(len(loop.iteration_space)), key=lambda axis: (-_stride_extent(loop, axis), axis))
    order = [a for a in order if a not in loop.reduction_axes] + [a for a in order if a in loop.reduction_axes]
    views = [_broadcast_view(v, loop.iteration_space).transpose(order) for v in _views(loop)]
    sizes = tuple(loop.iteration_space[a] for a in order)
    groups = coalesce_axes(sizes, views, tuple(a in loop.reduction_axes for a in order))
    groups = [tuple(order[i] for i in group) for group in groups]
    kept = [g for g in groups if g[0] not in loop.reduction_axes] or [()]
    folded = [g for g in groups if g[0] in loop.reduction_axes] or [()] * any(late for _, late in loop.value_sites)
    return _RegroupedLoop(loop, kept, folded).loop()


def _views(loop: LoopKernel):
    for value in loop.values:
        if isinstance(value, Load):
            yield value.view
        if isinstance(value, IndexValue):
            yield View(loop.iteration_space, value.strides)
    for store in loop.stores:
        yield store.view


def _stride_extent(loop: LoopKernel, axis: int) -> int:
    """How far apart neighbours along an axis lie, where most is read or, of maps, written."""
    views = _read_early(loop) if loop.reduction_axes else [s.view for s in loop.stores[:1]]
    return max((abs(v.strides[axis]) for v in views), default=0)


def _read_early(loop: LoopKernel) -> list[View]:
    return [v.view for v, (_, late) in zip(loop.values, loop.value_sites)
            if isinstance(v, Load) and not late]


def is_column_reduction(loop: LoopKernel) -> bool:
    """Whether more lies side by side along the last kept axis than along the last folded one."""
    kept = loop.reduction_axes[0] - 1
    views = _read_early(loop)
    views += [s.view for s in loop.stores if not loop.value_sites[s.value][1]]
    return sum(v.strides[kept] == 1 for v in views) > sum(v.strides[-1] == 1 for v in views)


def transposed_axis(loop: LoopKernel) -> int | None:
    """The axis along which something that a map reads lies side by side, and not along the last
    one; None if there is none that is long enough to matter."""
    last = len(loop.iteration_space) - 1
    for view in _read_early(loop):
        for axis, stride in enumerate(view.strides[:-1]):
            if stride == 1 and abs(view.strides[last]) > 1 and min(
                    loop.iteration_space[axis], loop.iteration_space[last]) >= LONG_SIDE:
                return axis
    return None


def _broadcast_view(view: View, space) -> View:
    """A view over the space or the outer one, as one over the space."""
    strides = tuple(0 if n == 1 else s for n, s in zip(view.shape, view.strides))
    return View(tuple(space), strides, view.offset)


class _RegroupedLoop:
    """A loop over groups of its axes, in their order; an empty group is an axis of size 1."""

    def __init__(self, old: LoopKernel, kept: list[tuple], folded: list[tuple]):
        self.old, self.groups = old, kept + folded
        self.space = tuple(num_elements(tuple(old.iteration_space[a] for a in g)) for g in self.groups)
        self.axes = tuple(range(len(kept), len(self.groups)))
        self.outer = tuple(1 if i in self.axes else n for i, n in enumerate(self.space))

    def strides(self, strides) -> tuple[int, ...]:
        return tuple(strides[g[-1]] if g else 0 for g in self.groups)

    def view(self, view: View, late: bool) -> View:
        strides = self.strides(_broadcast_view(view, self.old.iteration_space).strides)
        return View(self.outer if late else self.space, strides, view.offset)

    def value(self, value, late: bool):
        if isinstance(value, Load):
            return replace(value, view=self.view(value.view, late))
        if isinstance(value, IndexValue):
            return replace(value, strides=self.strides(value.strides))
        return value

    def loop(self) -> LoopKernel:
        stages = tuple(RowPass(tuple(self.value(v, False) for v in stage.elementwise),
                             tuple(self.value(v, True) for v in stage.post_reduce))
                       for stage in self.old.passes)
        stores = tuple(replace(s, view=self.view(s.view, self.old.value_sites[s.value][1]))
                       for s in self.old.stores)
        return LoopKernel(self.space, self.axes, stages, stores, self.old.eqns)


# ── what varies, and what can be one vec4 ─────────────────────────────────────────────────────


def varying_values(loop: LoopKernel, axes: set[int]) -> list[bool]:
    """For each value whether it changes along any of the axes; a late one does not."""
    found: list[bool] = []
    for value, (_, late) in zip(loop.values, loop.value_sites):
        if late:
            found.append(False)
        elif isinstance(value, Load):
            found.append(any(value.view.strides[a] for a in axes))
        elif isinstance(value, IndexValue):
            found.append(any(value.strides[a] for a in axes))
        else:
            found.append(isinstance(value, ElementwiseOp) and any(found[i] for i in value.args))
    return found


def vec4_buffers(loop: LoopKernel) -> frozenset:
    """The buffers of which four neighbours along the last axis are always one vec4. Two that may
    lie at one place (a result over an argument) both are or neither is."""
    uses: dict = {}
    for value, (_, late) in zip(loop.values, loop.value_sites):
        if isinstance(value, Load):
            uses.setdefault(value.source, []).append(not late and _is_vec4_aligned(value.view))
    for store in loop.stores:
        early = not loop.value_sites[store.value][1]
        uses.setdefault(store.target, []).append(early and _is_vec4_aligned(store.view))
    narrow = {(a.spec.dtype, a.spec.count) for a, fits in uses.items() if not all(fits)}
    return frozenset(a for a in uses if (a.spec.dtype, a.spec.count) not in narrow
                     and a.spec.count % 4 == 0 and a.spec.dtype.name in WGSL_TYPES)


def _is_vec4_aligned(view: View) -> bool:
    *outer, last = view.strides
    return last == 1 and view.offset % 4 == 0 and all(s % 4 == 0 for s in outer)
