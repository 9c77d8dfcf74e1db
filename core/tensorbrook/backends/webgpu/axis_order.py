"""Axis order: permute and merge the axes of a loop in memory order, and analyse its accesses."""
from __future__ import annotations

from ...base.views import View
from ...ir import ElementwiseOp, IndexValue, Load, LoopKernel
from .shader_dispatch import WGSL_TYPES

MIN_TRANSPOSED_SIDE = 8      # elements of a memory sector of 32 bytes


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
