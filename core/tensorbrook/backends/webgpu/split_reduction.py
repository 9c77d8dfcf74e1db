"""Long rows that are few: first strips of them are folded, and then what these give.

So a sum of a million elements, or one down 8192 rows of a few hundred columns, has invocations
enough for a large GPU. The numbers are estimates: no GPU was measured.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...base.dtypes import float32
from ...base.shapes import num_elements
from ...base.views import View, row_major_strides
from ...ir import ElementwiseOp, Atom, IndexValue, Load, LoopKernel, ReduceOp, TensorSpec, RowPass, Store, Var
from .element_layout import device_bytes
from .device_info import DeviceInfo
from .axis_order import is_column_reduction
from .shader_dispatch import TemporaryBuffer
from .wgsl_emitter import VEC4

WORKGROUPS = 512             # that many keep a large GPU busy
MIN_CHUNK = 4096                  # elements that a workgroup folds before it shares them
COLUMNS_LONG, COLUMNS = 256, 1 << 14         # elements of a column that a workgroup's lanes fold,
#                                              and columns that keep a large GPU busy without strips


def split_long_rows(loop: LoopKernel, device_info: DeviceInfo) -> list[tuple[LoopKernel, Mapping[Atom, TemporaryBuffer]]]:
    """The loop, or those that do its work, each with the variables that are scratch memory."""
    axis, wanted = max(loop.reduction_axes, key=lambda a: loop.iteration_space[a]), _target_chunks(loop)
    if len(loop.passes) > 1 or wanted < 2:
        return [(loop, {})]
    pieces = _pieces(loop, axis, wanted)
    cut = _SplitReduction(loop, axis, sum(piece.count for piece in pieces))
    firsts = [cut.first_stage(piece) for piece in pieces]
    if cut.count < 2 or len({*firsts[0].reads, *firsts[0].writes}) > device_info.storage_buffers:
        return [(loop, {})]
    scratches = {var: TemporaryBuffer(var.spec.count * device_bytes(var.spec.dtype.name))
                 for var, _ in cut.partials}
    return [(one, scratches) for one in (*firsts, cut.second_stage())]


@dataclass(frozen=True)
class Chunk:
    """`count` strips of `length` along an axis, from index `begin` on; the first is strip `at`."""

    begin: int
    count: int
    length: int
    at: int


def _pieces(loop: LoopKernel, axis: int, wanted: int) -> list[Chunk]:
    """About as many strips as are wanted: a divisor of the axis if there is one, else with one more
    strip for what is left over."""
    n = loop.iteration_space[axis]
    fours = VEC4 if axis == len(loop.iteration_space) - 1 and n % VEC4 == 0 else 1
    most = min(wanted, n // fours)
    count = next((d for d in range(most, most // 2, -1) if n // fours % d == 0), most)
    length = n // fours // count * fours
    left = n - count * length
    pieces = [Chunk(0, count, length, 0), Chunk(count * length, 1, left, count)]
    return pieces if left else pieces[:1]


def _target_chunks(loop: LoopKernel) -> int:
    """How many strips a row should be."""
    rows = num_elements(loop.reduced_space)
    length = num_elements(loop.iteration_space) // rows
    if is_column_reduction(loop):
        return min(COLUMNS // rows, length // COLUMNS_LONG)
    return min(WORKGROUPS // rows, length // MIN_CHUNK)


@dataclass(frozen=True)
class _SplitReduction:
    """A loop of one stage, its folded axis `axis` cut into `count` strips."""

    loop: LoopKernel
    axis: int
    count: int

    def __post_init__(self):
        # What the two loops hand to each other: for each fold, strip and row an element, rows
        # together; all folds of a dtype in one buffer, for buffers may be few.
        kinds = [float32 if v.dtype.is_floating else v.dtype for _, v in self.reduced]
        shape = (self.count, *self.loop.iteration_space[:self.num_kept])
        shared = {kind: Var(TensorSpec((kinds.count(kind), *shape), kind)) for kind in kinds}
        found = [(shared[kind], kinds[:n].count(kind)) for n, kind in enumerate(kinds)]
        object.__setattr__(self, "partials", found)

    @property
    def num_kept(self) -> int:
        return self.loop.reduction_axes[0]

    @property
    def stage(self) -> RowPass:
        return self.loop.passes[0]

    @property
    def reduced(self) -> list[tuple[int, ReduceOp]]:
        return [(i, v) for i, v in enumerate(self.loop.values) if isinstance(v, ReduceOp)]

    # ── the first loop: strips are rows ──

    def first_stage(self, piece: Chunk) -> LoopKernel:
        space = self.with_strips(self.loop.iteration_space, piece.count, piece.length)
        axes = tuple(a + 1 for a in self.loop.reduction_axes)
        tail = [replace(v, dtype=var.spec.dtype)
                for (_, v), (var, _) in zip(self.reduced, self.partials)]
        outer = tuple(1 if i in axes else n for i, n in enumerate(space))
        stores = [replace(s, view=self.view(s.view, piece)) for s in self.loop.stores
                  if not self.loop.value_sites[s.value][1]]
        for n, (var, slot) in enumerate(self.partials):
            fold, strip, *steps = row_major_strides(var.spec.shape)
            view = View(outer, (strip, *steps, *[0] * len(axes)), fold * slot + strip * piece.at)
            stores.append(Store(len(self.stage.elementwise) + n, var, view))
        body = tuple(self.early(v, piece) for v in self.stage.elementwise)
        return LoopKernel(space, axes, (RowPass(body, tuple(tail)),), tuple(stores), self.loop.eqns)

    def with_strips(self, numbers, strip: int, along: int) -> tuple[int, ...]:
        """A number for each axis, with the strips' before all: neighbouring columns stay so."""
        out = [*numbers]
        out[self.axis] = along
        return (strip, *out)

    def steps(self, strides, piece: Chunk) -> tuple[int, ...]:
        step = strides[self.axis]
        return self.with_strips(strides, step * piece.length, step)

    def view(self, view: View, piece: Chunk) -> View:
        offset = view.offset + view.strides[self.axis] * piece.begin
        return View(self.with_strips(view.shape, piece.count, piece.length),
                    self.steps(view.strides, piece), offset)

    def early(self, value, piece: Chunk):
        if isinstance(value, Load):
            return replace(value, view=self.view(value.view, piece))
        if isinstance(value, IndexValue):
            begin = value.offset + value.strides[self.axis] * piece.begin
            return replace(value, strides=self.steps(value.strides, piece), offset=begin)
        return value

    # ── the second loop: strips are folded ──

    def second_stage(self) -> LoopKernel:
        kept = self.loop.iteration_space[:self.num_kept]
        body = []
        for var, slot in self.partials:
            fold, strip, *steps = row_major_strides(var.spec.shape)
            view = View((*kept, self.count), (*steps, strip), fold * slot)
            body.append(Load(var, view, var.spec.dtype))
        # The folds, which come anywhere in the tail, are of the new body's values in order.
        order = {i: n for n, (i, _) in enumerate(self.reduced)}
        moved = len(body) - len(self.stage.elementwise)
        tail = tuple(self.late(v, order.get(i + len(self.stage.elementwise)), moved)
                     for i, v in enumerate(self.stage.post_reduce))
        stores = tuple(replace(s, value=s.value + moved, view=self.outer(s.view))
                       for s in self.loop.stores if self.loop.value_sites[s.value][1])
        return LoopKernel((*kept, self.count), (self.num_kept,), (RowPass(tuple(body), tail),), stores,
                    self.loop.eqns)

    def late(self, value, fold: int | None, moved: int):
        match value:
            case ReduceOp():
                return replace(value, arg=fold)
            case Load():
                return replace(value, view=self.outer(value.view))
            case ElementwiseOp():
                return replace(value, args=tuple(i + moved for i in value.args))
            case IndexValue():
                return replace(value, strides=(*value.strides[:self.num_kept], 0))
        return value

    def outer(self, view: View) -> View:
        return View((*view.shape[:self.num_kept], 1), (*view.strides[:self.num_kept], 0), view.offset)
