"""Kernels, and which of them touch what."""
from collections.abc import Iterable, Mapping
from math import prod

from ..ir import Atom, KernelCall, Kernel, TargetInfo, Load, LoopKernel, Var, generated_loop, align_up


class KernelUses:
    """Kernels by number. `updates` has the new value for the old one of each Variable, `over` what
    outputs are known to lie over."""

    def __init__(self, kernels: list[Kernel], outputs: set[Var], updates: Mapping[Var, Var],
                 over: Mapping[Var, Var], target: TargetInfo):
        self.kernels, self.outputs, self.target = list(kernels), outputs, target
        self.updates, self.aliases = updates, over
        self.consumers: dict[Atom, list[int]] = {}
        self.producers: dict[Atom, list[int]] = {}
        for n, k in enumerate(kernels):
            self._enter(n, k)
        self.live_bytes = [0] * len(kernels)          # bytes between kernels, in this order
        self.adjust_liveness((writers[0], self.last_use(v), self.aligned_bytes(v)) for v, writers in self.producers.items()
                    if self.is_intermediate(v))
        self.peak_bytes = max(self.live_bytes, default=0)

    def _enter(self, n: int, k: Kernel) -> None:
        for found, atoms in ((self.consumers, k.reads), (self.producers, k.writes)):
            for atom in atoms:
                found.setdefault(atom, []).append(n)

    def replace(self, n: int, k: Kernel) -> None:
        """Let kernel n be another."""
        old, self.kernels[n] = self.kernels[n], k
        for found, atoms in ((self.consumers, old.reads), (self.producers, old.writes)):
            for atom in atoms:
                found[atom].remove(n)
        self._enter(n, k)

    def loop(self, n: int) -> LoopKernel:
        """What of kernel n is generated, where something is."""
        loop = generated_loop(self.kernels[n])
        assert loop is not None, "a kernel of the engine loads nothing"
        return loop

    def adjust_liveness(self, lives: Iterable[tuple[int, int, int]]) -> None:
        """Let so many bytes more be alive, each from one kernel to another."""
        for begin, end, size in lives:
            for n in range(begin, end + 1):
                self.live_bytes[n] += size

    def last_use(self, atom: Atom) -> int:
        """The last kernel that touches what a kernel makes."""
        return max((*self.consumers.get(atom, ()), *self.producers[atom]))

    def is_intermediate(self, atom: Atom) -> bool:
        """Whether it takes memory between kernels: it neither comes in nor goes out."""
        return atom in self.producers and atom not in self.outputs

    def bytes_of(self, atom: Atom) -> int:
        return self.target.bytes_of(atom.spec)

    def aligned_bytes(self, atom: Atom) -> int:
        """The bytes of memory that it takes."""
        return align_up(self.bytes_of(atom), self.target.buffer_alignment)

    def only_elementwise_loads(self, var: Var) -> bool:
        """Whether all who read a variable are loops that load all of it in order."""
        for k in (self.kernels[n] for n in self.consumers[var]):
            loop = generated_loop(k)
            if loop is None or isinstance(k, KernelCall) and var in k.args:
                return False
            views = [v.view for v in loop.values if isinstance(v, Load) and v.source is var]
            if not all(v.contiguous and prod(v.shape) == var.spec.count for v in views):
                return False
        return True

    def count_buffers(self, n: int, gone: frozenset[Var] = frozenset(),
                more: set[Atom] = frozenset()) -> int:
        """How many buffers kernel n touches, or would without some and with others."""
        k = self.kernels[n]
        atoms: set[Atom] = {*k.reads, *k.writes} - gone | more
        return len(atoms) - sum(v in atoms and old in atoms for v, old in self.aliases.items())
