"""One process in which the contenders take turns; prints its rows as JSON.

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

from ..ours.step_runner import FAMILIES
from ..report import tell
from ..interleaved_runs import QUICK, Disagreement, Pace, compare
from ..workloads import NATIVE, OURS, Workload, wanted
from ..workloads.spec import JAX_CPU, NUMPY, TORCH
from . import jax_programs, numpy_programs, torch_programs
from .arrays import make_arrays


class Process:
    """This process as an Arena (rounds.py)."""

    def __init__(self, programs: Mapping[str, Mapping[str, Callable]]):
        self.programs, self.steps = programs, {}

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]:
        arrays = make_arrays(workload)
        return {name: self.prepared(workload, name, arrays) for name in names}

    def prepared(self, workload: Workload, name: str, arrays: dict) -> dict:
        try:
            step, check = self.programs[name][workload.family](arrays, **workload.options)
            found = check()
        except Exception as error:  # whatever it is, the others go on and the report says it
            return {"check": None, "reason": f"{type(error).__name__}: {error}"}
        self.steps[name] = step
        return {"check": found, "reason": None}

    def turn(self, name: str, steps: int) -> float:
        step = self.steps[name]
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return 1000 * (time.perf_counter() - start)

    def drop(self) -> None:
        self.steps.clear()


def ours(program: Callable) -> Callable:
    """One of our programs on tensors of the arrays that the others get."""
    def prepare(arrays, **options):
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        step, arguments, check = program(tensors, "tf", **options)
        return lambda: step(*arguments), check
    return prepare


PROGRAMS = {OURS: {family: ours(program) for family, program in FAMILIES.items()},
            NUMPY: numpy_programs.PROGRAMS, JAX_CPU: jax_programs.PROGRAMS,
            TORCH: torch_programs.PROGRAMS}


def keep_to_cores(count: int) -> None:
    """XLA takes a thread for each core it may use, and can be told in no other way."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def rounds(asked: argparse.Namespace) -> tuple[list[dict], list[str]]:
    """The rows that were asked for, and what went wrong."""
    process, pace = Process(PROGRAMS), QUICK if asked.quick else Pace()
    rows, failures = [], []
    for workload in wanted(NATIVE, asked.only, asked.quick):
        try:
            rows.append(compare(process, workload, pace))
        except Disagreement as error:
            failures.append(str(error))
            continue
        tell(rows[-1])
    return rows, failures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("threads", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    asked = parser.parse_args()
    keep_to_cores(asked.threads)
    torch_programs.take_threads(asked.threads)
    rows, failures = rounds(asked)
    json.dump({"rows": rows, "failures": failures}, sys.stdout)


if __name__ == "__main__":
    main()
