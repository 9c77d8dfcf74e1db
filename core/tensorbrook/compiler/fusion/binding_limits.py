"""Binding limits: bound the number of buffers of a kernel while fusion lets it grow.

A value without consumers outside of its kernel takes no buffer, and a Variable that is updated in
place takes one buffer for both values. Equations that have not joined the kernel yet count as
consumers outside of it, so the count is an upper bound for the finished kernel.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...ir import Atom, Const, Eqn, Graph, Var
from .fusion_group import FusionGroup


class BindingLimits:
    """Counts buffers against `maximum`. The outputs `aliases` are written over inputs."""

    def __init__(self, graph: Graph, maximum: int, aliases: Mapping[int, int]):
        self.maximum = maximum
        self._consumers: dict[Atom, list[Eqn]] = {}
        self._escaping: set[Atom] = set()        # used by more than equations of fusion groups
        bases: dict[Atom, Atom] = {}
        for e in graph.eqns:
            for atom in (bases.get(a, a) for a in e.args):
                if e.prim.kind == "view":
                    bases[e.out] = atom
                elif e.prim.kind in ("elementwise", "reduce"):
                    self._consumers.setdefault(atom, []).append(e)
                else:
                    self._escaping.add(atom)
        outputs = [bases.get(o, o) for o in graph.outputs]
        self._escaping.update(outputs)
        self.aliases: dict[Atom, Var] = {outputs[i]: graph.inputs[j] for i, j in aliases.items()}

    def can_add(self, group: FusionGroup, e: Eqn, bases: Iterable[Atom]) -> bool:
        """Whether the group stays within the limit with equation `e`, whose operands are views of
        `bases`."""
        bases = [b for b in bases if not (isinstance(b, Const) and b.is_scalar)]
        most = len(group.reads) + len(group.position) + len(group.extra_stores) + len(bases) + 1
        if most <= self.maximum:
            return True
        reads = group.reads | {b for b in bases if b not in group.position}
        return self._count(group, reads, [*group.position, e.out], {*group.eqns, e}) <= self.maximum

    def count_bindings(self, group: FusionGroup) -> int:
        """The most buffers that a group binds."""
        return self._count(group, group.reads, group.position, set(group.eqns))

    def _count(self, group: FusionGroup, reads: set, defined: Iterable, inside: set[Eqn]) -> int:
        stored = {var for _, var, _ in group.extra_stores}
        stored.update(self.aliases.get(v, v) for v in defined if self.escapes(v, inside))
        return len(reads | stored)

    def escapes(self, var: Atom, inside: set[Eqn]) -> bool:
        """Whether a result of these equations has consumers besides them, or none."""
        consumers = self._consumers.get(var)
        return var in self._escaping or not consumers or not inside.issuperset(consumers)
