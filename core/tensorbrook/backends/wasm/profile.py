"""Programs that note the time before and after each of their steps, on every thread."""
from __future__ import annotations

import struct

from ...ir import Plan
from ..profiling import Profile, ProgramTimings
from . import Buffer, Program, Wasm
from .peak_rates import ceilings
from .compiled_program import compile_plan
from .module_codegen import STAMP, stamps_of


class Profiled(Program):
    """A program that notes the time before and after each step."""

    def __init__(self, plan: Plan, backend: Wasm, profile: Profile):
        self.each = stamps_of(len(plan.steps))
        self.timestamps = Buffer(backend, STAMP * self.each * backend.threads)
        zeros = bytes(self.timestamps.size)
        backend.host.write(self.timestamps.address, memoryview(zeros))
        host = backend.host
        super().__init__(compile_plan(plan, host.relaxed, host.shared, self.timestamps.address), backend)
        self.times = ProgramTimings(plan, profile, ["" if s.parallel else " (one thread)" for s in plan.steps])
        self.stamp_ms = float("inf")             # what noting the time takes, at least

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        with self.backend.lock:
            outputs = super().run(inputs)
            if self.id is not None:
                self._note(self.timestamps.read())
        return outputs

    def _note(self, data: bytes) -> None:
        """Take down what the threads of the last run wrote."""
        count = self.each * self.threads
        stamps = struct.unpack(f"<{count}d", data[:STAMP * count])
        threads = [stamps[i:i + self.each] for i in range(0, count, self.each)]
        self.stamp_ms = min(self.stamp_ms, *(t[1] - t[0] for t in threads))
        self.times.record_run(max(t for t in stamps) - min(t[0] for t in threads))
        for n in range(len(self.times.steps)):
            spans = [(i, t[2 + 2 * n], t[3 + 2 * n]) for i, t in enumerate(threads) if t[2 + 2 * n]]
            taken = max(end for *_, end in spans) - min(begin for _, begin, _ in spans)
            self.times.step(n, max(0.0, taken - self.stamp_ms))
            for thread, begin, end in spans:
                self.times.event(n, thread, begin, end)


class WasmProfile(Profile):
    """See backends/profile.py; a track is a thread."""

    IDLE_LABEL = "waiting for threads, and between kernels"
    PROGRAM = Profiled

    def device_label(self) -> str:
        return f"{self.backend.threads} threads"

    def track_name(self, number: int) -> str:
        return f"thread {number}"

    def peak_rates(self) -> tuple[float, float]:
        return ceilings(self.backend)
