"""How long each kernel takes inside real runs: programs that note the time before and after each of
their steps, on every thread.

Such programs are made while a backend has a Profile; they compute what the others compute.
"""
from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ...ir import Plan
from . import Buffer, Program, Wasm
from .image import image_of
from .program import STAMP, stamps_of

MOST_EVENTS = 200_000            # kept for a trace; later runs are counted only


@dataclass
class Timed:
    """How often a step ran, and the milliseconds from its first thread's begin to its last
    thread's end, all calls together."""

    calls: int = 0
    busy_ms: float = 0.0


@dataclass(frozen=True)
class Event:
    """One step on one thread: milliseconds on the host's clock."""

    program: int
    step: int
    thread: int
    begin_ms: float
    taken_ms: float


@dataclass
class Profile:
    """The programs made since it began, and what their runs have told."""

    programs: list[Profiled] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def program(self, plan: Plan, backend: Wasm) -> Profiled:
        made = Profiled(plan, backend, self)
        self.programs.append(made)
        return made


class Profiled(Program):
    """A program that notes the time before and after each step."""

    def __init__(self, plan: Plan, backend: Wasm, profile: Profile):
        self.plan, self.profile, self.number = plan, profile, len(profile.programs)
        self.each = stamps_of(len(plan.steps))
        self.stamps = Buffer(backend, STAMP * self.each * backend.threads)
        zeros = bytes(self.stamps.size)
        backend.host.write(self.stamps.address, memoryview(zeros))
        host = backend.host
        super().__init__(image_of(plan, host.relaxed, host.shared, self.stamps.address), backend)
        self.steps = [Timed() for _ in plan.steps]
        self.runs, self.total_ms = 0, 0.0
        self.stamp_ms = float("inf")             # what noting the time takes, at least

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        with self.backend.lock:
            outputs = super().run(inputs)
            if self.id is not None:
                self._note(self.stamps.read())
        return outputs

    def _note(self, data: bytes) -> None:
        """Take down what the threads of the last run wrote."""
        count = self.each * self.threads
        stamps = struct.unpack(f"<{count}d", data[:STAMP * count])
        threads = [stamps[i:i + self.each] for i in range(0, count, self.each)]
        self.stamp_ms = min(self.stamp_ms, *(t[1] - t[0] for t in threads))
        self.runs += 1
        self.total_ms += max(t for t in stamps) - min(t[0] for t in threads)
        for n, timed in enumerate(self.steps):
            spans = [(i, t[2 + 2 * n], t[3 + 2 * n]) for i, t in enumerate(threads) if t[2 + 2 * n]]
            timed.calls += 1
            taken = max(end for *_, end in spans) - min(begin for _, begin, _ in spans)
            timed.busy_ms += max(0.0, taken - self.stamp_ms)
            self._keep(n, spans)

    def _keep(self, step: int, spans: list[tuple[int, float, float]]) -> None:
        events = self.profile.events
        if len(events) < MOST_EVENTS:
            events += [Event(self.number, step, thread, begin, end - begin)
                       for thread, begin, end in spans]
