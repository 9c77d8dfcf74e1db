"""Profiling: programs that record GPU timestamps before and after each dispatch.

A GPU without timestamps cannot time kernels: a run is then timed as a whole by the host's clock,
from the call until the GPU is done.
"""
from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from time import perf_counter

from ...base.errors import ResourceExhaustedError, UnavailableError
from ...ir import Plan
from ...ir.printer import label
from ..profiling import Profile, ProgramTimings
from . import Buffer, Program, WebGPU
from .command_builder import compile_plan
from .compiled_program import TIMESTAMP_BYTES
from .peak_rates import measure_peak_rates

GPU = 0                          # the only track


class ProfiledProgram(Program):
    """A program that records the times of its dispatches, or of whole runs."""

    def __init__(self, plan: Plan, backend: WebGPU, profile: GpuProfile):
        self.profile = profile
        self.tick_ms = backend.host.device_info.timestamp_period_ns / 1e6
        compiled = compile_plan(plan, backend.host.device_info, timestamps=self.tick_ms > 0)
        super().__init__(compiled, plan.graph, backend)
        self.kernel_paths = compiled.kernel_paths
        self.num_timestamps = compiled.timestamp_buffer_bytes // TIMESTAMP_BYTES
        dispatches = Counter(step for step, *_ in compiled.kernel_paths)
        self.times = ProgramTimings(
            plan, profile, [_suffix(dispatches[n]) for n in range(len(plan.steps))],
            f"{len(plan.steps)} kernels, {len(compiled.kernel_paths)} dispatches")
        self.names = _dispatch_names(plan, compiled.kernel_paths, self.times.number)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        with self.backend.lock:
            begin = perf_counter()
            outputs = super().run(inputs)
            if self.id is None:
                return outputs
            if self.num_timestamps:
                self._record(self.private_buffers[-1].read())
            else:
                # A read waits for all earlier commands.
                self.backend.host.read_many([(self.backend.arena.handle, 4)])
                self.times.record_run(1e3 * (perf_counter() - begin))
        return outputs

    def _record(self, data: bytes) -> None:
        """Record the timestamps of the last run, unless they are invalid: the standard allows the
        clock to be reset, and a fallback host writes none."""
        ticks = struct.unpack(f"<{self.num_timestamps}Q", data)
        if not timestamps_are_valid(ticks):
            return
        zero = self.profile.zero = self.profile.zero or ticks[0]
        spans = [((begin - zero) * self.tick_ms, (end - zero) * self.tick_ms)
                 for begin, end in serialized_spans(ticks)]
        self.times.record_run(spans[-1][1] - spans[0][0])
        dispatches = zip(self.kernel_paths, spans, self.names)
        for step, group in groupby(dispatches, lambda dispatch: dispatch[0][0]):
            of_step = list(group)
            begin, end = of_step[0][1][0], of_step[-1][1][1]
            self.times.step(step, end - begin)
            self.times.event(step, GPU, begin, end)
            for _, (begin, end), name in of_step if len(of_step) > 1 else ():
                self.times.event(step, GPU, begin, end, name)


class GpuProfile(Profile):
    """See backends/profiling.py; the GPU is one track."""

    IDLE_LABEL = "between kernels"
    PROGRAM = ProfiledProgram

    def __init__(self):
        super().__init__()
        self.zero = 0                        # the first timestamp, to which times are relative

    def device_label(self) -> str:
        device_info = self.backend.host.device_info
        return device_info.name if device_info.timestamp_period_ns else \
            f"{device_info.name}, which cannot time kernels (it has no timestamp-query): these " \
            "are whole programs by the host's clock, from the call until the GPU is done"

    def track_name(self, track: int) -> str:
        return "GPU"

    def peak_rates(self) -> tuple[float, float] | None:
        if self.backend.is_lost or not self.backend.host.device_info.timestamp_period_ns:
            return None
        try:
            return measure_peak_rates(self.backend)
        except (ResourceExhaustedError, UnavailableError):
            return None                      # no memory for the buffers, or no device


def timestamps_are_valid(ticks: Sequence[int]) -> bool:
    """Whether each pair of timestamps was written and is in order."""
    return all(0 < begin <= end for begin, end in zip(ticks[::2], ticks[1::2]))


def serialized_spans(ticks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Return the span of each dispatch, without overlaps. A dispatch may begin while the previous
    one still runs; the time that the two share counts for the previous one."""
    previous_end = 0
    for begin, end in zip(ticks[::2], ticks[1::2]):
        begin, previous_end = max(begin, previous_end), max(end, previous_end)
        yield begin, previous_end


def _suffix(dispatches: int) -> str:
    return "" if dispatches == 1 else f" ({dispatches} dispatches)"


def _dispatch_names(plan: Plan, kernel_paths: tuple[tuple[int, ...], ...],
                    program: int) -> list[str]:
    """Return for each dispatch the path and the label of its kernel."""
    names = {}
    for path in dict.fromkeys(kernel_paths):
        first, *inner = path
        step = plan.steps[first]
        for n in inner:
            step = step.body[n]
        names[path] = f"{program}.{'.'.join(map(str, path))} {label(step.kernel)}"
    return [names[path] for path in kernel_paths]
