"""Peak rates of the GPU, by its own clock: multiply-adds and copied bytes per second."""
from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from . import Buffer, WebGPU
from .compiled_program import TIMESTAMP_BYTES, Binding, Commands, CompiledProgram, Dispatch
from .shader_dispatch import grid
from .shader_templates import instantiate

LANES = 256                      # invocations of a workgroup, which every device supports
STEPS, CHAINS = 256, 4           # of an invocation; CHAINS, each of a vec4, as in the template
GROUPS = 256                     # initial number of workgroups: few enough for a software adapter
COPY_BYTES = 64 << 20            # source and target together exceed caches
MIN_NS = 2e6                     # work is doubled until it takes this long: clocks are coarse
MAX_REPEATS = 128                # limit of the doubling: heuristic; not tuned on hardware
TRIES = 3


def measure_peak_rates(backend: WebGPU) -> tuple[float, float]:
    """Return (GFLOP/s, GB/s read and written), the best of several tries."""
    return _multiply_adds(backend), _copies(backend)


def shaders() -> tuple[str, str]:
    """Return the shaders of the two measurements."""
    return (instantiate("peak_multiply_add", LANES=LANES, STEPS=STEPS),
            instantiate("peak_copy", LANES=LANES))


def _multiply_adds(backend: WebGPU) -> float:
    size = LANES * 16
    out = Binding(1, 0, size, True)
    return _rate(backend, shaders()[0], (size,), 2 * 4 * CHAINS * STEPS * LANES * GROUPS,
                 lambda n: (Dispatch(0, (out,), (GROUPS * n, 1, 1)),))


def _copies(backend: WebGPU) -> float:
    x, out = Binding(1, 0, COPY_BYTES, False), Binding(2, 0, COPY_BYTES, True)
    max_workgroups = backend.host.device_info.max_workgroups
    copy = Dispatch(0, (x, out), grid(COPY_BYTES // 16, LANES, max_workgroups))
    return _rate(backend, shaders()[1], (COPY_BYTES, COPY_BYTES), 2 * COPY_BYTES,
                 lambda n: (copy,) * n)


def _rate(backend: WebGPU, shader: str, sizes: Sequence[int], work: float,
          steps: Callable[[int], tuple[Dispatch, ...]]) -> float:
    """Return work per nanosecond; `steps(n)` does the work n times on buffers of these sizes."""
    buffers, n = [Buffer(backend, "int32", size // 4) for size in sizes], 1
    while _nanoseconds(backend, shader, steps(n), buffers) < MIN_NS and n < MAX_REPEATS:
        n *= 2
    min_ns = min(_nanoseconds(backend, shader, steps(n), buffers) for _ in range(TRIES))
    return n * work / max(min_ns, 1.0)


def _nanoseconds(backend: WebGPU, shader: str, steps: tuple[Dispatch, ...],
                 buffers: list[Buffer]) -> float:
    """Return the time from the beginning of the first step to the end of the last one."""
    size = 2 * TIMESTAMP_BYTES * len(steps)
    commands, slots = Commands((shader,), ("a peak rate",), steps, size), len(buffers)
    compiled = CompiledProgram(commands.to_bytes(), (), slots, (), {},
                               commands.written_slots(slots), 0, 0, 0, timestamp_buffer_bytes=size)
    host, timestamps = backend.host, Buffer(backend, "int32", size // 4)
    program = host.load(compiled)
    host.run(program, [b.handle for b in (backend.arena, *buffers, timestamps)])
    ticks = struct.unpack(f"<{size // TIMESTAMP_BYTES}Q", timestamps.read())
    host.unload(program)
    return (max(ticks) - min(ticks)) * host.device_info.timestamp_period_ns
