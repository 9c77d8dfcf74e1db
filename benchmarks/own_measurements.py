"""Measurements of Tensorbrook alone in the page: peak rates, overhead, digits, memory, kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import peak_rates
from .browser import BenchmarkPage
from .interleaved_runs import QUICK, Timing
from .workloads import OURS, Workload, inference, models

PROFILED = models.MLP, models.LENET
FIRST_CALLS = (
    models.LENET, models.GPT,
    models.gpt(width=64, depth=12)._replace(name="12-block GPT training step, width 64"),
    inference.mobilenet(), inference.bert(depth=12)._replace(name="12-layer BERT inference"))


def measure_peak_rates(page: BenchmarkPage, timing: Timing) -> dict:
    return peak_rates.measure(page.run_peak_loop, page.threads, timing.repetitions)


def measure_overhead(page: BenchmarkPage, timing: Timing) -> dict:
    return page.python("overhead", f"measure({200 if timing is QUICK else 2000})")


def measure_digits(page: BenchmarkPage, timing: Timing) -> dict:
    return page.python("digits", "train(0.9, 3)" if timing is QUICK else "train(0.98, 40)")


def measure_compile_time(page: BenchmarkPage, timing: Timing) -> dict:
    """Milliseconds of the first training step by the depth of the model, and of other sizes."""
    call = "measure((4, 8), (1, 2))" if timing is QUICK else "measure()"
    return page.python("compile_time", call)


def measure_memory(page: BenchmarkPage, timing: Timing) -> dict:
    """Arena size of each training step, and its ratio to the peak of the live bytes."""
    results = {}
    for workload in models.WORKLOADS:
        memory = call_with_step(page, workload, "memory({!r})")
        if memory is None: continue
        arena, peak_live = memory
        results[f"{workload.name}, MB"] = arena / 1e6
        results[f"{workload.name}, arena / peak live"] = arena / peak_live
    return results


def call_with_step(page: BenchmarkPage, workload: Workload, call: str) -> Any:
    """Prepare our step, then call a function of ours/step_runner.py with its name.

    None where our program cannot be prepared; the workload's own row reports the reason."""
    outcome = page.prepare(workload, [OURS])[OURS]
    try:
        if outcome["check"] is None: return None
        return page.python("step_runner", call.format(f"{workload.name} tf"))
    finally:
        page.drop()


MEASUREMENTS: dict[str, Callable[[BenchmarkPage, Timing], dict]] = {
    "peak rates": measure_peak_rates, "overhead": measure_overhead, "digits": measure_digits,
    "memory": measure_memory, "compile time": measure_compile_time}


def kernel_times(page: BenchmarkPage, workload: Workload, timing: Timing) -> list:
    """The time of each kernel of a training step, run in isolation in the page."""
    return call_with_step(page, workload, f"kernel_times({{!r}}, {20 * timing.repetitions})") or []
