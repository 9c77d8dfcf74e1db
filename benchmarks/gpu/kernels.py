"""GPU time of training steps and of their kernels, from the device's timestamps."""

from __future__ import annotations

from collections.abc import Callable

from tensorbrook.backends.webgpu import WebGPU
from tensorbrook.backends.webgpu.profile import GpuProfile
from tensorbrook.studio.profile_runner import kernel_rows

from ..statistics import significant
from ..table import NONE, table

WARM, STEPS = 2, 5         # a driver may compile a shader late
SHOWN = 8                  # kernels in the table of a step


def measure_step(make: Callable[[], Callable[[], object]]) -> dict:
    """Milliseconds of a step on the GPU, with and without the gaps between its kernels.

    `make` makes the step. Eager programs compiled meanwhile keep their slow timestamps, so every
    comparison of times must be finished before."""
    WebGPU.profile = profile = GpuProfile()
    try:
        step = make()
        for _ in range(WARM):
            step()
        for program in profile.programs:
            program.reset()
        for _ in range(STEPS):
            step()
    finally:
        WebGPU.profile = None
    kernels = [{"kernel": row.name, "ms": row.ms / STEPS, "calls": row.calls / STEPS,
                "gflops": row.flops / row.ms / 1e6 if row.ms else None,
                "gbytes": row.bytes / row.ms / 1e6 if row.ms else None}
               for row in kernel_rows(profile)]
    return {"ms": sum(p.total_ms for p in profile.programs) / STEPS,
            "busy_ms": sum(row["ms"] for row in kernels), "kernels": kernels}


def format_tables(steps: dict[str, dict], wall_ms: dict[str, float]) -> str:
    """GPU time beside wall time of each step, and its slowest kernels."""
    totals = [[name, cell(wall_ms.get(name)), cell(each["ms"]), cell(each["busy_ms"])]
              for name, each in steps.items()]
    tables = [table(["ms", "wall time", "on the GPU", "in kernels"], totals)]
    for name, each in steps.items():
        body = [[row["kernel"], cell(row["calls"]), cell(row["ms"]), cell(row["gflops"]),
                 cell(row["gbytes"])] for row in each["kernels"][:SHOWN]]
        tables.append(table([name, "calls", "ms", "GFLOP/s", "GB/s"], body))
    return "\n\n".join(tables)


def cell(x: float | None) -> str:
    return NONE if x is None else significant(x)
