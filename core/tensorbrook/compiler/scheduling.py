"""The order of kernels: with few barriers and with few bytes alive at once.

Every order keeps what one kernel waits for another. One that needs no barrier now goes before one
that does, as the two gradients of a product from the same rows; among those, one that lets memory
go before one that takes some.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..ir import Atom, Const, Kernel, TargetInfo, Var
from .buffer_assignment import memory_budget, live_bytes, live_intervals

# What a kernel costs, given whether it needs a barrier now, how many bytes more are alive once it
# is over, and its number in the order of the equations. The cheapest comes next.
HEURISTICS: tuple[Callable[[bool, int, int], tuple], ...] = (
    lambda barrier, change, n: (barrier, barrier and change > 0, n),
    lambda barrier, change, n: (barrier and change >= 0, change > 0, n),
    lambda barrier, change, n: (barrier or change > 0, n),
    lambda barrier, change, n: (barrier or change > SMALL_BYTES, n),
    lambda barrier, change, n: (change >= 0, n),
)
SMALL_BYTES = 1 << 14      # bytes that may well be there earlier


def schedule(kernels: list[Kernel], split: list[bool], slots: Mapping[Atom, int],
            target: TargetInfo) -> list[Kernel]:
    """The kernels in the best of some orders. `slots[atom]` is the memory of what comes in
    or goes out; two atoms may have the same."""
    waits = _dependencies(kernels, slots)
    found = [list(range(len(kernels)))]
    found += [_ListScheduler(kernels, split, waits, slots, target, policy).run()
              for policy in HEURISTICS]
    alive = [live_bytes(live_intervals([kernels[n] for n in order], slots, target)) for order in found]
    counts = [_count_barriers(order, split, waits) for order in found]
    most = memory_budget(min(alive))
    best = min((counts[i], alive[i], i) for i in range(len(found)) if alive[i] <= most)
    return [kernels[n] for n in found[best[2]]]


def _dependencies(kernels: list[Kernel], slots: Mapping[Atom, int]) -> list[set[int]]:
    """For each kernel those that must be over before."""
    writer: dict = {}
    readers: dict = {}
    waits: list[set[int]] = []
    for n, k in enumerate(kernels):
        mine: set[int] = set()
        for atom in k.reads:
            key = slots.get(atom, atom)
            mine.update(writer.get(key, ()))
            readers.setdefault(key, []).append(n)
        for var in k.writes:
            key = slots.get(var, var)
            mine.update(writer.get(key, ()), readers.get(key, ()))
            # Some kernels write a part of a result each: the next ones wait for all of them.
            writer[key] = (*writer.get(key, ()), n)
        waits.append(mine - {n})
    return waits


def _count_barriers(order: list[int], split: list[bool], waits: list[set[int]]) -> int:
    """How many barriers stand in this order, if no two results share memory."""
    count, since = 0, set()
    for n in order:
        if _needs_barrier(n, since, split, waits):
            count, since = count + 1, set()
        since.add(n)
    return count


def _needs_barrier(n: int, since: set[int], split: list[bool], waits: list[set[int]]) -> bool:
    """Whether kernel n needs a barrier after those in `since`."""
    return any(split[n] or split[m] for m in waits[n] & since)


@dataclass
class _BufferUse:
    """A buffer's bytes, and how many kernels still have to touch it."""

    size: int
    left: int
    begun: bool = False


class _ListScheduler:
    """Takes one kernel after the other from those that wait for nobody."""

    def __init__(self, kernels: list[Kernel], split: list[bool], waits: list[set[int]], slots,
                 target: TargetInfo, policy: Callable[[bool, int, int], tuple]):
        self.kernels, self.split, self.waits, self.policy = kernels, split, waits, policy
        self.uses: dict[Var, _BufferUse] = {}
        self.touched = [[a for a in dict.fromkeys((*k.writes, *k.reads))
                         if a not in slots and not isinstance(a, Const)] for k in kernels]
        for var in (v for touched in self.touched for v in touched):
            self.uses.setdefault(var, _BufferUse(target.bytes_of(var.spec), 0)).left += 1

    def run(self) -> list[int]:
        waiting = [set(w) for w in self.waits]
        after: list[list[int]] = [[] for _ in self.kernels]
        for n, w in enumerate(self.waits):
            for m in w:
                after[m].append(n)
        ready, order, since = {n for n, w in enumerate(waiting) if not w}, [], set()
        while ready:
            n = min(ready, key=lambda n: self.priority(n, since))
            barrier = _needs_barrier(n, since, self.split, self.waits)
            since = {n} if barrier else since | {n}
            self.emit(n)
            order.append(n)
            ready.remove(n)
            for m in after[n]:
                waiting[m].discard(n)
                if not waiting[m]:
                    ready.add(m)
        return order

    def priority(self, n: int, since: set[int]) -> tuple:
        """What is taken first has the least price."""
        return self.policy(_needs_barrier(n, since, self.split, self.waits), self.live_delta(n), n)

    def live_delta(self, n: int) -> int:
        """How many bytes more are alive once kernel n is over."""
        uses = [self.uses[v] for v in self.touched[n]]
        return sum(u.size * (not u.begun) - u.size * (u.left == 1) for u in uses)

    def emit(self, n: int) -> None:
        for var in self.touched[n]:
            use = self.uses[var]
            use.begun, use.left = True, use.left - 1
