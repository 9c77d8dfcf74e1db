"""Measurements of Tensorbrook alone: copies, first call, host time and counters of a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import tensorbrook as tf
from tensorbrook.backends.webgpu.compiled_program import Commands, CompiledProgram

from .ours import Ours

COPIES, REPETITIONS = 8, 5
EMPTY_PROGRAM = CompiledProgram(Commands((), (), ()).to_bytes(), (), 0, (), {}, (), 0, 0, 0)


def copy_rate(ours: Ours, size: int) -> float:
    """GB/s, read and written, of a buffer-to-buffer copy on the device."""
    host = ours.host
    source, target = host.new(size), host.new(size)
    program = host.load(EMPTY_PROGRAM)

    def run_copies() -> float:
        ours.wait()
        start = time.perf_counter()
        host.run(program, (source,), [(source, target, size)] * COPIES)
        ours.wait()
        return 2 * size * COPIES / (time.perf_counter() - start) / 1e9

    run_copies()
    rate = median(run_copies() for _ in range(REPETITIONS))
    host.unload(program)
    host.free(source)
    host.free(target)
    return rate


def call_microseconds(step: Callable, wait: Callable, calls: int) -> float:
    """Host time of a call while the device is idle: the median over `calls`."""
    times = []
    for _ in range(calls):
        wait()
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e6 * median(times)


def captured_step(ours: Ours, calls: int) -> float:
    """Host microseconds of a captured step with almost no arithmetic."""
    x, v = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.Variable([1.0, 2.0, 3.0, 4.0])
    step = tf.function(lambda x: v.assign_add(x * 0.5))
    step(x)
    return call_microseconds(lambda: step(x), ours.wait, calls)


def measure_step(ours: Ours, step: Callable, calls: int) -> dict[str, float]:
    """The latency of the first call, which compiles, and the counters of a later call.

    Measure before the comparisons, which would leave all pipelines compiled."""
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
