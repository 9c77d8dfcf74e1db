"""Axis coalescing: merge neighbouring axes of a loop that all views traverse with one stride."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

from ..base.views import View, coalesce_axes as coalesced_groups
from .kernels import IndexValue, Load, LoopKernel, RowPass, Value


def coalesce_axes(loop: LoopKernel) -> LoopKernel:
    """The loop with its axes coalesced, in their order; axes of size 1 are dropped.

    A loop keeps at least one axis, and one with reductions at least one reduced axis.
    """
    groups = _groups(loop, range(len(loop.iteration_space)))
    reduces = any(p.post_reduce for p in loop.passes)
    if not groups or reduces and not any(g[0] in loop.reduction_axes for g in groups):
        return _regroup(loop, [*groups, ()], reduces)
    return _regroup(loop, groups, False)


def order_axes(loop: LoopKernel) -> LoopKernel:
    """The loop with its axes coalesced and in memory order, the reduced axes last.

    Outer axes have larger strides: the strides of the stores for the axes that remain, the strides
    of the loads for the reduced axes. The result has at least one axis that is not reduced, and at
    least one reduced axis if the loop has post-reduce values; an added axis has size 1.
    """
    strides = _ordering_strides(loop)
    axes = sorted(range(len(loop.iteration_space)),
                  key=lambda axis: (axis in loop.reduction_axes, -strides[axis], axis))
    groups = _groups(loop, axes)
    kept = [g for g in groups if g[0] not in loop.reduction_axes] or [()]
    reduced = [g for g in groups if g[0] in loop.reduction_axes]
    if not reduced and any(p.post_reduce for p in loop.passes):
        return _regroup(loop, [*kept, ()], True)
    return _regroup(loop, kept + reduced, False)


def _ordering_strides(loop: LoopKernel) -> list[int]:
    """For each axis the largest stride of the views that decide its place."""
    loads = [v.view for p in loop.passes for v in p.elementwise if isinstance(v, Load)]
    stores = [s.view for s in loop.stores[:1]]
    return [max((abs(v.strides[axis]) for v in
                 (loads if axis in loop.reduction_axes else stores)), default=0)
            for axis in range(len(loop.iteration_space))]


def _groups(loop: LoopKernel, axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Groups of axes, in the given order, that every view walks with one stride."""
    views = [full_view(v, loop.iteration_space).transpose(axes) for v in _views(loop)]
    sizes = tuple(loop.iteration_space[a] for a in axes)
    labels = tuple(a in loop.reduction_axes for a in axes)
    return [tuple(axes[i] for i in group) for group in coalesced_groups(sizes, views, labels)]


def _views(loop: LoopKernel) -> Iterator[View]:
    for value in loop.values:
        if isinstance(value, Load):
            yield value.view
        elif isinstance(value, IndexValue):
            yield View(loop.iteration_space, value.strides)
    for store in loop.stores:
        yield store.view


def full_view(view: View, space: tuple[int, ...]) -> View:
    """A view over the iteration space or the reduced space, as one over the iteration space."""
    strides = tuple(0 if n == 1 else s for n, s in zip(view.shape, view.strides))
    return View(space, strides, view.offset)


def _regroup(loop: LoopKernel, groups: Sequence[tuple[int, ...]], pad_reduced: bool) -> LoopKernel:
    """The loop over groups of its axes; an empty group is an axis of size 1, which is a reduced one
    with `pad_reduced`."""
    old = loop.iteration_space
    space = tuple(prod(old[a] for a in g) for g in groups)
    reduced = tuple(n for n, g in enumerate(groups)
                    if (g[0] in loop.reduction_axes if g else pad_reduced))
    outer = tuple(1 if n in reduced else size for n, size in enumerate(space))

    def strides(full: Sequence[int]) -> tuple[int, ...]:
        return tuple(full[g[-1]] if g else 0 for g in groups)

    def view(v: View, is_reduced: bool) -> View:
        return View(outer if is_reduced else space, strides(full_view(v, old).strides), v.offset)

    def value(v: Value, is_reduced: bool) -> Value:
        if isinstance(v, Load):
            return Load(v.source, view(v.view, is_reduced), v.dtype)
        if isinstance(v, IndexValue):
            return IndexValue(strides(v.strides), v.offset, v.dtype)
        return v

    passes = tuple(RowPass(tuple(value(v, False) for v in p.elementwise),
                           tuple(value(v, True) for v in p.post_reduce)) for p in loop.passes)
    stores = tuple(replace(s, view=view(s.view, loop.value_sites[s.value][1])) for s in loop.stores)
    return LoopKernel(space, reduced, passes, stores, loop.eqns)
