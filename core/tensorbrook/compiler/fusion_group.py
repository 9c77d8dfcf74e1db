"""A kernel while it grows: equations that visit one index space together."""
from ..base import shapes
from ..base.views import View, coalesce_axes
from ..ir import (ElementwiseOp, Atom, Const, Eqn, IndexValue, Load, LoopKernel, ScalarConstant, ReduceOp, RowPass, Store, Value,
                  Var)
from .planner import MIN_PARALLEL_ROWS

# The longest row that is gone over again, in elements: four operands of float32 are then 256 KB,
# the second-level cache of a small core.
MAX_ROW_PASS = 1 << 14


class FusionGroup:
    """Values at every index of `space`, and late ones where `axes` have been folded away.

    A value belongs to the earliest stage that may compute it: a fold to the stage of what it
    folds, and what reads a late value at every index to the stage after that value's. Views and
    index weights are over `space` as it is now: `respace` changes it.
    """

    def __init__(self, space, axes=()):
        self.space, self.axes = tuple(space), tuple(axes)
        self.values: list[Value] = []                    # arguments are positions in this list
        self.value_sites: list[tuple[int, bool]] = []          # the stage of each, and whether it is late
        self.position: dict[Atom, int] = {}                    # var -> position
        self.load_position: dict = {}                           # what is read -> position
        self.sources: tuple[set[Atom], set[Atom]] = set(), set()     # at every index, and late
        self.eqns: list[Eqn] = []
        self.store_views: dict[Var, View] = {}                # var -> view it is stored through
        self.extra_stores: list[tuple[int, Var, View]] = []      # positions stored to a part of something

    @property
    def outer(self):
        return shapes.keepdims_shape(self.space, self.axes)

    def site_of(self, var) -> bool | None:
        """Whether `var` is made here late (True) or at every index (False); None if neither."""
        found = self.position.get(var)
        return None if found is None else self.value_sites[found][1]

    @property
    def reads(self) -> set[Atom]:
        return self.sources[False] | self.sources[True]

    def supports_row_passes(self) -> bool:
        """Whether it pays to go over a row again: it lies in one piece and stays in cache. Where
        rows are few, the threads divide the passes after the first, and so a row is not kept."""
        folded = [i in self.axes for i, n in enumerate(self.space) if n > 1]
        row = shapes.num_elements(tuple(self.space[i] for i in self.axes))
        few = shapes.num_elements(self.outer) < MIN_PARALLEL_ROWS and shapes.num_elements(self.space) > MAX_ROW_PASS
        return bool(self.axes) and folded == sorted(folded) and row <= MAX_ROW_PASS and not few

    def is_row_broadcast(self, view: View) -> bool:
        """Whether a view over the space gives each index the late value of its row."""
        whole = View.of(self.outer).broadcast_to(self.space)
        steps = zip(self.space, view.strides, whole.strides)
        return view.offset == 0 and all(n == 1 or s == t for n, s, t in steps)

    # ── growing ──

    def operand(self, atom: Atom, view: View | None, late: bool) -> int:
        """The position of a number, of a value made here, or of a load through `view`."""
        if isinstance(atom, Const) and atom.is_scalar:
            key = late, atom.spec, repr(atom.value)
            return self._once(key, ScalarConstant(atom.value, atom.spec.dtype), late)
        if atom in self.position:
            return self.position[atom]
        self.sources[late].add(atom)
        return self._once((late, atom, view), Load(atom, view, atom.spec.dtype), late)

    def _once(self, key, value: Value, late: bool) -> int:
        if key not in self.load_position:
            self.load_position[key] = self._add(value, 0, late)
        return self.load_position[key]

    def _add(self, value: Value, stage: int, late: bool) -> int:
        self.values.append(value)
        self.value_sites.append((stage, late))
        return len(self.values) - 1

    def apply(self, e: Eqn, args: list[int], late: bool) -> None:
        stages = [self.value_sites[i][0] + (self.value_sites[i][1] and not late) for i in args]
        value = ElementwiseOp(e.prim.expression, tuple(args), e.out.spec.dtype)
        self._made(e, value, max(stages, default=0), late)

    def add_copy(self, e: Eqn, arg: int) -> None:
        """Let the equation's result be the value `arg` as it is."""
        self._made(e, ElementwiseOp("x", (arg,), e.out.spec.dtype), 0, False)

    def add_index(self, e: Eqn, weights, begin: int = 0) -> None:
        self._made(e, IndexValue(tuple(weights), begin, e.out.spec.dtype), 0, False)

    def add_reduce(self, e: Eqn, arg: int) -> None:
        value = ReduceOp(arg, e.prim.reduction, e.out.spec.dtype)
        self._made(e, value, self.value_sites[arg][0], True)

    def _made(self, e: Eqn, value: Value, stage: int, late: bool) -> None:
        self.position[e.out] = self._add(value, stage, late)
        self.eqns.append(e)

    # ── changing the space ──

    def reindexed(self, space) -> "list | None":
        """The values over another space of the same elements in order, or None if a view cannot
        say it."""
        late = any(late for _, late in self.value_sites)
        if late or shapes.num_elements(space) != shapes.num_elements(self.space):
            return None
        out = []
        for v in self.values:
            if isinstance(v, Load):
                view = v.view.reshape(space)
                v = view and Load(v.source, view, v.dtype)
            elif isinstance(v, IndexValue):
                view = View(self.space, v.strides, v.offset).reshape(space)
                v = view and IndexValue(view.strides, view.offset, v.dtype)
            if v is None:
                return None
            out.append(v)
        return out

    def set_space(self, space, values) -> None:
        self.load_position = {(False, v.source, v.view): i
                       for i, v in enumerate(values) if isinstance(v, Load)}
        self.space, self.values = tuple(space), values

    # ── closing ──

    def finalize(self, needed, merge_axes: bool = True) -> LoopKernel:
        """The finished kernel: values numbered by stage, what others need stored, axes merged."""
        order = sorted(range(len(self.values)), key=self.value_sites.__getitem__)
        number = {i: n for n, i in enumerate(order)}
        spaces = {var: self.outer if self.value_sites[i][1] else self.space for var, i in self.position.items()}
        views = {var: self.store_views.get(var) or View.of(space) for var, space in spaces.items()
                 if var in needed or var in self.store_views}
        thin = _CoalescedSpace(self, [*views.values(), *(view for _, _, view in self.extra_stores)], merge_axes)
        stages = [([], []) for _ in range(1 + max((stage for stage, _ in self.value_sites), default=0))]
        for i in order:
            stage, late = self.value_sites[i]
            stages[stage][late].append(thin.value(self.values[i], late, number))
        stores = [Store(number[self.position[var]], var, thin.view(view, self.value_sites[self.position[var]][1]))
                  for var, view in views.items()]
        stores += [Store(number[i], var, thin.view(view, False)) for i, var, view in self.extra_stores]
        return LoopKernel(thin.space, thin.axes, tuple(RowPass(tuple(b), tuple(t)) for b, t in stages),
                    tuple(stores), tuple(self.eqns))


class _CoalescedSpace:
    """A group's space with axes merged that everything walks in one stride, or as it is."""

    def __init__(self, group: FusionGroup, stored, merge: bool):
        views = [v.view for v in group.values if isinstance(v, Load)] + list(stored)
        weights = [View(group.space, v.strides) for v in group.values if isinstance(v, IndexValue)]
        labels = tuple(i in group.axes for i in range(len(group.space)))
        # Along folded axes a view of the outer space has one element, so its stride there is 0.
        merged = coalesce_axes(group.space, [_broadcast_strides(v, group.space) for v in views] + weights, labels) \
            if merge else tuple((i,) for i in range(len(group.space)))
        self.last = [g[-1] for g in merged]
        folds = any(late for _, late in group.value_sites)
        # A loop has an axis, and a fold has one to fold, though it be of size 1.
        self.pad = 1 if not merged or folds and not any(labels[i] for i in self.last) else 0
        sizes = tuple(shapes.num_elements(tuple(group.space[i] for i in g)) for g in merged)
        self.space = sizes + (1,) * self.pad
        self.axes = tuple(n for n, i in enumerate(self.last) if labels[i])
        self.axes += (len(self.last),) if folds and self.pad else ()
        self.wide = group.space

    def view(self, view: View, late: bool) -> View:
        space = shapes.keepdims_shape(self.space, self.axes) if late else self.space
        return View(space, self.strides(_broadcast_strides(view, self.wide).strides), view.offset)

    def strides(self, strides) -> tuple[int, ...]:
        return tuple(strides[i] for i in self.last) + (0,) * self.pad

    def value(self, v: Value, late: bool, number: dict[int, int]) -> Value:
        """The value over the merged space, its arguments by their new numbers."""
        match v:
            case Load():
                return Load(v.source, self.view(v.view, late), v.dtype)
            case IndexValue():
                return IndexValue(self.strides(v.strides), v.offset, v.dtype)
            case ElementwiseOp():
                return ElementwiseOp(v.expression, tuple(number[i] for i in v.args), v.dtype)
            case ReduceOp():
                return ReduceOp(number[v.arg], v.reduction, v.dtype)
        return v


def _broadcast_strides(view: View, space) -> View:
    strides = tuple(0 if n == 1 else s for n, s in zip(view.shape, view.strides))
    return View(tuple(space), strides, view.offset)
