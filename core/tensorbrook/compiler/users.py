"""Kernels, and which of them touch what."""
from collections.abc import Iterable, Mapping
from math import prod

from ..ir import Atom, Call, Kernel, Limits, Load, Loop, Var, generated, whole_lines


class Users:
    """Kernels by number. `updates` has the new value for the old one of each Variable, `over` what
    outputs are known to lie over."""

    def __init__(self, kernels: list[Kernel], outputs: set[Var], updates: Mapping[Var, Var],
                 over: Mapping[Var, Var], limits: Limits):
        self.kernels, self.outputs, self.limits = list(kernels), outputs, limits
        self.updates, self.over = updates, over
        self.readers: dict[Atom, list[int]] = {}
        self.writers: dict[Atom, list[int]] = {}
        for n, k in enumerate(kernels):
            self._enter(n, k)
        self.alive = [0] * len(kernels)          # bytes between kernels, in this order
        self.change((writers[0], self.last(v), self.takes(v)) for v, writers in self.writers.items()
                    if self.lives_between(v))
        self.most = max(self.alive, default=0)

    def _enter(self, n: int, k: Kernel) -> None:
        for found, atoms in ((self.readers, k.reads), (self.writers, k.writes)):
            for atom in atoms:
                found.setdefault(atom, []).append(n)

    def put(self, n: int, k: Kernel) -> None:
        """Let kernel n be another."""
        old, self.kernels[n] = self.kernels[n], k
        for found, atoms in ((self.readers, old.reads), (self.writers, old.writes)):
            for atom in atoms:
                found[atom].remove(n)
        self._enter(n, k)

    def loop(self, n: int) -> Loop:
        """What of kernel n is generated, where something is."""
        loop = generated(self.kernels[n])
        assert loop is not None, "a kernel of the engine loads nothing"
        return loop

    def change(self, lives: Iterable[tuple[int, int, int]]) -> None:
        """Let so many bytes more be alive, each from one kernel to another."""
        for begin, end, size in lives:
            for n in range(begin, end + 1):
                self.alive[n] += size

    def last(self, atom: Atom) -> int:
        """The last kernel that touches what a kernel makes."""
        return max((*self.readers.get(atom, ()), *self.writers[atom]))

    def lives_between(self, atom: Atom) -> bool:
        """Whether it takes memory between kernels: it neither comes in nor goes out."""
        return atom in self.writers and atom not in self.outputs

    def bytes_of(self, atom: Atom) -> int:
        return self.limits.bytes_of(atom.spec)

    def takes(self, atom: Atom) -> int:
        """The bytes of memory that it takes."""
        return whole_lines(self.bytes_of(atom), self.limits.line)

    def loads_alone(self, var: Var) -> bool:
        """Whether all who read a variable are loops that load all of it in order."""
        for k in (self.kernels[n] for n in self.readers[var]):
            loop = generated(k)
            if loop is None or isinstance(k, Call) and var in k.args:
                return False
            views = [v.view for v in loop.values if isinstance(v, Load) and v.source is var]
            if not all(v.contiguous and prod(v.shape) == var.spec.count for v in views):
                return False
        return True

    def touches(self, n: int, gone: frozenset[Var] = frozenset(),
                more: set[Atom] = frozenset()) -> int:
        """How many buffers kernel n touches, or would without some and with others."""
        k = self.kernels[n]
        atoms: set[Atom] = {*k.reads, *k.writes} - gone | more
        return len(atoms) - sum(v in atoms and old in atoms for v, old in self.over.items())
