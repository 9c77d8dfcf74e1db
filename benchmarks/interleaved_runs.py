"""Contenders side by side: A B C A B C, so that whatever slows the machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from .statistics import difference, steps_for, summary
from .workloads import OURS, Workload


class Arena(Protocol):
    """Where contenders meet: the page (browser.py) or this process (native.py)."""

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]: ...
    def turn(self, name: str, steps: int) -> float: ...
    def drop(self) -> None: ...


class Pace(NamedTuple):
    """How long everybody warms up and how long and how often they have their turn.

    A turn begins with `lead_ms` that do not count: threads that slept share a core until the
    operating system moves one, which takes about 25 ms here (a product of 512 took 4.3 ms in the
    first steps after a rest, then 2.4)."""

    warm_ms: float = 60
    lead_ms: float = 40
    turn_ms: float = 40
    turns: int = 5

    def turns_of(self, step_ms: float, least_ms: float) -> int:
        """Fewer for those who take long; the warm-up of one far behind is its only turn."""
        if step_ms < SLOW_MS: return self.turns
        return min(self.turns, 3) if step_ms < FAR_BEHIND * least_ms else 0


QUICK = Pace(warm_ms=20, lead_ms=0, turn_ms=10, turns=3)

# From here on a step counts as slow, and this many times the best one's as far behind: the run
# must end, and a ratio of ten is one whether or not it is of eleven.
SLOW_MS, FAR_BEHIND = 200, 10


class Disagreement(Exception):
    """Two contenders computed different things, so their times must not be compared."""


def compare(arena: Arena, workload: Workload, pace: Pace) -> dict:
    """One row of the table, as JSON: times of those who can, reasons of those who cannot."""
    start = time.monotonic()
    try:
        outcomes = arena.prepare(workload, workload.contenders)
        able = {name: o["check"] for name, o in outcomes.items() if o["check"] is not None}
        demand_agreement(workload, able)
        times = interleaved(arena, list(able), pace)
    finally:
        arena.drop()
    return {"name": workload.name, "topic": workload.topic, "flops": workload.flops,
            "moved_bytes": workload.moved_bytes, "goal": workload.goal._asdict(),
            "times_ms": {name: summary(t)._asdict() for name, t in times.items()},
            "turns_ms": times, "seconds": time.monotonic() - start,
            "unable": {name: o["reason"] for name, o in outcomes.items() if o["check"] is None}}


def demand_agreement(workload: Workload, checks: Mapping[str, Sequence[float]]) -> None:
    """Everybody computed what ours did, or else what the first did."""
    if not checks: return
    first = OURS if OURS in checks else next(iter(checks))
    for name, check in checks.items():
        found = difference(checks[first], check, workload.tolerance)
        if found:
            raise Disagreement(f"{workload.name}: {first} and {name} computed different things, "
                               f"{found}; compare the two programs")


def interleaved(arena: Arena, names: Sequence[str], pace: Pace) -> dict[str, list[float]]:
    """Milliseconds of one step, of each contender, in each of its turns."""
    warm = {name: warmed_up(arena, name, pace) for name in names}
    turns = {name: pace.turns_of(ms, min(warm.values())) for name, ms in warm.items()}
    times = {name: [] if turns[name] else [ms] for name, ms in warm.items()}
    for turn in range(pace.turns):
        for name in names:
            if turn >= turns[name]: continue
            if warm[name] < SLOW_MS and pace.lead_ms:
                arena.turn(name, steps_for(pace.lead_ms, warm[name]))
            steps = steps_for(pace.turn_ms, warm[name])
            times[name].append(arena.turn(name, steps) / steps)
    return times


def warmed_up(arena: Arena, name: str, pace: Pace) -> float:
    """Run until the browser's compilers had their time; returns the milliseconds of a step."""
    step_ms, spent, steps = 0.0, 0.0, 1
    while spent < pace.warm_ms:
        took = arena.turn(name, steps)
        step_ms, spent = took / steps, spent + took
        steps = steps_for(pace.warm_ms / 4, step_ms)
    return step_ms
