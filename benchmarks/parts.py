"""What is measured of ours alone, in the page: each part a function of the page and the pace."""

from __future__ import annotations

from collections.abc import Callable

from . import ceiling
from .browser import BenchmarkPage
from .rounds import QUICK, Pace
from .workloads import OURS, Workload
from .workloads.models import LENET, MLP

PROFILED = (MLP, LENET)


def measure_ceiling(page: BenchmarkPage, pace: Pace) -> dict:
    return ceiling.measure(page.ceiling, page.threads, pace.turns)


def measure_overhead(page: BenchmarkPage, pace: Pace) -> dict:
    return page.python("overhead", f"measure({200 if pace is QUICK else 2000})")


def measure_digits(page: BenchmarkPage, pace: Pace) -> dict:
    return page.python("digits", "train(0.9, 3)" if pace is QUICK else "train(0.98, 40)")


PARTS: dict[str, Callable[[BenchmarkPage, Pace], dict]] = {
    "ceiling": measure_ceiling, "overhead": measure_overhead, "digits": measure_digits}


def kernel_times(page: BenchmarkPage, workload: Workload, pace: Pace) -> list:
    """What each kernel of a training step takes in the page, alone."""
    page.prepare(workload, [OURS])
    try:
        page.turn(OURS, 10 * pace.turns)
        return page.python("bench", f"kernel_times({workload.name + ' tf'!r}, {20 * pace.turns})")
    finally:
        page.drop()
