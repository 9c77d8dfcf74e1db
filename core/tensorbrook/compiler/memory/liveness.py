"""Liveness: from which kernel to which a buffer is in use, and how many bytes are live at each."""
from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from ...ir import Atom, Const, Kernel, ScanKernel, TargetInfo, Var, align_up


@dataclass
class LiveInterval:
    """Variables that share one buffer, from the first write at `first` to the last use at `last`.

    Times are positions of a Timeline.
    """

    variables: list[Var]
    size: int
    first: int
    last: int


class Timeline:
    """Kernels in execution order with integer times. A scan's time is followed by those of the
    kernels of its body; `end` of the scan is the time of the last of them."""

    def __init__(self, kernels: Iterable[Kernel]):
        self.kernels: list[Kernel] = []          # by time
        self.end: list[int] = []                 # by time: when the kernel is complete
        self.top: list[int] = []                 # by time: the position of the outermost kernel
        for n, k in enumerate(kernels):
            self._append(k, n)

    def _append(self, k: Kernel, top: int) -> None:
        time = len(self.kernels)
        self.kernels.append(k)
        self.end.append(time)
        self.top.append(top)
        if isinstance(k, ScanKernel):
            for inner in k.kernels:
                self._append(inner, top)
            self.end[time] = len(self.kernels) - 1

    def __iter__(self) -> Iterator[tuple[int, Kernel]]:
        return enumerate(self.kernels)


def live_intervals(timeline: Timeline, excluded: Container[Atom],
                   target: TargetInfo) -> list[LiveInterval]:
    """The live interval of each variable that is not excluded (inputs and outputs have buffers of
    the caller)."""
    found: dict[Var, LiveInterval] = {}
    for time, k in timeline:
        for var in (*k.writes, *k.reads):
            if isinstance(var, Const) or var in excluded:
                continue
            interval = found.get(var)
            if interval is None:
                interval = found[var] = LiveInterval([var], buffer_bytes(var, target), time, time)
            interval.last = max(interval.last, timeline.end[time])
    return list(found.values())


def buffer_bytes(var: Atom, target: TargetInfo) -> int:
    """The aligned size of a variable's buffer."""
    return align_up(max(target.bytes_of(var.spec), 1), target.buffer_alignment)


# Fewer barriers may cost this much more memory than the smallest arena: a tenth, or an amount that
# fits any cache.
BUDGET_FACTOR, BUDGET_SLACK = 1.1, 1 << 16


def memory_budget(least: int) -> float:
    """The bytes that may be used where `least` would do."""
    return max(BUDGET_FACTOR * least, least + BUDGET_SLACK)


def peak_live_bytes(intervals: Iterable[LiveInterval]) -> int:
    """The most bytes that are live at one time: a lower bound of the arena's size."""
    changes = [(i.first, i.size) for i in intervals]
    changes += [(i.last + 1, -i.size) for i in intervals]
    peak = live = 0
    for _, change in sorted(changes):
        live += change
        peak = max(peak, live)
    return peak


class LiveBytes:
    """Live bytes by position, with range updates and range maxima in logarithmic time.

    A bottom-up segment tree with permanent marks: node i has children 2i and 2i + 1, `added[i]`
    applies to all of its range, and `highest[i]` is the maximum of its range without the marks of
    the nodes above. Position p is leaf `first_leaf + p + 1`, so that every range has a neighbour
    on either side.
    """

    def __init__(self, count: int):
        self.first_leaf = 1 << (count + 1).bit_length()
        self.added = [0] * (2 * self.first_leaf)
        self.highest = [0] * (2 * self.first_leaf)

    @property
    def peak(self) -> int:
        return self.highest[1]

    def add(self, first: int, last: int, size: int) -> None:
        """Add bytes from position `first` to `last`, both included."""
        left, right = first + self.first_leaf, last + self.first_leaf + 2
        while left ^ right ^ 1:
            if not left & 1:
                self._apply(left ^ 1, size)
            if right & 1:
                self._apply(right ^ 1, size)
            left, right = left >> 1, right >> 1
            self._update(left)
            self._update(right)
        while left > 1:
            left >>= 1
            self._update(left)

    def _apply(self, node: int, size: int) -> None:
        self.added[node] += size
        self.highest[node] += size

    def _update(self, node: int) -> None:
        highest = self.highest
        highest[node] = max(highest[2 * node], highest[2 * node + 1]) + self.added[node]

    def maximum(self, first: int, last: int) -> int:
        """The most live bytes from position `first` to `last`, both included."""
        left, right = first + self.first_leaf, last + self.first_leaf + 2
        best_left = best_right = -(1 << 62)
        while left ^ right ^ 1:
            if not left & 1:
                best_left = max(best_left, self.highest[left ^ 1])
            if right & 1:
                best_right = max(best_right, self.highest[right ^ 1])
            left, right = left >> 1, right >> 1
            best_left += self.added[left]
            best_right += self.added[right]
        best = max(best_left, best_right)
        while left > 1:
            left >>= 1
            best += self.added[left]
        return best
