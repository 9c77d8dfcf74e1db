"""A kernel while it grows: equations that visit one index space together."""
from ..base import shapes
from ..base.views import View, collapse
from ..ir import Apply, Atom, Const, Eqn, Index, Load, Loop, Number, Reduced, Store, Var


class Group:
    """Body values at every index of `space`; tail values where `axes` have been folded away.

    Views and index weights are over `space` as it is now: `respace` changes it.
    """

    def __init__(self, space, axes=()):
        self.space, self.axes = tuple(space), tuple(axes)
        self.body: list = []
        self.tail: list = []
        self.at: dict[Atom, tuple[bool, int]] = {}       # var -> (in the tail?, position there)
        self.loaded: dict = {}                           # (in the tail?, source, view) -> position
        self.eqns: list[Eqn] = []
        self.stored: dict[Var, View] = {}                # var -> view it is stored through

    @property
    def outer(self):
        return shapes.kept(self.space, self.axes)

    def level(self, var) -> bool | None:
        """Whether `var` is made in the tail (True) or the body (False) here; None if neither."""
        found = self.at.get(var)
        return None if found is None else found[0]

    def buffers(self) -> int:
        return len({v.source for v in self.body + self.tail if isinstance(v, Load)}) + len(self.at)

    # ── growing ──

    def value_of(self, atom: Atom, view: View | None, in_tail: bool) -> int:
        """The position of a number, of a value made here, or of a load through `view`."""
        values = self.tail if in_tail else self.body
        if isinstance(atom, Const) and atom.is_number:
            number = Number(atom.value, atom.spec.dtype)
            return self._add(values, ("number", atom.spec, repr(atom.value)), number)
        if atom in self.at:
            return self.at[atom][1]
        return self._add(values, (in_tail, atom, view), Load(atom, view, atom.spec.dtype))

    def _add(self, values, key, value) -> int:
        key = (values is self.tail, key)
        if key not in self.loaded:
            self.loaded[key] = len(values)
            values.append(value)
        return self.loaded[key]

    def apply(self, e: Eqn, args: list[int], in_tail: bool) -> None:
        values = self.tail if in_tail else self.body
        values.append(Apply(e.prim.formula, tuple(args), e.out.spec.dtype))
        self._made(e, in_tail)

    def copy(self, e: Eqn, arg: int) -> None:
        """Let the equation's result be the body value `arg` as it is."""
        self.body.append(Apply("x", (arg,), e.out.spec.dtype))
        self._made(e, False)

    def count(self, e: Eqn, weights) -> None:
        self.body.append(Index(tuple(weights), 0, e.out.spec.dtype))
        self._made(e, False)

    def fold(self, e: Eqn, arg: int) -> None:
        self.tail.append(Reduced(arg, e.prim.reduction, e.out.spec.dtype))
        self._made(e, True)

    def _made(self, e: Eqn, in_tail: bool) -> None:
        self.at[e.out] = in_tail, len(self.tail if in_tail else self.body) - 1
        self.eqns.append(e)

    # ── changing the space ──

    def respaced(self, space) -> "list | None":
        """The body over another space of the same elements in order; None if no view says it."""
        if self.tail or shapes.size(space) != shapes.size(self.space):
            return None
        out = []
        for v in self.body:
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

    def respace(self, space, body) -> None:
        self.loaded = {(False, (False, v.source, v.view)): i
                       for i, v in enumerate(body) if isinstance(v, Load)}
        self.space, self.body = tuple(space), body

    # ── taking in an earlier group ──

    def reads_in_order(self, variables) -> bool:
        """Whether every load of these is at the index that makes it: in the body, one by one."""
        return all(v.view.contiguous and v.view.shape == self.space for v in self.body
                   if isinstance(v, Load) and v.source in variables) \
            and not any(isinstance(v, Load) and v.source in variables for v in self.tail)

    def take_in(self, other: "Group") -> None:
        """Compute the body of another group in front; loads of what it makes become its values."""
        own, at = self.body, self.at
        self.respace(self.space, other.respaced(self.space))
        moved: list[int] = []
        for v in own:
            moved.append(self._taken_over(v, moved, other))
        self.tail = [Reduced(moved[v.arg], v.reduction, v.dtype) if isinstance(v, Reduced) else v
                     for v in self.tail]
        self.at = other.at | {var: (in_tail, i if in_tail else moved[i])
                              for var, (in_tail, i) in at.items()}
        self.eqns = other.eqns + self.eqns

    def _taken_over(self, v, moved: list[int], other: "Group") -> int:
        """The new position of a value of the old body."""
        if isinstance(v, Load):
            made = other.at.get(v.source)
            return made[1] if made else self._add(self.body, (False, v.source, v.view), v)
        if isinstance(v, Apply):
            v = Apply(v.formula, tuple(moved[i] for i in v.args), v.dtype)
        self.body.append(v)
        return len(self.body) - 1

    # ── closing ──

    def close(self, needed) -> Loop:
        """The finished kernel: stores what others need, the tail numbered on, axes merged."""
        begin = len(self.body)
        stores = []
        for var, (in_tail, i) in self.at.items():
            if var in needed or var in self.stored:
                view = self.stored.get(var) or View.of(self.outer if in_tail else self.space)
                stores.append(Store(i + begin * in_tail, var, view))
        return _collapsed(self, stores, self._numbered_on(begin))

    def _numbered_on(self, begin: int) -> list:
        """The tail, its positions counted on from the body's; what is folded is in the body."""
        return [Apply(v.formula, tuple(a + begin for a in v.args), v.dtype)
                if isinstance(v, Apply) else v for v in self.tail]


def _collapsed(group: Group, stores: list[Store], tail: list) -> Loop:
    views = [v.view for v in group.body + tail if isinstance(v, Load)] + [s.view for s in stores]
    weights = [View(group.space, v.weights) for v in group.body if isinstance(v, Index)]
    labels = tuple(i in group.axes for i in range(len(group.space)))
    # Along folded axes a view of the outer space has one element, so its stride there is 0.
    wide = [_wide(v, group.space) for v in views]
    merged = collapse(group.space, wide + weights, labels)
    last = [g[-1] for g in merged]
    # A loop has an axis, and a fold has one to fold, though it be of size 1.
    pad = 1 if not last or tail and not any(labels[i] for i in last) else 0
    space = tuple(shapes.size(tuple(group.space[i] for i in g)) for g in merged) + (1,) * pad
    axes = tuple(n for n, i in enumerate(last) if labels[i])
    axes += (len(last),) if tail and pad else ()

    def thin(view: View) -> View:
        w = _wide(view, group.space)
        of = space if view.shape == group.space else shapes.kept(space, axes)
        return View(of, tuple(w.strides[i] for i in last) + (0,) * pad, view.offset)

    def value(v):
        if isinstance(v, Load):
            return Load(v.source, thin(v.view), v.dtype)
        if isinstance(v, Index):
            return Index(tuple(v.weights[i] for i in last) + (0,) * pad, v.begin, v.dtype)
        return v

    return Loop(space, axes, tuple(map(value, group.body)), tuple(map(value, tail)),
                tuple(Store(s.value, s.target, thin(s.view)) for s in stores), tuple(group.eqns))


def _wide(view: View, space) -> View:
    strides = tuple(0 if n == 1 else s for n, s in zip(view.shape, view.strides))
    return View(tuple(space), strides, view.offset)
