"""Programs that note the GPU's time before and after each of their dispatches.

A GPU without timestamps tells no time of a kernel: there a run is timed as a whole by the host's
clock, from the call until the GPU is done.
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
from .peak_rates import ceilings
from .compiled_program import STAMP
from .command_builder import image_of

GPU = 0                          # the only track


class Profiled(Program):
    """A program that notes the time before and after each dispatch, or else how long it takes."""

    def __init__(self, plan: Plan, backend: WebGPU, profile: GpuProfile):
        self.profile = profile
        self.tick_ms = backend.host.device_info.timestamp_period_ns / 1e6
        image = image_of(plan, backend.host.device_info, stamps=self.tick_ms > 0)
        super().__init__(image, plan.graph, backend)
        self.kernels = image.kernels
        self.stamps = image.stamps // STAMP
        whole = Counter(number[0] for number in image.kernels)
        self.times = ProgramTimings(plan, profile, [_aside(whole[n]) for n in range(len(plan.steps))],
                           f"{len(plan.steps)} kernels, {len(image.kernels)} dispatches")
        self.names = _names(plan, image.kernels, self.times.number)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        with self.backend.lock:
            begin = perf_counter()
            outputs = super().run(inputs)
            if self.id is None:
                return outputs
            if self.stamps:
                self._note(self.private_buffers[-1].read())
            else:
                self.backend.host.read_many([(self.backend.arena.handle, 4)])    # waits for all
                self.times.record_run(1e3 * (perf_counter() - begin))
        return outputs

    def _note(self, data: bytes) -> None:
        """Take down the stamps of the last run, unless the clock was set anew meanwhile, as the
        standard allows, or another host carried the program out."""
        ticks = struct.unpack(f"<{self.stamps}Q", data)
        if not in_order(ticks):
            return
        zero = self.profile.zero = self.profile.zero or ticks[0]
        spans = [((begin - zero) * self.tick_ms, (end - zero) * self.tick_ms)
                 for begin, end in one_after_the_other(ticks)]
        self.times.record_run(spans[-1][1] - spans[0][0])
        for step, own in groupby(zip(self.kernels, spans, self.names), lambda one: one[0][0]):
            parts = list(own)
            begin, end = parts[0][1][0], parts[-1][1][1]
            self.times.step(step, end - begin)
            self.times.event(step, GPU, begin, end)
            for _, (begin, end), name in parts if len(parts) > 1 else ():
                self.times.event(step, GPU, begin, end, name)


class GpuProfile(Profile):
    """See backends/profile.py; the GPU is one track."""

    IDLE_LABEL = "between kernels"
    PROGRAM = Profiled

    def __init__(self):
        super().__init__()
        self.zero = 0                        # the first stamp of all, from which times count

    def device_label(self) -> str:
        device_info = self.backend.host.device_info
        return device_info.name if device_info.timestamp_period_ns else \
            f"{device_info.name}, which tells no times of kernels (it has no timestamp-query): these " \
            "are whole programs by the host's clock, from the call until the GPU is done"

    def track_name(self, number: int) -> str:
        return "GPU"

    def peak_rates(self) -> tuple[float, float] | None:
        if self.backend.is_lost or not self.backend.host.device_info.timestamp_period_ns:
            return None
        try:
            return ceilings(self.backend)
        except (ResourceExhaustedError, UnavailableError):
            return None                      # no room for them beside what the script holds


def in_order(ticks: Sequence[int]) -> bool:
    """Whether each dispatch, of two stamps, was stamped and ended after it began."""
    return all(0 < begin <= end for begin, end in zip(ticks[::2], ticks[1::2]))


def one_after_the_other(ticks: Sequence[int]) -> Iterator[tuple[int, int]]:
    """From when to when each dispatch had the GPU. It may be called begun while the one before
    still runs: what they share counts for that one, so that nothing counts twice."""
    done = 0
    for begin, end in zip(ticks[::2], ticks[1::2]):
        begin, done = max(begin, done), max(end, done)
        yield begin, done


def _aside(dispatches: int) -> str:
    return "" if dispatches == 1 else f" ({dispatches} dispatches)"


def _names(plan: Plan, kernels: tuple[tuple[int, ...], ...], program: int) -> list[str]:
    """Of each dispatch, its kernel's number and what that does."""
    labels = {}
    for number in dict.fromkeys(kernels):
        step, *inside = number
        found = plan.steps[step]
        for n in inside:
            found = found.body[n]
        labels[number] = f"{program}.{'.'.join(map(str, number))} {label(found.kernel)}"
    return [labels[number] for number in kernels]
