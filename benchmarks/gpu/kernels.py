"""How long steps keep the GPU busy by its own clock, kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable

from tensorbrook.backends.webgpu import WebGPU
from tensorbrook.backends.webgpu.profile import GpuProfile
from tensorbrook.studio.profile_runner import rows

from ..statistics import significant
from ..table import NONE, table

WARM, STEPS = 2, 5         # a driver may compile a shader late
DEAREST = 8                # kernels shown of a step


def of_a_step(make: Callable[[], Callable[[], object]]) -> dict:
    """Milliseconds of a step, with what passes between its kernels, and of its kernels; `make`
    makes the step. Its single operations stay slow, so whatever is compared goes first."""
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
    found = [{"kernel": row.name, "ms": row.ms / STEPS, "calls": row.calls / STEPS,
              "gflops": row.flops / row.ms / 1e6 if row.ms else None,
              "gbytes": row.bytes / row.ms / 1e6 if row.ms else None} for row in rows(profile)]
    return {"ms": sum(p.total_ms for p in profile.programs) / STEPS,
            "busy_ms": sum(row["ms"] for row in found), "kernels": found}


def shown(found: dict[str, dict], wall_ms: dict[str, float]) -> str:
    """Steps by the GPU's clock beside what they take, and the dearest kernels of each."""
    heads = [[name, figure(wall_ms.get(name)), figure(each["ms"]), figure(each["busy_ms"])]
             for name, each in found.items()]
    parts = [table(["ms", "a step takes", "on the GPU", "in kernels"], heads)]
    for name, each in found.items():
        body = [[row["kernel"], figure(row["calls"]), figure(row["ms"]), figure(row["gflops"]),
                 figure(row["gbytes"])] for row in each["kernels"][:DEAREST]]
        parts.append(table([name, "calls", "ms", "GFLOP/s", "GB/s"], body))
    return "\n\n".join(parts)


def figure(x: float | None) -> str:
    return NONE if x is None else significant(x)
