"""Split reductions: reduce long rows in two stages, chunks first and then their partial results.

A sum of a million elements, or of 8192 rows in a few hundred columns, then has enough invocations
for a large GPU. The thresholds are heuristics; not tuned on hardware.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...base.dtypes import float32
from ...base.shapes import num_elements
from ...base.views import View, row_major_strides
from ...ir import (Atom, ElementwiseOp, IndexValue, Load, LoopKernel, ReduceOp, RowPass, Store,
                   TensorSpec, Var)
from .axis_order import is_column_reduction
from .device_info import DeviceInfo
from .element_layout import device_bytes
from .shader_dispatch import TemporaryBuffer
from .wgsl_emitter import VEC4

TARGET_WORKGROUPS = 512      # that keep a large GPU busy
MIN_CHUNK = 4096             # elements of a chunk of a row, which a workgroup reduces
MIN_COLUMN_CHUNK = 256       # elements of a chunk of a column, which the lanes of a column reduce
TARGET_COLUMNS = 1 << 14     # columns, over all chunks, that keep a large GPU busy


def split_long_rows(loop: LoopKernel, device_info: DeviceInfo
                    ) -> list[tuple[LoopKernel, Mapping[Atom, TemporaryBuffer]]]:
    """Return the loop, or the loops of its two stages; each with the temporary buffers of its
    partial results."""
    axis = max(loop.reduction_axes, key=lambda a: loop.iteration_space[a])
    target = _target_chunks(loop)
    if len(loop.passes) > 1 or target < 2:
        return [(loop, {})]
    runs = _chunk_runs(loop, axis, target)
    split = _SplitReduction(loop, axis, sum(run.count for run in runs))
    first_stages = [split.first_stage(run) for run in runs]
    buffers = {*first_stages[0].reads, *first_stages[0].writes}
    if split.chunks < 2 or len(buffers) > device_info.storage_buffers:
        return [(loop, {})]
    temporaries = {var: TemporaryBuffer(var.spec.count * device_bytes(var.spec.dtype.name))
                   for var, _ in split.partials}
    return [(stage, temporaries) for stage in (*first_stages, split.second_stage())]


@dataclass(frozen=True)
class ChunkRun:
    """`count` consecutive chunks of `length` elements along an axis, from index `begin`; `first` is
    the number of the first chunk."""

    begin: int
    count: int
    length: int
    first: int


def _chunk_runs(loop: LoopKernel, axis: int, target: int) -> list[ChunkRun]:
    """Divide an axis into about `target` chunks: equal ones if a divisor is near, otherwise equal
    ones and a shorter last one."""
    n = loop.iteration_space[axis]
    width = VEC4 if axis == len(loop.iteration_space) - 1 and n % VEC4 == 0 else 1
    limit = min(target, n // width)
    count = next((d for d in range(limit, limit // 2, -1) if n // width % d == 0), limit)
    length = n // width // count * width
    remainder = n - count * length
    runs = [ChunkRun(0, count, length, 0), ChunkRun(count * length, 1, remainder, count)]
    return runs if remainder else runs[:1]


def _target_chunks(loop: LoopKernel) -> int:
    """The number of chunks per row that keeps a large GPU busy."""
    rows = num_elements(loop.reduced_space)
    length = num_elements(loop.iteration_space) // rows
    if is_column_reduction(loop):
        return min(TARGET_COLUMNS // rows, length // MIN_COLUMN_CHUNK)
    return min(TARGET_WORKGROUPS // rows, length // MIN_CHUNK)


@dataclass(frozen=True)
class _SplitReduction:
    """A loop of one pass, with its reduction axis `axis` divided into `chunks` chunks."""

    loop: LoopKernel
    axis: int
    chunks: int

    def __post_init__(self):
        # Partial results: for each reduction, chunk and row one element, with rows contiguous. All
        # reductions of a dtype share one buffer, because a device binds few buffers.
        dtypes = [float32 if v.dtype.is_floating else v.dtype for _, v in self.reduced]
        shape = (self.chunks, *self.loop.iteration_space[:self.num_kept])
        buffers = {dtype: Var(TensorSpec((dtypes.count(dtype), *shape), dtype))
                   for dtype in dtypes}
        partials = [(buffers[dtype], dtypes[:n].count(dtype)) for n, dtype in enumerate(dtypes)]
        object.__setattr__(self, "partials", partials)

    @property
    def num_kept(self) -> int:
        return self.loop.reduction_axes[0]

    @property
    def row_pass(self) -> RowPass:
        return self.loop.passes[0]

    @property
    def reduced(self) -> list[tuple[int, ReduceOp]]:
        return [(i, v) for i, v in enumerate(self.loop.values) if isinstance(v, ReduceOp)]

    # ── first stage: every chunk is a row ──

    def first_stage(self, run: ChunkRun) -> LoopKernel:
        space = self.with_chunk_axis(self.loop.iteration_space, run.count, run.length)
        axes = tuple(a + 1 for a in self.loop.reduction_axes)
        reductions = [replace(v, dtype=var.spec.dtype)
                      for (_, v), (var, _) in zip(self.reduced, self.partials)]
        reduced_space = tuple(1 if i in axes else n for i, n in enumerate(space))
        stores = [replace(s, view=self.chunked_view(s.view, run)) for s in self.loop.stores
                  if not self.loop.value_sites[s.value][1]]
        for n, (var, slot) in enumerate(self.partials):
            slot_stride, chunk_stride, *strides = row_major_strides(var.spec.shape)
            view = View(reduced_space, (chunk_stride, *strides, *[0] * len(axes)),
                        slot_stride * slot + chunk_stride * run.first)
            stores.append(Store(len(self.row_pass.elementwise) + n, var, view))
        elementwise = tuple(self.chunked_value(v, run) for v in self.row_pass.elementwise)
        row_pass = RowPass(elementwise, tuple(reductions))
        return LoopKernel(space, axes, (row_pass,), tuple(stores), self.loop.eqns)

    def with_chunk_axis(self, per_axis, chunk: int, along: int) -> tuple[int, ...]:
        """Replace the reduction axis in a tuple with an entry per axis, and prepend the chunk axis:
        as the first axis it keeps columns contiguous."""
        entries = [*per_axis]
        entries[self.axis] = along
        return (chunk, *entries)

    def chunked_strides(self, strides, run: ChunkRun) -> tuple[int, ...]:
        stride = strides[self.axis]
        return self.with_chunk_axis(strides, stride * run.length, stride)

    def chunked_view(self, view: View, run: ChunkRun) -> View:
        return View(self.with_chunk_axis(view.shape, run.count, run.length),
                    self.chunked_strides(view.strides, run),
                    view.offset + view.strides[self.axis] * run.begin)

    def chunked_value(self, value, run: ChunkRun):
        if isinstance(value, Load):
            return replace(value, view=self.chunked_view(value.view, run))
        if isinstance(value, IndexValue):
            return replace(value, strides=self.chunked_strides(value.strides, run),
                           offset=value.offset + value.strides[self.axis] * run.begin)
        return value

    # ── second stage: the partial results of a row are reduced ──

    def second_stage(self) -> LoopKernel:
        kept = self.loop.iteration_space[:self.num_kept]
        loads = []
        for var, slot in self.partials:
            slot_stride, chunk_stride, *strides = row_major_strides(var.spec.shape)
            view = View((*kept, self.chunks), (*strides, chunk_stride), slot_stride * slot)
            loads.append(Load(var, view, var.spec.dtype))
        # Reduction n, wherever it is among the post-reduction values, reduces load n.
        load_of = {i: n for n, (i, _) in enumerate(self.reduced)}
        num_elementwise = len(self.row_pass.elementwise)
        shift = len(loads) - num_elementwise
        post_reduce = tuple(self.post_reduce_value(v, load_of.get(i + num_elementwise), shift)
                            for i, v in enumerate(self.row_pass.post_reduce))
        stores = tuple(replace(s, value=s.value + shift, view=self.reduced_view(s.view))
                       for s in self.loop.stores if self.loop.value_sites[s.value][1])
        return LoopKernel((*kept, self.chunks), (self.num_kept,),
                          (RowPass(tuple(loads), post_reduce),), stores, self.loop.eqns)

    def post_reduce_value(self, value, load: int | None, shift: int):
        match value:
            case ReduceOp():
                return replace(value, arg=load)
            case Load():
                return replace(value, view=self.reduced_view(value.view))
            case ElementwiseOp():
                return replace(value, args=tuple(i + shift for i in value.args))
            case IndexValue():
                return replace(value, strides=(*value.strides[:self.num_kept], 0))
        return value

    def reduced_view(self, view: View) -> View:
        return View((*view.shape[:self.num_kept], 1), (*view.strides[:self.num_kept], 0),
                    view.offset)
