"""What this GPU can do at all, by its own clock: multiply-adds and copied bytes a second."""
from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from . import Buffer, WebGPU
from .compiled_program import STAMP, Binding, Commands, Dispatch, Image
from .shader_dispatch import grid
from .shader_templates import instantiate

LANES = 256                      # invocations of a workgroup, which every device takes
TURNS, CHAINS = 256, 4           # of an invocation; chains are of vec4, as the template has them
GROUPS = 256                     # workgroups at first: few enough for a processor that plays a GPU
COPIED = 64 << 20                # bytes: twice as many are more than caches hold
LONG_NS = 2e6                    # work is doubled until it takes so long: clocks move in steps
MOST_TIMES = 128                 # and so often at most: estimates, for want of a GPU
TRIES = 3


def ceilings(backend: WebGPU) -> tuple[float, float]:
    """(GFLOP/s, GB/s read and written), the best of some tries."""
    return _multiply_adds(backend), _copies(backend)


def shaders() -> tuple[str, str]:
    """The shaders of both."""
    return (instantiate("peak_multiply_add", LANES=LANES, TURNS=TURNS),
            instantiate("peak_copy", LANES=LANES))


def _multiply_adds(backend: WebGPU) -> float:
    size = LANES * 16
    out = Binding(1, 0, size, True)
    return _rate(backend, shaders()[0], (size,), 2 * 4 * CHAINS * TURNS * LANES * GROUPS,
                 lambda n: (Dispatch(0, (out,), (GROUPS * n, 1, 1)),))


def _copies(backend: WebGPU) -> float:
    x, out = Binding(1, 0, COPIED, False), Binding(2, 0, COPIED, True)
    one = Dispatch(0, (x, out), grid(COPIED // 16, LANES, backend.host.device_info.max_workgroups))
    return _rate(backend, shaders()[1], (COPIED, COPIED), 2 * COPIED, lambda n: (one,) * n)


def _rate(backend: WebGPU, shader: str, sizes: Sequence[int], work: float,
          steps: Callable[[int], tuple[Dispatch, ...]]) -> float:
    """Work a nanosecond; `steps` carry it out so many times over buffers of these sizes."""
    buffers, times = [Buffer(backend, "int32", size // 4) for size in sizes], 1
    while _nanoseconds(backend, shader, steps(times), buffers) < LONG_NS and times < MOST_TIMES:
        times *= 2
    least = min(_nanoseconds(backend, shader, steps(times), buffers) for _ in range(TRIES))
    return times * work / max(least, 1.0)


def _nanoseconds(backend: WebGPU, shader: str, steps: tuple[Dispatch, ...],
                 buffers: list[Buffer]) -> float:
    """From the first step's begin to the last one's end."""
    size = 2 * STAMP * len(steps)
    commands, slots = Commands((shader,), ("a ceiling",), steps, size), len(buffers)
    image = Image(commands.to_bytes(), (), slots, (), {}, commands.written(slots), 0, 0, 0,
                  stamps=size)
    host, stamps = backend.host, Buffer(backend, "int32", size // 4)
    program = host.load(image)
    host.run(program, [b.handle for b in (backend.arena, *buffers, stamps)])
    ticks = struct.unpack(f"<{size // STAMP}Q", stamps.read())
    host.unload(program)
    return (max(ticks) - min(ticks)) * host.device_info.timestamp_period_ns
