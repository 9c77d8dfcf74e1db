"""Profiling: the times of kernels, recorded during normal runs of programs.

While the class of a backend has a Profile, the programs that it loads record the times of their
kernels; their results are unchanged. wasm/profile.py and webgpu/profile.py implement them.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import Plan
from ..ir.printer import label

MAX_EVENTS = 200_000             # of the trace; later runs are only counted


@dataclass
class KernelTiming:
    """The number of calls of a step, and the total milliseconds from begin to end."""

    calls: int = 0
    busy_ms: float = 0.0


@dataclass(frozen=True)
class Event:
    """A span on one track of a trace; times are milliseconds of the backend's clock."""

    name: str
    program: int
    step: int
    track: int
    begin_ms: float
    duration_ms: float


class ProgramTimings:
    """The recorded times of a program. `suffixes` are added to the names of its steps, and
    `description` names the program as one row if its steps have no times."""

    def __init__(self, plan: Plan, profile: Profile, suffixes: Sequence[str],
                 description: str = ""):
        self.plan, self.profile, self.number = plan, profile, len(profile.programs)
        self.summary = f"{self.number} {description}"
        self.names = [f"{self.number}.{n} {label(step.kernel)}{suffix}"
                      for n, (step, suffix) in enumerate(zip(plan.steps, suffixes))]
        self.reset()
        profile.programs.append(self)

    def reset(self) -> None:
        """Discard the recorded times, after a warm-up."""
        self.steps = [KernelTiming() for _ in self.plan.steps]
        self.runs, self.total_ms = 0, 0.0        # only recorded runs

    def record_run(self, duration_ms: float) -> None:
        """Record a run."""
        self.runs += 1
        self.total_ms += duration_ms

    def step(self, n: int, duration_ms: float) -> None:
        """Record a step of a run."""
        self.steps[n].calls += 1
        self.steps[n].busy_ms += duration_ms

    def event(self, step: int, track: int, begin_ms: float, end_ms: float, name: str = "") -> None:
        """Record a span of the trace: a step or, with a name, one of its dispatches."""
        if len(self.profile.events) < MAX_EVENTS:
            self.profile.events.append(Event(name or self.names[step], self.number, step, track,
                                             begin_ms, end_ms - begin_ms))


class Profile:
    """The programs that a backend has loaded since the profile began, with their times."""

    IDLE_LABEL: str                             # the label of time outside of kernels
    # (plan, backend, profile) -> a program that appends its ProgramTimings to the profile.
    PROGRAM: Callable[[Plan, Any, Any], Any]

    def __init__(self):
        self.programs: list[ProgramTimings] = []
        self.events: list[Event] = []
        self.backend: Any = None                 # set when the first program is loaded

    def program(self, plan: Plan, backend: Any) -> Any:
        """Load a plan as a program that records its times."""
        self.backend = backend
        return self.PROGRAM(plan, backend, self)

    def device_label(self) -> str:
        """Return a description of the device."""
        raise NotImplementedError

    def track_name(self, track: int) -> str:
        """Return the name of a track of the trace."""
        raise NotImplementedError

    def peak_rates(self) -> tuple[float, float] | None:
        """Measure the peak rates of the machine: (GFLOP/s, GB/s read and written); None if that is
        not possible."""
        raise NotImplementedError
