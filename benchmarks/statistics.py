"""Statistics of repeated measurements: medians, differences between results, formatting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from .workloads import OURS


class Summary(NamedTuple):
    """Milliseconds of a step: median, minimum and maximum over the repetitions."""

    median: float
    minimum: float
    maximum: float
    repetitions: int


def summarize(times: Sequence[float]) -> Summary:
    return Summary(median(times), min(times), max(times), len(times))


def steps_for(duration_ms: float, step_ms: float, limit: int = 100_000) -> int:
    """The number of steps that take `duration_ms`: at least one, at most `limit`."""
    return max(1, min(limit, round(duration_ms / max(step_ms, 1e-6))))


def find_difference(ours: Sequence[float], theirs: Sequence[float], tolerance: float) -> str | None:
    """The first pair of values that differ by more than `tolerance`, relative above 1; or None."""
    if len(ours) != len(theirs): return f"{len(ours)} values and {len(theirs)}"
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if not abs(a - b) <= tolerance * max(1.0, abs(a)): return f"value {i}: {a} and {b}"
    return None


def median_of(result: Mapping, implementation: str) -> float | None:
    """An implementation's milliseconds per step, or None where it does not support the row."""
    times = result["times_ms"].get(implementation)
    return times and times["median"]


def best_peer(result: Mapping) -> float | None:
    """The shortest median of the other libraries."""
    times = [t["median"] for name, t in result["times_ms"].items()
             if not name.startswith(OURS)]
    return min(times, default=None)


def significant(x: float, digits: int = 3) -> str:
    """A number with three significant digits and no exponent: 0.00213, 7.42, 128, 35400."""
    if x == 0: return "0"
    text = f"{x:.{digits}g}"
    return text if "e" not in text else f"{x:.0f}" if abs(x) >= 1 else f"{x:.6f}"
