"""The inputs of a workload as NumPy arrays."""

from __future__ import annotations

import numpy as np

from ..workloads import Workload


def make_arrays(workload: Workload) -> dict:
    """Random arrays with the specification of workloads/spec.py, the same in every run."""
    random = np.random.default_rng(0)
    return {name: random.integers(0, spec["classes"], spec["shape"], np.int32) if "classes" in spec
            else ((random.random(spec["shape"], np.float32) * 2 - 1) * np.float32(spec["scale"])
                  + np.float32(spec["offset"]))
            for name, spec in workload.arrays.items()}
