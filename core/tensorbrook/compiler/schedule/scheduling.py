"""List scheduling: the order of kernels with few barriers and few live bytes.

Every order keeps the dependencies. A kernel that needs no barrier now goes before one that does, as
the two gradients of a product of the same rows; among them, one that ends the life of a buffer goes
before one that starts another. Several priorities are tried, and the best order is taken.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush

from ...ir import Atom, Const, Kernel, ScanKernel, TargetInfo, Var
from ..context import PassContext
from ..cost_model import is_parallel
from ..lowering import Lowering
from ..memory.liveness import Timeline, buffer_bytes, live_intervals, memory_budget, peak_live_bytes
from ..memory.slots import memory_of_slots

SMALL_BYTES = 1 << 14      # buffers that may as well be live earlier

# The priority of a kernel, the least first: whether it needs a barrier now, how many more bytes are
# live once it is complete, and its position in the order of the equations.
HEURISTICS: tuple[Callable[[bool, int, int], tuple], ...] = (
    lambda barrier, delta, n: (barrier, barrier and delta > 0, n),
    lambda barrier, delta, n: (barrier and delta >= 0, delta > 0, n),
    lambda barrier, delta, n: (barrier or delta > 0, n),
    lambda barrier, delta, n: (barrier or delta > SMALL_BYTES, n),
    lambda barrier, delta, n: (delta >= 0, n),
)


def schedule(lowering: Lowering, context: PassContext) -> Lowering:
    """Order the kernels by the best of several list schedules."""
    problem = _Problem(lowering.kernels, memory_of_slots(lowering), lowering.locations, context)
    orders = [list(range(len(lowering.kernels)))]
    orders += [_ListScheduler(problem, heuristic).run() for heuristic in HEURISTICS]
    peaks = list(map(problem.peak, orders))
    barriers = list(map(problem.count_barriers, orders))
    budget = memory_budget(min(peaks))
    best = min((barriers[i], peaks[i], i) for i in range(len(orders)) if peaks[i] <= budget)[2]
    return replace(lowering, kernels=tuple(lowering.kernels[n] for n in orders[best]))


class _Problem:
    """Kernels, their dependencies and the buffers that they touch."""

    def __init__(self, kernels: Sequence[Kernel], slots: Mapping[Atom, int],
                 locations: Mapping[Atom, object], context: PassContext):
        self.kernels, self.counts = kernels, context.counts
        self.parallel = [is_parallel(k) for k in kernels]
        self.predecessors = dependencies(kernels, slots)
        self.successors: list[list[int]] = [[] for _ in kernels]
        for n, before in enumerate(self.predecessors):
            for m in before:
                self.successors[m].append(n)
        self.touched: list[list[Var]] = [
            [a for a in dict.fromkeys((*k.writes, *k.reads))
             if a not in locations and not isinstance(a, Const)] for k in kernels]
        self.touching: dict[Var, list[int]] = {}
        for n, variables in enumerate(self.touched):
            for var in variables:
                self.touching.setdefault(var, []).append(n)
        self.size = {var: buffer_bytes(var, context.target) for var in self.touching}
        self.inside = [_bytes_inside(k, locations, context.target) for k in kernels]

    def needs_barrier(self, m: int, n: int) -> bool:
        """Whether kernel n, which depends on m, needs a barrier after m."""
        return self.parallel[m] or self.parallel[n]

    def peak(self, order: list[int]) -> int:
        """The most bytes that are live at one time."""
        position = [0] * len(order)
        for i, n in enumerate(order):
            position[n] = i
        change = [0] * (len(order) + 1)
        for var, kernels in self.touching.items():
            positions = [position[n] for n in kernels]
            change[min(positions)] += self.size[var]
            change[max(positions) + 1] -= self.size[var]
        peak = live = 0
        for i, n in enumerate(order):
            live += change[i]
            peak = max(peak, live + self.inside[n])
        return peak

    def count_barriers(self, order: list[int]) -> int:
        """The number of barriers in an order, if no two buffers share memory."""
        count, epoch = 0, [-1] * len(order)        # the epoch in which a kernel runs
        for n in order:
            if any(epoch[m] == count and self.needs_barrier(m, n) for m in self.predecessors[n]):
                count += 1
            epoch[n] = count
        return count


def _bytes_inside(k: Kernel, locations: Mapping[Atom, object], target: TargetInfo) -> int:
    """The most bytes of buffers that are live only within a scan."""
    if not isinstance(k, ScanKernel):
        return 0
    outside = {*k.reads, *k.writes}
    intervals = live_intervals(Timeline((k,)), {**dict.fromkeys(outside), **locations}, target)
    return peak_live_bytes(intervals)


def dependencies(kernels: Sequence[Kernel], slots: Mapping[Atom, int]) -> list[set[int]]:
    """For each kernel the kernels that must be complete before it starts.

    Kernels that write slices of one result depend on each other in their order, so that a consumer
    depends on the last of them only.
    """
    writer: dict[object, int] = {}
    readers: dict[object, list[int]] = {}
    found: list[set[int]] = []
    for n, k in enumerate(kernels):
        before: set[int] = set()
        for atom in k.reads:
            key = slots.get(atom, atom)
            if key in writer:
                before.add(writer[key])
            readers.setdefault(key, []).append(n)
        for var in k.writes:
            key = slots.get(var, var)
            if key in writer:
                before.add(writer[key])
            before.update(readers.pop(key, ()))
            writer[key] = n
        before.discard(n)
        found.append(before)
    return found


class _ListScheduler:
    """Issues the ready kernel of the least priority until none is left.

    Priorities change: a barrier starts a new epoch, in which no ready kernel needs a barrier, and
    each access to a buffer changes the live bytes that its remaining kernels add. A kernel whose
    priority changes is pushed again, and its older entries are skipped.
    """

    def __init__(self, problem: _Problem, heuristic: Callable[[bool, int, int], tuple]):
        self.p, self.heuristic = problem, heuristic
        count = len(problem.kernels)
        self.missing = [len(before) for before in problem.predecessors]
        self.epoch = 0
        self.last_needed = [-1] * count          # the epoch in which a kernel needs a barrier
        self.delta = [0] * count                 # bytes more that are live once it is complete
        self.started: set[Var] = set()
        self.left = {var: set(kernels) for var, kernels in problem.touching.items()}
        for var, kernels in problem.touching.items():
            if len(kernels) > 1:
                for n in kernels:
                    self.delta[n] += problem.size[var]
        self.is_ready = [False] * count
        self.waiting: set[int] = set()           # ready kernels that need a barrier in this epoch
        self.heap: list[tuple[tuple, int]] = []
        self.priority: list[tuple | None] = [None] * count

    def run(self) -> list[int]:
        order: list[int] = []
        for n, missing in enumerate(self.missing):
            if not missing:
                self._make_ready(n)
        while self.heap:
            priority, n = heappop(self.heap)
            if not self.is_ready[n] or priority != self.priority[n]:
                continue                         # issued, or pushed again with another priority
            self.p.counts["scheduling steps"] += 1
            self.is_ready[n] = False
            order.append(n)
            if self.last_needed[n] == self.epoch:
                self._start_epoch()
            self._touch_buffers(n)
            self._release_successors(n)
        return order

    def _make_ready(self, n: int) -> None:
        self.is_ready[n] = True
        if self.last_needed[n] == self.epoch:
            self.waiting.add(n)
        self._push(n)

    def _push(self, n: int) -> None:
        barrier = self.last_needed[n] == self.epoch
        priority = self.heuristic(barrier, self.delta[n], n)
        if priority != self.priority[n]:
            self.priority[n] = priority
            heappush(self.heap, (priority, n))

    def _start_epoch(self) -> None:
        """A barrier: no ready kernel depends on a kernel after it."""
        self.epoch += 1
        waiting, self.waiting = self.waiting, set()
        for n in waiting:
            if self.is_ready[n]:
                self._push(n)

    def _touch_buffers(self, n: int) -> None:
        for var in self.p.touched[n]:
            size, left = self.p.size[var], self.left[var]
            left.discard(n)
            if var not in self.started:
                self.started.add(var)
                self._adjust(left, -size)
            if len(left) == 1:
                self._adjust(left, -size)

    def _adjust(self, kernels: set[int], change: int) -> None:
        for n in kernels:
            self.delta[n] += change
            if self.is_ready[n]:
                self._push(n)

    def _release_successors(self, n: int) -> None:
        for s in self.p.successors[n]:
            if self.p.needs_barrier(n, s):
                self.last_needed[s] = self.epoch
            self.missing[s] -= 1
            if not self.missing[s]:
                self._make_ready(s)
