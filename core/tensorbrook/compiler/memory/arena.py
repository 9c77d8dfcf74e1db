"""Buffer assignment: offsets in one arena, so that buffers that are live together are disjoint."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

from ...ir import BufferLocation
from ..context import PassContext
from ..lowering import Lowering
from ..schedule.barriers import barriers_of
from .liveness import LiveInterval, Timeline, memory_budget, peak_live_bytes
from .packing import best_packing

Packing = tuple[int, list[tuple[int, LiveInterval]]]


def assign_arena(lowering: Lowering, context: PassContext) -> Lowering:
    """Assign each live interval an offset in the arena.

    Kernels between two barriers run concurrently, so reusing a buffer between them would need
    another barrier. Buffers therefore stay occupied until the next barrier, as far as memory
    allows.
    """
    timeline = Timeline(lowering.kernels)
    intervals = lowering.intervals
    separate = dict(lowering.locations)
    for n, interval in enumerate(intervals):
        separate.update(dict.fromkeys(interval.variables, BufferLocation(f"arena {n}", 0)))
    barriers = barriers_of(replace(lowering, locations=separate), context)
    size, packed = _pack_until_barriers(intervals, timeline, barriers)
    locations = dict(lowering.locations)
    for offset, interval in packed:
        locations.update(dict.fromkeys(interval.variables, BufferLocation("arena", offset)))
    return replace(lowering, locations=locations, arena_size=size,
                   peak_live_bytes=peak_live_bytes(intervals))


def _pack_until_barriers(intervals: Sequence[LiveInterval], timeline: Timeline,
                         barriers: Sequence[bool]) -> Packing:
    """The packing that extends the most intervals to the next barrier within the memory budget."""
    extend = _extension(timeline, barriers)
    least = peak_live_bytes(intervals)
    for divisor in (1, 8, 64, 512):
        extended = [extend(i) if i.size * divisor <= least else i for i in intervals]
        size, packed = best_packing(extended)
        if size <= memory_budget(least):
            return size, packed
    return best_packing(intervals)


def _extension(timeline: Timeline,
               barriers: Iterable[bool]) -> Callable[[LiveInterval], LiveInterval]:
    """A function that extends an interval to the barriers before and after it."""
    rounds = list(accumulate(barriers))              # by kernel: how many barriers are before it
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for time, top in enumerate(timeline.top):
        first.setdefault(rounds[top], time)
        last[rounds[top]] = time

    def extend(interval: LiveInterval) -> LiveInterval:
        begin, end = (rounds[timeline.top[time]] for time in (interval.first, interval.last))
        return LiveInterval(interval.variables, interval.size, first[begin], last[end])

    return extend
