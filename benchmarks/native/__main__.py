"""Native comparison in one process, with interleaved runs; prints its rows as JSON.

    python -m benchmarks.native THREADS [--quick] [--only NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import tensorbrook as tf

from ..interleaved_runs import QUICK, ResultMismatch, Timing, compare
from ..ours.step_runner import FAMILIES
from ..report import print_progress
from ..workloads import NATIVE, OURS, Workload, select
from ..workloads.spec import JAX_CPU, NUMPY, TORCH
from . import jax_programs, numpy_programs, torch_programs
from .arrays import make_arrays


class NativeRunner:
    """A Runner (interleaved_runs.py) of the programs in this process."""

    def __init__(self, programs: Mapping[str, Mapping[str, Callable]]):
        self.programs, self.steps = programs, {}

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]:
        arrays = make_arrays(workload)
        return {name: self.prepare_one(workload, name, arrays) for name in names}

    def prepare_one(self, workload: Workload, name: str, arrays: dict) -> dict:
        try:
            step, check = self.programs[name][workload.family](arrays, **workload.options)
            samples = check()
        except Exception as error:  # any failure: reported, and the other implementations run
            return {"check": None, "reason": f"{type(error).__name__}: {error}"}
        self.steps[name] = step
        return {"check": samples, "reason": None}

    def run_steps(self, name: str, steps: int) -> float:
        step = self.steps[name]
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return 1000 * (time.perf_counter() - start)

    def drop(self) -> None:
        self.steps.clear()


def ours(program: Callable) -> Callable:
    """Adapt one of our programs to NumPy arrays and to the signature of the other programs."""
    def prepare(arrays, **options):
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        step, arguments, check = program(tensors, "tf", **options)
        return lambda: step(*arguments), check
    return prepare


PROGRAMS = {OURS: {family: ours(program) for family, program in FAMILIES.items()},
            NUMPY: numpy_programs.PROGRAMS, JAX_CPU: jax_programs.PROGRAMS,
            TORCH: torch_programs.PROGRAMS}


def limit_cores(count: int) -> None:
    """Set the CPU affinity: XLA starts one thread per available core and has no other setting."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def measure(options: argparse.Namespace) -> tuple[list[dict], list[str]]:
    """The selected rows, and the failures."""
    runner, timing = NativeRunner(PROGRAMS), QUICK if options.quick else Timing()
    rows, failures = [], []
    for workload in select(NATIVE, options.only, options.quick):
        try:
            rows.append(compare(runner, workload, timing))
        except ResultMismatch as error:
            failures.append(str(error))
            continue
        print_progress(rows[-1])
    return rows, failures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("threads", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    options = parser.parse_args()
    limit_cores(options.threads)
    torch_programs.set_threads(options.threads)
    rows, failures = measure(options)
    json.dump({"rows": rows, "failures": failures}, sys.stdout)


if __name__ == "__main__":
    main()
