"""Where buffers lie: whose lives do not meet share memory, and a result may take the place of an
argument that dies there, if each element is read before it is written."""
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from ..ir import KernelCall, Const, Kernel, TargetInfo, Load, LoopKernel, ScanKernel, Var, align_up

Time = tuple[float, ...]

# Fewer barriers may cost that much more memory than the order or the places that take least: a
# tenth, or as much as no cache notices.
BUDGET_FACTOR, BUDGET_SLACK = 1.1, 1 << 16


def can_alias(out: Var, old: Var, kernels: list[Kernel], target: TargetInfo) -> bool:
    """Whether `out` may lie where `old` does: nobody reads `old` after the first write to `out`,
    and the kernel that writes reads each element before it writes it."""
    writers = [n for n, k in enumerate(kernels) if out in k.writes]
    readers = [n for n, k in enumerate(kernels) if old in k.reads]
    if any(n > writers[0] for n in readers):
        return False
    return all(can_update_in_place(kernels[n], out, old, target) for n in writers if n in readers)


def can_update_in_place(k: Kernel, new: Var, old: Var, target: TargetInfo) -> bool:
    """Whether the kernel writes each element of `new` when it has read that of `old` for good."""
    if new.spec.count != old.spec.count or new.spec.dtype.size != old.spec.dtype.size:
        return False
    if target.alias_needs_same_dtype and new.spec.dtype is not old.spec.dtype:
        return False
    if isinstance(k, ScanKernel):
        return False
    if isinstance(k, KernelCall):
        if k.epilogue is None or old in k.args or new in k.outs:
            return False
        k = k.epilogue
    return _same_index_map(k, new, old)


def _same_index_map(k: LoopKernel, new: Var, old: Var) -> bool:
    stores = [s for s in k.stores if s.target is new]
    views = [v.view for v in k.values if isinstance(v, Load) and v.source is old]
    last = all(k.value_sites[s.value][0] == len(k.passes) - 1 for s in stores)
    return bool(stores and views) and last and all(s.view == view for s in stores for view in views)


@dataclass
class LiveInterval:
    """Variables, one after the other in one place, from kernel `first` to the end of `last`."""

    vars: list[Var]
    size: int
    first: Time
    last: Time


def number_kernels(kernels: Iterable[Kernel], before: Time = ()) -> Iterator[tuple[Time, Kernel]]:
    """When each kernel runs: its number; behind that of a Repeat, the number within the turn."""
    for n, k in enumerate(kernels):
        yield (*before, n), k
        if isinstance(k, ScanKernel):
            yield from number_kernels(k.kernels, (*before, n))


def _end(time: Time) -> Time:
    """When a kernel is done, with all that is within it."""
    return *time, inf


def live_intervals(kernels: list[Kernel], places: Mapping, target: TargetInfo) -> list[LiveInterval]:
    """When each variable that is neither input nor output is first written and last touched."""
    found: dict[Var, LiveInterval] = {}
    for time, k in number_kernels(kernels):
        for var in (*k.writes, *k.reads):
            if isinstance(var, Const) or var in places:
                continue
            size = align_up(max(target.bytes_of(var.spec), 1), target.buffer_alignment)
            life = found.setdefault(var, LiveInterval([var], size, time, time))
            life.last = max(life.last, _end(time))
    return list(found.values())


def coalesce_in_place(kernels: list[Kernel], found: list[LiveInterval], places: dict, fresh: set[Var],
           target: TargetInfo) -> list[LiveInterval]:
    """The lives, those in one that may have one place. One whose results go to a `fresh` output,
    which nobody else holds, lies there from the beginning: `places` says so."""
    by_var = {var: life for life in found for var in life.vars}
    begins = {v: time for time, k in reversed(list(number_kernels(kernels))) for v in k.writes}
    for time, k in number_kernels(kernels):
        for old in _last_uses(k, time, by_var):
            assert old in by_var, "a variable ends once"
            for new in dict.fromkeys(k.writes):
                fits = new is not old and begins[new] == time
                fits = fits and can_update_in_place(k, new, old, target)
                if fits and _coalesce(by_var[old], new, by_var, places, fresh):
                    break
    return list({id(life): life for life in by_var.values()}.values())


def _last_uses(k: Kernel, time: Time, by_var: dict[Var, LiveInterval]) -> list[Var]:
    """The variables that nobody touches after a kernel."""
    touched = dict.fromkeys((*k.writes, *k.reads))
    return [v for v in touched
            if v in by_var and by_var[v].last == _end(time) and by_var[v].vars[-1] is v]


def _coalesce(life: LiveInterval, new: Var, by_var: dict, places: dict, fresh: set[Var]) -> bool:
    """Let `new` be the next in that life's place, unless it has another place already."""
    if new in fresh:
        fresh.discard(new)
        for var in life.vars:
            places[var] = places[new]
            del by_var[var]
        return True
    next_one = by_var.get(new)
    if next_one is None or next_one is life or next_one.vars[0] is not new:
        return False
    life.vars += next_one.vars
    life.last = next_one.last
    by_var.update(dict.fromkeys(next_one.vars, life))
    return True


def live_bytes(found: list[LiveInterval]) -> int:
    """The most bytes that are alive at once: no arena can be smaller."""
    ends = [(life.first, life.size) for life in found]
    ends += [(life.last, -life.size) for life in found]
    most = now = 0
    for _, change in sorted(ends):
        now += change
        most = max(most, now)
    return most


def memory_budget(least: int) -> float:
    """How many bytes may be taken where `least` would do."""
    return max(BUDGET_FACTOR * least, least + BUDGET_SLACK)


def allocate(found: list[LiveInterval], rounds: list[int]) -> tuple[int, list[tuple[int, LiveInterval]]]:
    """The arena's size and where in it each life lies. Kernels of one round, `rounds[n]` for kernel
    n, run without a barrier between them, so a place that is free again within a round would cost
    one: it stays taken until the round is over, for as many lives as there is memory for."""
    least = live_bytes(found)
    for share in (1, 8, 64, 512):
        longer = [_extend_to_barrier(life, rounds) if life.size * share <= least else life
                  for life in found]
        size, placed = _best_packing(longer)
        if size <= memory_budget(least):
            return size, placed
    return _best_packing(found)


def _extend_to_barrier(life: LiveInterval, rounds: list[int]) -> LiveInterval:
    begin, end = rounds[int(life.first[0])], rounds[int(life.last[0])]
    last = len(rounds) - 1 - rounds[::-1].index(end)
    return LiveInterval(life.vars, life.size, (rounds.index(begin),), _end((last,)))


def _best_packing(found: list[LiveInterval]) -> tuple[int, list[tuple[int, LiveInterval]]]:
    """The smallest arena of those that several orders give."""
    orders = (lambda one: (-one.size, one.first), lambda one: (one.first, -one.size),
              lambda one: (-one.size * (one.last[0] - one.first[0] + 1), one.first),
              lambda one: (one.first[0] - one.last[0], -one.size),
              lambda one: (-one.last[0], -one.size))
    least = live_bytes(found)
    best: tuple[int, list] | None = None
    for order in orders:
        made = _first_fit(sorted(found, key=order))
        if best is None or made[0] < best[0]:
            best = made
        if made[0] == least:
            break
    assert best is not None
    return best


def _first_fit(found: list[LiveInterval]) -> tuple[int, list[tuple[int, LiveInterval]]]:
    """The size of the arena, and where each life lies if they are taken in this order, each at the
    lowest gap among those alive with it."""
    placed: list[tuple[int, LiveInterval]] = []
    total = 0
    for life in found:
        at = 0
        beside = [(o, p) for o, p in placed if p.first <= life.last and life.first <= p.last]
        for offset, other in sorted(beside, key=lambda pair: pair[0]):
            if at + life.size <= offset:
                break
            at = max(at, offset + other.size)
        placed.append((at, life))
        total = max(total, at + life.size)
    return total, placed
