"""Ours through wasmtime beside NumPy and JAX on this machine's own instructions, in one process."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

import tensorbrook as tf

from . import jax_programs, numpy_programs
from .ours import gemm as our_gemm
from .ours import training
from .rounds import QUICK, Pace, compare
from .workloads import JAX_CPU, NATIVE, NUMPY, OURS, Workload


class Process:
    """This process as an Arena (rounds.py)."""

    def __init__(self, programs: Mapping[str, Mapping[str, Callable]]):
        self.programs, self.steps = programs, {}

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]:
        arrays = make_arrays(workload)
        return {name: self.prepared(workload, name, arrays) for name in names}

    def prepared(self, workload: Workload, name: str, arrays: dict) -> dict:
        step, check = self.programs[name][workload.family](arrays, **workload.options)
        found = check()
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


def make_arrays(workload: Workload) -> dict:
    """The inputs as NumPy arrays: floats in [-scale, scale), or labels below `classes`."""
    random = np.random.default_rng(0)
    return {name: random.integers(0, spec["classes"], spec["shape"], np.int32) if "classes" in spec
            else ((random.random(spec["shape"], np.float32) * 2 - 1) * np.float32(spec["scale"]))
            for name, spec in workload.arrays.items()}


def ours(program: Callable) -> Callable:
    """One of our programs on tensors of the arrays that the others get."""
    def prepare(arrays, **options):
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        step, arguments, check = program(tensors, "tf", **options)
        return lambda: step(*arguments), check
    return prepare


PROGRAMS = {OURS: {"gemm": ours(our_gemm.step), "mlp": ours(training.mlp)},
            NUMPY: numpy_programs.PROGRAMS, JAX_CPU: jax_programs.PROGRAMS}


def keep_to_cores(count: int) -> None:
    """XLA takes a thread for each core it may use, and can be told in no other way."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("threads", type=int)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    keep_to_cores(asked.threads)
    process, pace = Process(PROGRAMS), QUICK if asked.quick else Pace()
    chosen = [w for w in NATIVE if w.quick or not asked.quick]
    print(json.dumps([compare(process, workload, pace) for workload in chosen]))


if __name__ == "__main__":
    main()
