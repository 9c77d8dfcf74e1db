"""The group builder: decides whether an equation can join a fusion group, and adds it."""
from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ...base.views import View
from ...ir import Atom, Const, Eqn, TargetInfo
from .binding_limits import BindingLimits
from .fusion_group import FusionGroup

# The buffer that holds an atom's elements, and the view of it.
Source = tuple[Atom, View]


class GroupBuilder:
    """Knows for each atom the buffer and the view that its elements are read through, so that
    equations that only move data need no kernel."""

    def __init__(self, target: TargetInfo, bindings: BindingLimits, sources: dict[Atom, Source]):
        self.target, self.bindings, self.sources = target, bindings, sources

    def source(self, atom: Atom) -> Source:
        return self.sources.get(atom) or (atom, View.of(atom.spec.shape))

    def base(self, atom: Atom) -> Atom:
        """The buffer that an atom is a view of."""
        return self.source(atom)[0]

    # ── one equation ──

    def try_add_elementwise(self, group: FusionGroup, e: Eqn) -> bool:
        """Add an equation if the group's values, space and bindings allow it."""
        return self.bindings.can_add(group, e, [self.base(a) for a in e.args]) \
            and self._place_elementwise(group, e)

    def _place_elementwise(self, group: FusionGroup, e: Eqn) -> bool:
        """Add an equation at every index, or after the reduction, where the group allows it."""
        sources = [self.source(a) for a in e.args]
        for reduced in (False, True) if group.axes else (False,):
            views = self._operand_views(group, e, sources, reduced)
            if views is not None:
                args = [group.operand(base, view, reduced)
                        for (base, _), view in zip(sources, views)]
                group.add_elementwise(e, args, reduced)
                return True
        return False

    def _operand_views(self, group: FusionGroup, e: Eqn, sources: list[Source],
                       reduced: bool) -> list[View | None] | None:
        """The operands' views over the group's space; None if the equation cannot be computed
        there."""
        space = group.reduced_space if reduced else group.space
        if group.store_views or prod(space) != e.out.spec.count:
            return None
        views: list[View | None] = []
        for base, view in sources:
            if isinstance(base, Const) and base.is_scalar:
                views.append(None)
                continue
            seen = view.broadcast_to(e.out.spec.shape).reshape(space)
            if seen is None or not is_readable(group, base, seen, reduced):
                return None
            views.append(seen)
        return views

    def try_add_index(self, group: FusionGroup, e: Eqn) -> bool:
        view = None
        if group.size == e.out.spec.count:
            view = index_view(e).reshape(group.space)
        if view is None:
            return False
        group.add_index(e, view.strides, view.offset)
        return True

    def try_add_reduction(self, group: FusionGroup, e: Eqn) -> bool:
        base, view = self.source(e.args[0])
        if view.shape != group.space or e.attrs["axes"] != group.axes:
            return False
        if group.is_reduced(base) or not is_readable(group, base, view, reduced=False):
            return False
        group.add_reduction(e, group.operand(base, view, False))
        return True

    # ── several equations ──

    def rebuild(self, space: tuple[int, ...], axes: tuple[int, ...],
                eqns: Iterable[Eqn]) -> FusionGroup | None:
        """A new group of these equations over a space; None if they do not fit together.

        Only the finished group has to keep the limit of bindings: a part of the equations may store
        values that the others make temporary."""
        return self._extend(FusionGroup(space, axes), eqns)

    def extend(self, group: FusionGroup, eqns: Iterable[Eqn]) -> FusionGroup | None:
        """A copy of a group with further equations; None if they do not fit together."""
        return self._extend(group.copy(), eqns)

    def _extend(self, group: FusionGroup, eqns: Iterable[Eqn]) -> FusionGroup | None:
        add = {"elementwise": self._place_elementwise, "iota": self.try_add_index,
               "reduce": self.try_add_reduction}
        if not all(e.prim.kind in add and add[e.prim.kind](group, e) for e in eqns):
            return None
        return group if self.bindings.count_bindings(group) <= self.bindings.maximum else None


def is_readable(group: FusionGroup, base: Atom, view: View, reduced: bool) -> bool:
    """Whether values of the group can read `base` by a view: a value of the group only at its own
    index, or a reduced value that is the same along the row, in another pass over it."""
    is_reduced = group.is_reduced(base)
    if is_reduced and not reduced:
        return group.is_row_broadcast(view) and group.allows_pass_after(base)
    return is_reduced is None or is_reduced == reduced and view.contiguous


def index_view(e: Eqn) -> View:
    """An iota as a view whose strides are the steps of its index."""
    shape, axis = e.attrs["shape"], e.attrs["axis"]
    return View(tuple(shape), tuple(int(i == axis) for i in range(len(shape))))
