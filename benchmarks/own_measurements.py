"""What is measured of ours alone, in the page: each part a function of the page and the pace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import peak_rates
from .browser import BenchmarkPage
from .interleaved_runs import QUICK, Pace
from .workloads import OURS, Workload, models

PROFILED, FIRST_CALLS = (models.MLP, models.LENET), (models.LENET, models.GPT)


def measure_ceiling(page: BenchmarkPage, pace: Pace) -> dict:
    return peak_rates.measure(page.ceiling, page.threads, pace.turns)


def measure_overhead(page: BenchmarkPage, pace: Pace) -> dict:
    return page.python("overhead", f"measure({200 if pace is QUICK else 2000})")


def measure_digits(page: BenchmarkPage, pace: Pace) -> dict:
    return page.python("digits", "train(0.9, 3)" if pace is QUICK else "train(0.98, 40)")


def measure_memory(page: BenchmarkPage, pace: Pace) -> dict:
    """What a step's intermediate results occupy, to the least that its own order allows."""
    found = {}
    for workload in models.WORKLOADS:
        memory = with_ours(page, workload, "memory({!r})")
        if memory is None: continue
        arena, least = memory
        found[f"{workload.name}, MB"] = arena / 1e6
        found[f"{workload.name}, to the least"] = arena / least
    return found


def with_ours(page: BenchmarkPage, workload: Workload, call: str) -> Any:
    """What a function of ours/bench.py says of our prepared step, whose name goes into the call;
    None where we cannot, which the workload's own row tells."""
    outcome = page.prepare(workload, [OURS])[OURS]
    try:
        if outcome["check"] is None: return None
        return page.python("bench", call.format(f"{workload.name} tf"))
    finally:
        page.drop()


PARTS: dict[str, Callable[[BenchmarkPage, Pace], dict]] = {
    "ceiling": measure_ceiling, "overhead": measure_overhead, "digits": measure_digits,
    "memory": measure_memory}


def kernel_times(page: BenchmarkPage, workload: Workload, pace: Pace) -> list:
    """What each kernel of a training step takes in the page, alone."""
    return with_ours(page, workload, f"kernel_times({{!r}}, {20 * pace.turns})") or []
