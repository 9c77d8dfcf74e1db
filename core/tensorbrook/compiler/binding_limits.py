"""How many buffers a kernel touches while it grows, so that it keeps to what a device can bind.

A value that nobody beyond its kernel reads takes no buffer, and the new value of a Variable that of
the old one where it lies there. Who may still join the kernel is not known while it grows: whoever
is not in it yet counts as beyond, so a kernel may come out smaller than it was counted, and never
larger.
"""
from collections.abc import Iterable, Mapping

from ..ir import Atom, Const, Eqn, Graph, Var
from .fusion_group import FusionGroup


class BindingLimits:
    """Who reads what in a graph, and the limit `most`. The outputs `in_place` lie over inputs."""

    def __init__(self, graph: Graph, most: int, in_place: Mapping[int, int]):
        self.maximum = most
        self._readers: dict[Atom, list[Eqn]] = {}
        self._outside: set[Atom] = set()         # what is read by more than equations of groups
        bases: dict[Atom, Atom] = {}
        for e in graph.eqns:
            for atom in (bases.get(a, a) for a in e.args):
                if e.prim.kind == "view":
                    bases[e.out] = atom
                elif e.prim.kind in ("elementwise", "reduce"):
                    self._readers.setdefault(atom, []).append(e)
                else:
                    self._outside.add(atom)
        outputs = [bases.get(o, o) for o in graph.outputs]
        self._outside.update(outputs)
        self.aliases: dict[Atom, Var] = {outputs[i]: graph.inputs[j] for i, j in in_place.items()}

    def can_add(self, group: FusionGroup, e: Eqn, bases: Iterable[Atom]) -> bool:
        """Whether the group may have equation `e`, which reads these buffers or values, too."""
        bases = [b for b in bases if not (isinstance(b, Const) and b.is_scalar)]
        if len(group.reads) + len(group.position) + len(group.extra_stores) + len(bases) + 1 <= self.maximum:
            return True
        reads = group.reads | {b for b in bases if b not in group.position}
        made = [*group.position, e.out]
        return self._count(group, reads, made, {*group.eqns, e}) <= self.maximum

    def count_bindings(self, group: FusionGroup) -> int:
        """The most buffers that a group touches as it is."""
        return self._count(group, group.reads, group.position, set(group.eqns))

    def _count(self, group: FusionGroup, reads: set, made: Iterable, inside: set[Eqn]) -> int:
        stored = {var for _, var, _ in group.extra_stores}
        stored.update(self.aliases.get(var, var) for var in made if self.escapes(var, inside))
        return len(reads | stored)

    def escapes(self, var: Atom, inside: set[Eqn]) -> bool:
        """Whether somebody reads what these equations make beside them."""
        readers = self._readers.get(var)
        return var in self._outside or not readers or not inside.issuperset(readers)
