"""Programs that note the GPU's time before and after each of their dispatches.

A GPU without timestamps tells no time of a kernel: there a run is timed as a whole by the host's
clock, from the call until the GPU is done.
"""
from __future__ import annotations

import struct
from collections import Counter
from time import perf_counter

from ...ir import Plan
from ...ir.text import label
from ..profile import Profile, Times
from . import Buffer, Program, WebGPU
from .ceiling import ceilings
from .image import STAMP
from .program import image_of

GPU = 0                          # the only track


class GpuProfile(Profile):
    """See backends/profile.py; the GPU is one track."""

    BETWEEN = "between kernels"

    def program(self, plan: Plan, backend: WebGPU) -> Profiled:
        return Profiled(plan, backend, self)

    def place(self, backend: WebGPU) -> str:
        facts = backend.host.facts
        return facts.name if facts.tick_ns else \
            f"{facts.name}, which tells no times of kernels (it has no timestamp-query): these " \
            "are whole programs by the host's clock, from the call until the GPU is done"

    def track(self, number: int) -> str:
        return "GPU"

    def ceilings(self, backend: WebGPU) -> tuple[float, float] | None:
        return ceilings(backend) if backend.host.facts.tick_ns else None


class Profiled(Program):
    """A program that notes the time before and after each dispatch, or else how long it takes."""

    def __init__(self, plan: Plan, backend: WebGPU, profile: Profile):
        self.tick_ms = backend.host.facts.tick_ns / 1e6
        image = image_of(plan, backend.host.facts, stamps=self.tick_ms > 0)
        super().__init__(image.to_bytes(), plan.graph, backend)
        self.kernels = image.kernels
        self.stamps = image.stamps // STAMP
        dispatches = Counter(number[0] for number in image.kernels)
        self.times = Times(plan, profile, [_aside(dispatches[n]) for n in range(len(plan.steps))],
                           f"{len(plan.steps)} kernels, {len(image.kernels)} dispatches")
        self.names = _names(plan, image.kernels, self.times.number)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        with self.backend.lock:
            begin = perf_counter()
            outputs = super().run(inputs)
            if self.id is None:
                return outputs
            if self.stamps:
                self._note(self.own[-1].read())
            else:
                self.backend.host.read(self.backend.arena.number, 4)     # which waits for all
                self.times.ran(1e3 * (perf_counter() - begin))
        return outputs

    def _note(self, data: bytes) -> None:
        """Take down the stamps of the last run, unless the clock was set anew meanwhile, as the
        standard allows, or another host carried the program out."""
        ticks = struct.unpack(f"<{self.stamps}Q", data)
        begins, ends = ticks[::2], ticks[1::2]
        first, last = min(begins), max(ends)
        if not first or any(begin > end for begin, end in zip(begins, ends)):
            return
        self.times.ran((last - first) * self.tick_ms)
        spans: dict[int, tuple[int, int]] = {}
        for (step, *_), begin, end in zip(self.kernels, begins, ends):
            before, after = spans.get(step, (begin, end))
            spans[step] = min(before, begin), max(after, end)
        for step, (begin, end) in spans.items():
            self.times.step(step, (end - begin) * self.tick_ms)
            self.times.event(step, GPU, begin * self.tick_ms, end * self.tick_ms)
        for (step, *_), name, begin, end in zip(self.kernels, self.names, begins, ends):
            if name:
                self.times.event(step, GPU, begin * self.tick_ms, end * self.tick_ms, name)


def _aside(dispatches: int) -> str:
    return "" if dispatches == 1 else f" ({dispatches} dispatches)"


def _names(plan: Plan, kernels: tuple[tuple[int, ...], ...], program: int) -> list[str]:
    """Of each dispatch, what to call it; one that is a whole kernel needs no name of its own."""
    many = Counter(number[0] for number in kernels)
    labels = {}
    for number in dict.fromkeys(kernels):
        step, *inside = number
        found = plan.steps[step]
        for n in inside:
            found = found.inside[n]
        labels[number] = f"{program}.{'.'.join(map(str, number))} {label(found.kernel)}"
    return [labels[number] if many[number[0]] > 1 else "" for number in kernels]
