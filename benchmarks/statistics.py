"""What is said of repeated measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from .workloads import OURS


class Summary(NamedTuple):
    """Milliseconds a step took: the middle, the least and the most of some turns."""

    median: float
    least: float
    most: float
    turns: int


def summary(times: Sequence[float]) -> Summary:
    return Summary(median(times), min(times), max(times), len(times))


def steps_for(turn_ms: float, step_ms: float, most: int = 100_000) -> int:
    """How many steps fill a turn."""
    return max(1, min(most, round(turn_ms / max(step_ms, 1e-6))))


def difference(ours: Sequence[float], theirs: Sequence[float], tolerance: float) -> str | None:
    """Where two contenders' figures differ by more than `tolerance`, relative above one."""
    if len(ours) != len(theirs): return f"{len(ours)} figures and {len(theirs)}"
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if not abs(a - b) <= tolerance * max(1.0, abs(a)): return f"figure {i}: {a} and {b}"
    return None


def median_of(result: Mapping, contender: str) -> float | None:
    """The milliseconds of a step, where the contender could take part."""
    times = result["times_ms"].get(contender)
    return times and times["median"]


def best_peer(result: Mapping) -> float | None:
    """The least median among those that are not ours."""
    times = [t["median"] for name, t in result["times_ms"].items()
             if not name.startswith(OURS)]
    return min(times, default=None)


def significant(x: float, digits: int = 3) -> str:
    """A number as people write it: 0.00213, 7.42, 128, 35400."""
    if x == 0: return "0"
    text = f"{x:.{digits}g}"
    return text if "e" not in text else f"{x:.0f}" if abs(x) >= 1 else f"{x:.6f}"
