"""Interval packing: offsets for buffers with known lifetimes (dynamic storage allocation)."""
from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence

from .liveness import LiveInterval, peak_live_bytes

# Up to this number of intervals first-fit packings are tried, whose cost grows with the square.
MAX_FIRST_FIT = 96

Packed = list[tuple[int, LiveInterval]]

# The orders in which first fit takes the intervals.
ORDERS: tuple[Callable[[LiveInterval], tuple], ...] = (
    lambda i: (-i.size, i.first),
    lambda i: (i.first, -i.size),
    lambda i: (-i.size * (i.last - i.first + 1), i.first),
    lambda i: (i.first - i.last, -i.size),
    lambda i: (-i.last, -i.size),
)


def best_packing(intervals: Sequence[LiveInterval]) -> tuple[int, Packed]:
    """The size of the smallest arena found, and each interval with its offset.

    Best fit in the order of time takes linear time. Few intervals are also packed by first fit in
    several orders.
    """
    least = peak_live_bytes(intervals)
    best = _best_fit(intervals)
    if best[0] > least and len(intervals) <= MAX_FIRST_FIT:
        for order in ORDERS:
            packing = _first_fit(sorted(intervals, key=order))
            best = min(best, packing, key=lambda p: p[0])
            if best[0] == least:
                break
    return best


def _best_fit(intervals: Sequence[LiveInterval]) -> tuple[int, Packed]:
    """Allocate and free in the order of time; each interval takes the smallest gap that fits."""
    starts = sorted(intervals, key=lambda i: (i.first, -i.last, -i.size))
    ends: list[tuple[int, int, int]] = []                # (last, offset, size), sorted
    gaps = _Gaps()
    packed: Packed = []
    for interval in starts:
        while ends and ends[0][0] < interval.first:
            _, offset, size = ends.pop(0)
            gaps.free(offset, size)
        offset = gaps.allocate(interval.size)
        insort(ends, (interval.last, offset, interval.size))
        packed.append((offset, interval))
    return gaps.total, packed


class _Gaps:
    """The free ranges below `total`, by offset."""

    def __init__(self):
        self.total = 0
        self.offsets: list[int] = []
        self.sizes: dict[int, int] = {}

    def allocate(self, size: int) -> int:
        fitting = [(self.sizes[offset], offset) for offset in self.offsets
                   if self.sizes[offset] >= size]
        if fitting:
            gap, offset = min(fitting)
            self._remove(offset)
            if gap > size:
                self._insert(offset + size, gap - size)
            return offset
        offset = self.total
        if self.offsets and self.offsets[-1] + self.sizes[self.offsets[-1]] == self.total:
            offset = self.offsets[-1]                    # grow the gap at the end
            self._remove(offset)
        self.total = offset + size
        return offset

    def free(self, offset: int, size: int) -> None:
        """Free a range; neighbouring gaps become one."""
        at = bisect_left(self.offsets, offset)
        if at < len(self.offsets) and self.offsets[at] == offset + size:
            following = self.offsets[at]
            size += self.sizes[following]
            self._remove(following)
        if at > 0:
            before = self.offsets[at - 1]
            if before + self.sizes[before] == offset:
                offset, size = before, size + self.sizes[before]
                self._remove(before)
        self._insert(offset, size)

    def _insert(self, offset: int, size: int) -> None:
        insort(self.offsets, offset)
        self.sizes[offset] = size

    def _remove(self, offset: int) -> None:
        del self.offsets[bisect_left(self.offsets, offset)]
        del self.sizes[offset]


def _first_fit(intervals: Sequence[LiveInterval]) -> tuple[int, Packed]:
    """Place the intervals in order, each at the lowest offset that is free during its lifetime."""
    packed: Packed = []
    total = 0
    for interval in intervals:
        offset = 0
        overlapping = [(o, p) for o, p in packed
                       if p.first <= interval.last and interval.first <= p.last]
        for other_offset, other in sorted(overlapping, key=lambda pair: pair[0]):
            if offset + interval.size <= other_offset:
                break
            offset = max(offset, other_offset + other.size)
        packed.append((offset, interval))
        total = max(total, offset + interval.size)
    return total, packed
