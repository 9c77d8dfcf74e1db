"""Long rows that are few: first strips of them are folded, and then what these give.

So a sum of a million elements, or one down 8192 rows of a few hundred columns, has invocations
enough for a large GPU. The numbers are estimates: no GPU was measured.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...base.dtypes import float32
from ...base.shapes import size
from ...base.views import View, row_major
from ...ir import Apply, Atom, Index, Load, Loop, Reduced, Spec, Stage, Store, Var
from .elements import device_bytes
from .facts import Facts
from .order import lies_in_columns
from .part import Scratch
from .writer import WIDE

WORKGROUPS = 512             # that many keep a large GPU busy
LONG = 4096                  # elements that a workgroup folds before it shares them
COLUMNS_LONG, COLUMNS = 256, 1 << 14         # elements of a column that a workgroup's lanes fold,
#                                              and columns that keep a large GPU busy without strips


def strips(loop: Loop, facts: Facts) -> list[tuple[Loop, Mapping[Atom, Scratch]]]:
    """The loop, or those that do its work, each with the variables that are scratch memory."""
    axis, wanted = max(loop.axes, key=lambda a: loop.space[a]), _wanted(loop)
    if len(loop.stages) > 1 or wanted < 2:
        return [(loop, {})]
    pieces = _pieces(loop, axis, wanted)
    cut = _Cut(loop, axis, sum(piece.count for piece in pieces))
    firsts = [cut.first(piece) for piece in pieces]
    if cut.count < 2 or len({*firsts[0].reads, *firsts[0].writes}) > facts.storage_buffers:
        return [(loop, {})]
    scratches = {var: Scratch(var.spec.count * device_bytes(var.spec.dtype.name))
                 for var, _ in cut.partial}
    return [(one, scratches) for one in (*firsts, cut.second())]


@dataclass(frozen=True)
class Piece:
    """`count` strips of `length` along an axis, from index `begin` on; the first is strip `at`."""

    begin: int
    count: int
    length: int
    at: int


def _pieces(loop: Loop, axis: int, wanted: int) -> list[Piece]:
    """About as many strips as are wanted: a divisor of the axis if there is one, else with one more
    strip for what is left over."""
    n = loop.space[axis]
    fours = WIDE if axis == len(loop.space) - 1 and n % WIDE == 0 else 1
    most = min(wanted, n // fours)
    count = next((d for d in range(most, most // 2, -1) if n // fours % d == 0), most)
    length = n // fours // count * fours
    left = n - count * length
    pieces = [Piece(0, count, length, 0), Piece(count * length, 1, left, count)]
    return pieces if left else pieces[:1]


def _wanted(loop: Loop) -> int:
    """How many strips a row should be."""
    rows = size(loop.outer)
    length = size(loop.space) // rows
    if lies_in_columns(loop):
        return min(COLUMNS // rows, length // COLUMNS_LONG)
    return min(WORKGROUPS // rows, length // LONG)


@dataclass(frozen=True)
class _Cut:
    """A loop of one stage, its folded axis `axis` cut into `count` strips."""

    loop: Loop
    axis: int
    count: int

    def __post_init__(self):
        # What the two loops hand to each other: for each fold, strip and row an element, rows
        # together; all folds of a dtype in one buffer, for buffers may be few.
        kinds = [float32 if v.dtype.is_floating else v.dtype for _, v in self.reduced]
        shape = (self.count, *self.loop.space[:self.kept])
        shared = {kind: Var(Spec((kinds.count(kind), *shape), kind)) for kind in kinds}
        found = [(shared[kind], kinds[:n].count(kind)) for n, kind in enumerate(kinds)]
        object.__setattr__(self, "partial", found)

    @property
    def kept(self) -> int:
        return self.loop.axes[0]

    @property
    def stage(self) -> Stage:
        return self.loop.stages[0]

    @property
    def reduced(self) -> list[tuple[int, Reduced]]:
        return [(i, v) for i, v in enumerate(self.loop.values) if isinstance(v, Reduced)]

    # ── the first loop: strips are rows ──

    def first(self, piece: Piece) -> Loop:
        space = self.with_strips(self.loop.space, piece.count, piece.length)
        axes = tuple(a + 1 for a in self.loop.axes)
        tail = [replace(v, dtype=var.spec.dtype)
                for (_, v), (var, _) in zip(self.reduced, self.partial)]
        outer = tuple(1 if i in axes else n for i, n in enumerate(space))
        stores = [replace(s, view=self.view(s.view, piece)) for s in self.loop.stores
                  if not self.loop.parts[s.value][1]]
        for n, (var, slot) in enumerate(self.partial):
            fold, strip, *steps = row_major(var.spec.shape)
            view = View(outer, (strip, *steps, *[0] * len(axes)), fold * slot + strip * piece.at)
            stores.append(Store(len(self.stage.body) + n, var, view))
        body = tuple(self.early(v, piece) for v in self.stage.body)
        return Loop(space, axes, (Stage(body, tuple(tail)),), tuple(stores), self.loop.eqns)

    def with_strips(self, numbers, strip: int, along: int) -> tuple[int, ...]:
        """A number for each axis, with the strips' before all: neighbouring columns stay so."""
        out = [*numbers]
        out[self.axis] = along
        return (strip, *out)

    def steps(self, strides, piece: Piece) -> tuple[int, ...]:
        step = strides[self.axis]
        return self.with_strips(strides, step * piece.length, step)

    def view(self, view: View, piece: Piece) -> View:
        offset = view.offset + view.strides[self.axis] * piece.begin
        return View(self.with_strips(view.shape, piece.count, piece.length),
                    self.steps(view.strides, piece), offset)

    def early(self, value, piece: Piece):
        if isinstance(value, Load):
            return replace(value, view=self.view(value.view, piece))
        if isinstance(value, Index):
            begin = value.begin + value.weights[self.axis] * piece.begin
            return replace(value, weights=self.steps(value.weights, piece), begin=begin)
        return value

    # ── the second loop: strips are folded ──

    def second(self) -> Loop:
        kept = self.loop.space[:self.kept]
        body = []
        for var, slot in self.partial:
            fold, strip, *steps = row_major(var.spec.shape)
            view = View((*kept, self.count), (*steps, strip), fold * slot)
            body.append(Load(var, view, var.spec.dtype))
        # The folds, which come anywhere in the tail, are of the new body's values in order.
        order = {i: n for n, (i, _) in enumerate(self.reduced)}
        moved = len(body) - len(self.stage.body)
        tail = tuple(self.late(v, order.get(i + len(self.stage.body)), moved)
                     for i, v in enumerate(self.stage.tail))
        stores = tuple(replace(s, value=s.value + moved, view=self.outer(s.view))
                       for s in self.loop.stores if self.loop.parts[s.value][1])
        return Loop((*kept, self.count), (self.kept,), (Stage(tuple(body), tail),), stores,
                    self.loop.eqns)

    def late(self, value, fold: int | None, moved: int):
        match value:
            case Reduced():
                return replace(value, arg=fold)
            case Load():
                return replace(value, view=self.outer(value.view))
            case Apply():
                return replace(value, args=tuple(i + moved for i in value.args))
            case Index():
                return replace(value, weights=(*value.weights[:self.kept], 0))
        return value

    def outer(self, view: View) -> View:
        return View((*view.shape[:self.kept], 1), (*view.strides[:self.kept], 0), view.offset)
