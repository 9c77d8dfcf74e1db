"""Long rows that are few: two loops, the first of which folds strips of them.

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
from .facts import Facts
from .order import lies_in_columns
from .part import Scratch, element_bytes
from .writer import WIDE

WORKGROUPS = 512             # that many keep a large GPU busy
LONG = 4096                  # elements that a workgroup folds before it shares them
COLUMNS_LONG, COLUMNS = 256, 1 << 14         # elements of a column that a workgroup's lanes fold,
#                                              and columns that keep a large GPU busy without strips


def strips(loop: Loop, facts: Facts) -> list[tuple[Loop, Mapping[Atom, Scratch]]]:
    """The loop, or the two that do its work, each with the variables that are scratch memory."""
    axis = max(loop.axes, key=lambda a: loop.space[a])
    fours = WIDE if axis == len(loop.space) - 1 and loop.space[axis] % WIDE == 0 else 1
    count = _divisor(loop.space[axis] // fours, _wanted(loop))
    if len(loop.stages) > 1 or count == 1:
        return [(loop, {})]
    cut = _Cut(loop, axis, count)
    first = cut.first()
    if len({*first.reads, *first.writes}) > facts.storage_buffers:
        return [(loop, {})]
    scratches = {var: Scratch(var.spec.count * element_bytes(var.spec.dtype))
                 for var, _ in cut.partial}
    return [(first, scratches), (cut.second(), scratches)]


def _wanted(loop: Loop) -> int:
    """How many strips a row should be."""
    rows = size(loop.outer)
    length = size(loop.space) // rows
    if lies_in_columns(loop):
        return min(COLUMNS // rows, length // COLUMNS_LONG)
    return min(WORKGROUPS // rows, length // LONG)


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n up to `most`, 1 if there is none."""
    return next((d for d in range(min(most, n), 1, -1) if n % d == 0), 1)


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

    def first(self) -> Loop:
        rest = self.loop.space[self.axis] // self.count
        space = self.with_strips(self.loop.space, self.count, rest)
        axes = tuple(a + 1 for a in self.loop.axes)
        tail = [replace(v, dtype=var.spec.dtype)
                for (_, v), (var, _) in zip(self.reduced, self.partial)]
        outer = tuple(1 if i in axes else n for i, n in enumerate(space))
        stores = [replace(s, view=self.view(s.view)) for s in self.loop.stores
                  if not self.loop.parts[s.value][1]]
        for n, (var, slot) in enumerate(self.partial):
            fold, *steps = row_major(var.spec.shape)
            view = View(outer, (*steps, *[0] * len(axes)), fold * slot)
            stores.append(Store(len(self.stage.body) + n, var, view))
        body = tuple(self.early(v) for v in self.stage.body)
        return Loop(space, axes, (Stage(body, tuple(tail)),), tuple(stores), self.loop.eqns)

    def with_strips(self, numbers, strip: int, rest: int) -> tuple[int, ...]:
        """A number for each axis, with the strips' before all: neighbouring columns stay so."""
        out = [*numbers]
        out[self.axis] = rest
        return (strip, *out)

    def steps(self, strides) -> tuple[int, ...]:
        step = strides[self.axis]
        return self.with_strips(strides, step * (self.loop.space[self.axis] // self.count), step)

    def view(self, view: View) -> View:
        rest = self.loop.space[self.axis] // self.count
        return View(self.with_strips(view.shape, self.count, rest), self.steps(view.strides),
                    view.offset)

    def early(self, value):
        if isinstance(value, Load):
            return replace(value, view=self.view(value.view))
        if isinstance(value, Index):
            return replace(value, weights=self.steps(value.weights))
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
        stores = tuple(Store(s.value + moved, s.target, self.outer(s.view))
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
