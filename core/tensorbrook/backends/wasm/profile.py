"""Profiling on the CPU: programs that record timestamps around each step, on every thread."""
from __future__ import annotations

import struct

from ...ir import Plan
from ..profiling import Profile, ProgramTimings
from . import Buffer, Program, Wasm
from .compiled_program import compile_plan
from .module_codegen import TIMESTAMP_BYTES, timestamp_count
from .peak_rates import measure_peak_rates


class ProfiledProgram(Program):
    """A program that records a timestamp before and after each step."""

    def __init__(self, plan: Plan, backend: Wasm, profile: Profile):
        self.per_thread = timestamp_count(len(plan.steps))
        self.timestamps = Buffer(backend, TIMESTAMP_BYTES * self.per_thread * backend.threads)
        zeros = bytes(self.timestamps.size)
        backend.host.write(self.timestamps.address, memoryview(zeros))
        host, address = backend.host, self.timestamps.address
        super().__init__(compile_plan(plan, host.relaxed, host.shared, address), backend)
        suffixes = ["" if s.parallel else " (one thread)" for s in plan.steps]
        self.times = ProgramTimings(plan, profile, suffixes)
        self.overhead_ms = float("inf")          # the least time between two adjacent timestamps

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        with self.backend.lock:
            outputs = super().run(inputs)
            if self.id is not None:
                self._record(self.timestamps.read())
        return outputs

    def _record(self, data: bytes) -> None:
        """Add the timestamps of the last run to `times`."""
        n = self.per_thread
        times = struct.unpack(f"<{n * self.threads}d", data[:TIMESTAMP_BYTES * n * self.threads])
        threads = [times[i:i + n] for i in range(0, n * self.threads, n)]
        self.overhead_ms = min(self.overhead_ms, *(t[1] - t[0] for t in threads))
        self.times.record_run(max(times) - min(t[0] for t in threads))
        for step in range(len(self.times.steps)):
            first, last = 2 + 2 * step, 3 + 2 * step
            spans = [(i, t[first], t[last]) for i, t in enumerate(threads) if t[first]]
            elapsed = max(end for *_, end in spans) - min(begin for _, begin, _ in spans)
            self.times.step(step, max(0.0, elapsed - self.overhead_ms))
            for thread, begin, end in spans:
                self.times.event(step, thread, begin, end)


class WasmProfile(Profile):
    """The profile of the CPU backend (see backends/profiling.py); a track is a thread."""

    IDLE_LABEL = "waiting for threads, and between kernels"
    PROGRAM = ProfiledProgram

    def device_label(self) -> str:
        return f"{self.backend.threads} threads"

    def track_name(self, track: int) -> str:
        return f"thread {track}"

    def peak_rates(self) -> tuple[float, float]:
        return measure_peak_rates(self.backend)
