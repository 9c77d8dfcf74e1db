"""Interleaved runs A B C A B C: a disturbance of the machine slows all implementations alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from .statistics import find_difference, steps_for, summarize
from .workloads import OURS, Workload


class Runner(Protocol):
    """Prepares workloads and times steps: the page (browser.py), this process (native) or a GPU."""

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]: ...
    def run_steps(self, name: str, steps: int) -> float: ...
    def drop(self) -> None: ...


class Timing(NamedTuple):
    """Duration of the warm-up, and duration and number of the timed repetitions.

    Each repetition is preceded by `lead_in_ms` of untimed steps: threads that slept share a core
    until the operating system moves one of them, which takes about 25 ms here (a product of 512
    took 4.3 ms in the first steps after a pause, then 2.4)."""

    warmup_ms: float = 60
    lead_in_ms: float = 40
    repetition_ms: float = 40
    repetitions: int = 5

    def repetitions_for(self, step_ms: float, fastest_ms: float) -> int:
        """At most 3 for slow steps; 0 far behind the fastest, where the warm-up is the result."""
        if step_ms < SLOW_MS: return self.repetitions
        return min(self.repetitions, 3) if step_ms < FAR_BEHIND * fastest_ms else 0


QUICK = Timing(warmup_ms=20, lead_in_ms=0, repetition_ms=10, repetitions=3)

# A step of SLOW_MS or more is slow; FAR_BEHIND is its ratio to the fastest from which more
# repetitions would add minutes to the run and no information.
SLOW_MS, FAR_BEHIND = 200, 10


class ResultMismatch(Exception):
    """Two implementations computed different results, so their times must not be compared."""


def compare(runner: Runner, workload: Workload, timing: Timing) -> dict:
    """One row of a table, as JSON: times by implementation, and reasons where unsupported."""
    start = time.monotonic()
    try:
        outcomes = runner.prepare(workload, workload.implementations)
        checks = {name: o["check"] for name, o in outcomes.items() if o["check"] is not None}
        require_equal_results(workload, checks)
        times = interleave(runner, list(checks), timing)
    finally:
        runner.drop()
    return {"name": workload.name, "topic": workload.topic, "flops": workload.flops,
            "moved_bytes": workload.moved_bytes, "target": workload.target._asdict(),
            "times_ms": {name: summarize(t)._asdict() for name, t in times.items()},
            "repetitions_ms": times, "seconds": time.monotonic() - start,
            "unsupported": {name: o["reason"] for name, o in outcomes.items()
                            if o["check"] is None}}


def require_equal_results(workload: Workload, checks: Mapping[str, Sequence[float]]) -> None:
    """Compare all results with ours, or with the first one where ours is missing."""
    if not checks: return
    first = OURS if OURS in checks else next(iter(checks))
    for name, check in checks.items():
        difference = find_difference(checks[first], check, workload.tolerance)
        if difference:
            raise ResultMismatch(f"{workload.name}: {first} and {name} computed different "
                                 f"results, {difference}; compare the two programs")


def interleave(runner: Runner, names: Sequence[str], timing: Timing) -> dict[str, list[float]]:
    """Milliseconds of one step in each repetition, by implementation."""
    warm = {name: warm_up(runner, name, timing) for name in names}
    counts = {name: timing.repetitions_for(ms, min(warm.values())) for name, ms in warm.items()}
    times = {name: [] if counts[name] else [ms] for name, ms in warm.items()}
    for repetition in range(timing.repetitions):
        for name in names:
            if repetition >= counts[name]: continue
            if warm[name] < SLOW_MS and timing.lead_in_ms:
                runner.run_steps(name, steps_for(timing.lead_in_ms, warm[name]))
            steps = steps_for(timing.repetition_ms, warm[name])
            times[name].append(runner.run_steps(name, steps) / steps)
    return times


def warm_up(runner: Runner, name: str, timing: Timing) -> float:
    """Run steps while the browser's compilers optimize; returns the milliseconds of a step."""
    step_ms, spent_ms, steps = 0.0, 0.0, 1
    while spent_ms < timing.warmup_ms:
        elapsed_ms = runner.run_steps(name, steps)
        step_ms, spent_ms = elapsed_ms / steps, spent_ms + elapsed_ms
        steps = steps_for(timing.warmup_ms / 4, step_ms)
    return step_ms
