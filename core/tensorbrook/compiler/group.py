"""A kernel while it grows: equations that visit one index space together."""
from ..base import shapes
from ..base.views import View, collapse
from ..ir import (Apply, Atom, Const, Eqn, Index, Load, Loop, Number, Reduced, Stage, Store, Value,
                  Var)
from .plan import SPLIT_ROWS

# The longest row that is gone over again, in elements: four operands of float32 are then 256 KB,
# the second-level cache of a small core.
LONGEST_ROW = 1 << 14


class Group:
    """Values at every index of `space`, and late ones where `axes` have been folded away.

    A value belongs to the earliest stage that may compute it: a fold to the stage of what it
    folds, and what reads a late value at every index to the stage after that value's. Views and
    index weights are over `space` as it is now: `respace` changes it.
    """

    def __init__(self, space, axes=()):
        self.space, self.axes = tuple(space), tuple(axes)
        self.values: list[Value] = []                    # arguments are positions in this list
        self.parts: list[tuple[int, bool]] = []          # the stage of each, and whether it is late
        self.at: dict[Atom, int] = {}                    # var -> position
        self.loaded: dict = {}                           # what is read -> position
        self.read: tuple[set[Atom], set[Atom]] = set(), set()     # at every index, and late
        self.eqns: list[Eqn] = []
        self.stored: dict[Var, View] = {}                # var -> view it is stored through
        self.also: list[tuple[int, Var, View]] = []      # positions stored to a part of something

    @property
    def outer(self):
        return shapes.kept(self.space, self.axes)

    def level(self, var) -> bool | None:
        """Whether `var` is made here late (True) or at every index (False); None if neither."""
        found = self.at.get(var)
        return None if found is None else self.parts[found][1]

    @property
    def reads(self) -> set[Atom]:
        return self.read[False] | self.read[True]

    def goes_over_rows(self) -> bool:
        """Whether it pays to go over a row again: it lies in one piece and stays in cache. Where
        rows are few, the threads divide the passes after the first, and so a row is not kept."""
        folded = [i in self.axes for i, n in enumerate(self.space) if n > 1]
        row = shapes.size(tuple(self.space[i] for i in self.axes))
        few = shapes.size(self.outer) < SPLIT_ROWS and shapes.size(self.space) > LONGEST_ROW
        return bool(self.axes) and folded == sorted(folded) and row <= LONGEST_ROW and not few

    def is_row(self, view: View) -> bool:
        """Whether a view over the space gives each index the late value of its row."""
        whole = View.of(self.outer).broadcast_to(self.space)
        steps = zip(self.space, view.strides, whole.strides)
        return view.offset == 0 and all(n == 1 or s == t for n, s, t in steps)

    # ── growing ──

    def value_of(self, atom: Atom, view: View | None, late: bool) -> int:
        """The position of a number, of a value made here, or of a load through `view`."""
        if isinstance(atom, Const) and atom.is_number:
            key = late, atom.spec, repr(atom.value)
            return self._once(key, Number(atom.value, atom.spec.dtype), late)
        if atom in self.at:
            return self.at[atom]
        self.read[late].add(atom)
        return self._once((late, atom, view), Load(atom, view, atom.spec.dtype), late)

    def _once(self, key, value: Value, late: bool) -> int:
        if key not in self.loaded:
            self.loaded[key] = self._add(value, 0, late)
        return self.loaded[key]

    def _add(self, value: Value, stage: int, late: bool) -> int:
        self.values.append(value)
        self.parts.append((stage, late))
        return len(self.values) - 1

    def apply(self, e: Eqn, args: list[int], late: bool) -> None:
        stages = [self.parts[i][0] + (self.parts[i][1] and not late) for i in args]
        value = Apply(e.prim.formula, tuple(args), e.out.spec.dtype)
        self._made(e, value, max(stages, default=0), late)

    def copy(self, e: Eqn, arg: int) -> None:
        """Let the equation's result be the value `arg` as it is."""
        self._made(e, Apply("x", (arg,), e.out.spec.dtype), 0, False)

    def count(self, e: Eqn, weights, begin: int = 0) -> None:
        self._made(e, Index(tuple(weights), begin, e.out.spec.dtype), 0, False)

    def fold(self, e: Eqn, arg: int) -> None:
        value = Reduced(arg, e.prim.reduction, e.out.spec.dtype)
        self._made(e, value, self.parts[arg][0], True)

    def _made(self, e: Eqn, value: Value, stage: int, late: bool) -> None:
        self.at[e.out] = self._add(value, stage, late)
        self.eqns.append(e)

    # ── changing the space ──

    def respaced(self, space) -> "list | None":
        """The values over another space of the same elements in order, or None if a view cannot
        say it."""
        late = any(late for _, late in self.parts)
        if late or shapes.size(space) != shapes.size(self.space):
            return None
        out = []
        for v in self.values:
            if isinstance(v, Load):
                view = v.view.reshape(space)
                v = view and Load(v.source, view, v.dtype)
            elif isinstance(v, Index):
                view = View(self.space, v.weights, v.begin).reshape(space)
                v = view and Index(view.strides, view.offset, v.dtype)
            if v is None:
                return None
            out.append(v)
        return out

    def respace(self, space, values) -> None:
        self.loaded = {(False, v.source, v.view): i
                       for i, v in enumerate(values) if isinstance(v, Load)}
        self.space, self.values = tuple(space), values

    # ── closing ──

    def close(self, needed, merge_axes: bool = True) -> Loop:
        """The finished kernel: values numbered by stage, what others need stored, axes merged."""
        order = sorted(range(len(self.values)), key=self.parts.__getitem__)
        number = {i: n for n, i in enumerate(order)}
        spaces = {var: self.outer if self.parts[i][1] else self.space for var, i in self.at.items()}
        views = {var: self.stored.get(var) or View.of(space) for var, space in spaces.items()
                 if var in needed or var in self.stored}
        thin = _Thin(self, [*views.values(), *(view for _, _, view in self.also)], merge_axes)
        stages = [([], []) for _ in range(1 + max((stage for stage, _ in self.parts), default=0))]
        for i in order:
            stage, late = self.parts[i]
            stages[stage][late].append(thin.value(self.values[i], late, number))
        stores = [Store(number[self.at[var]], var, thin.view(view, self.parts[self.at[var]][1]))
                  for var, view in views.items()]
        stores += [Store(number[i], var, thin.view(view, False)) for i, var, view in self.also]
        return Loop(thin.space, thin.axes, tuple(Stage(tuple(b), tuple(t)) for b, t in stages),
                    tuple(stores), tuple(self.eqns))


class _Thin:
    """A group's space with axes merged that everything walks in one stride, or as it is."""

    def __init__(self, group: Group, stored, merge: bool):
        views = [v.view for v in group.values if isinstance(v, Load)] + list(stored)
        weights = [View(group.space, v.weights) for v in group.values if isinstance(v, Index)]
        labels = tuple(i in group.axes for i in range(len(group.space)))
        # Along folded axes a view of the outer space has one element, so its stride there is 0.
        merged = collapse(group.space, [_wide(v, group.space) for v in views] + weights, labels) \
            if merge else tuple((i,) for i in range(len(group.space)))
        self.last = [g[-1] for g in merged]
        folds = any(late for _, late in group.parts)
        # A loop has an axis, and a fold has one to fold, though it be of size 1.
        self.pad = 1 if not merged or folds and not any(labels[i] for i in self.last) else 0
        sizes = tuple(shapes.size(tuple(group.space[i] for i in g)) for g in merged)
        self.space = sizes + (1,) * self.pad
        self.axes = tuple(n for n, i in enumerate(self.last) if labels[i])
        self.axes += (len(self.last),) if folds and self.pad else ()
        self.wide = group.space

    def view(self, view: View, late: bool) -> View:
        space = shapes.kept(self.space, self.axes) if late else self.space
        return View(space, self.strides(_wide(view, self.wide).strides), view.offset)

    def strides(self, strides) -> tuple[int, ...]:
        return tuple(strides[i] for i in self.last) + (0,) * self.pad

    def value(self, v: Value, late: bool, number: dict[int, int]) -> Value:
        """The value over the merged space, its arguments by their new numbers."""
        match v:
            case Load():
                return Load(v.source, self.view(v.view, late), v.dtype)
            case Index():
                return Index(self.strides(v.weights), v.begin, v.dtype)
            case Apply():
                return Apply(v.formula, tuple(number[i] for i in v.args), v.dtype)
            case Reduced():
                return Reduced(number[v.arg], v.reduction, v.dtype)
        return v


def _wide(view: View, space) -> View:
    strides = tuple(0 if n == 1 else s for n, s in zip(view.shape, view.strides))
    return View(tuple(space), strides, view.offset)
