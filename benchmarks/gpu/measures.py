"""What is measured of ours alone: copies, the first call, what a step asks of the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import tensorbrook as tf
from tensorbrook.backends.webgpu.compiled_program import Commands, CompiledProgram

from .ours import Ours

COPIES, TURNS = 8, 5
# A program without steps.
NOTHING = CompiledProgram(Commands((), (), ()).to_bytes(), (), 0, (), {}, (), 0, 0, 0)


def copied(ours: Ours, size: int) -> float:
    """GB/s, read and written, of the device's own copy of a buffer."""
    host = ours.host
    source, target = host.new(size), host.new(size)
    nothing = host.load(NOTHING)

    def turn() -> float:
        ours.wait()
        start = time.perf_counter()
        host.run(nothing, (source,), [(source, target, size)] * COPIES)
        ours.wait()
        return 2 * size * COPIES / (time.perf_counter() - start) / 1e9

    turn()
    rate = median(turn() for _ in range(TURNS))
    host.unload(nothing)
    host.free(source)
    host.free(target)
    return rate


def call_microseconds(step: Callable, wait: Callable, calls: int) -> float:
    """From Python's call until it returns, while the device has nothing else to do."""
    times = []
    for _ in range(calls):
        wait()
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e6 * median(times)


def captured_step(ours: Ours, calls: int) -> float:
    """Microseconds of host time of a captured step that computes next to nothing."""
    x, v = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.Variable([1.0, 2.0, 3.0, 4.0])
    inner = tf.function(lambda x: v.assign_add(x * 0.5))
    inner(x)
    return call_microseconds(lambda: inner(x), ours.wait, calls)


def of_a_step(ours: Ours, step: Callable, calls: int) -> dict[str, float]:
    """The first call, with compiling, and what each later one asks for. Run before the rounds, or
    the pipelines are there already."""
    before = tf.config.get_counters()
    start = time.perf_counter()
    step()
    ours.wait()
    seconds = time.perf_counter() - start
    first = tf.config.get_counters()
    step()
    second = tf.config.get_counters()
    return {"first call, s": seconds, "pipelines": first["pipelines"] - before["pipelines"],
            "dispatches": second["kernels"] - first["kernels"],
            "submits": second["submits"] - first["submits"],
            "host calls": second["host_calls"] - first["host_calls"],
            "host µs": call_microseconds(step, ours.wait, calls)}
