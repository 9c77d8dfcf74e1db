"""Def-use chains of kernels: which kernels define and use each variable, by position."""
from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import Any

from ..ir import Atom


class KernelIndex:
    """Positions of kernels by the variables that they define and read, kept while kernels change.

    A kernel is a FusionGroup, a CallWithEpilogue or a finished kernel; None is a kernel that has
    moved into another. All lists of positions are sorted.
    """

    def __init__(self, kernels: Sequence[Any]):
        self.kernels: list[Any] = list(kernels)
        self.producers: dict[Atom, list[int]] = {}
        self.consumers: dict[Atom, list[int]] = {}
        for n, k in enumerate(self.kernels):
            self._enter(n, k)

    def _enter(self, n: int, kernel: Any) -> None:
        for var in defined_values(kernel):
            insort(self.producers.setdefault(var, []), n)
        for atom in set(kernel.reads):
            insort(self.consumers.setdefault(atom, []), n)

    def replace(self, n: int, kernel: Any | None) -> None:
        """Let kernel n be another, or nothing."""
        old, self.kernels[n] = self.kernels[n], kernel
        for var in defined_values(old):
            _remove(self.producers[var], n)
        for atom in set(old.reads):
            _remove(self.consumers[atom], n)
        if kernel is not None:
            self._enter(n, kernel)

    def last_producer(self, var: Atom) -> int:
        """The last kernel that defines a variable; -1 if none does."""
        producers = self.producers.get(var)
        return producers[-1] if producers else -1

    def is_used_between(self, var: Atom, a: int, b: int) -> bool:
        """Whether a kernel after a and before b reads a variable."""
        consumers = self.consumers.get(var, [])
        first = bisect_right(consumers, a)
        return first < len(consumers) and consumers[first] < b

    def is_used_elsewhere(self, var: Atom, n: int) -> bool:
        """Whether a kernel other than n reads a variable."""
        return self.consumers.get(var, []) not in ([], [n])

    def remaining(self) -> tuple[Any, ...]:
        return tuple(k for k in self.kernels if k is not None)


def _remove(positions: list[int], n: int) -> None:
    del positions[bisect_left(positions, n)]


def defined_values(kernel: Any) -> Iterable[Any]:
    """The variables that a kernel defines, for its own use or that of others."""
    return kernel.position if hasattr(kernel, "position") else kernel.writes
