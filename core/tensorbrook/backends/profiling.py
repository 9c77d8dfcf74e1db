"""What a profile takes down: how long each kernel took inside the real runs of programs.

While the class of a backend has a Profile, the programs that it loads tell the times of their
kernels; they compute what the others compute. wasm/profile.py and webgpu/profile.py make them.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import Plan
from ..ir.printer import label

MOST_EVENTS = 200_000            # kept for a trace; later runs are counted only


@dataclass
class KernelTiming:
    """How often a step of the plan ran, and the milliseconds from its begin to its end, all calls
    together."""

    calls: int = 0
    busy_ms: float = 0.0


@dataclass(frozen=True)
class Event:
    """What one track of a backend did: milliseconds on the clock of that backend."""

    name: str
    program: int
    step: int
    track: int
    begin_ms: float
    taken_ms: float


class ProgramTimings:
    """What the runs of a program have told. `asides` say of each step what its kernel does not
    tell, `whole` what the program consists of, for where its steps have no times."""

    def __init__(self, plan: Plan, profile: Profile, suffixes: Sequence[str], whole: str = ""):
        self.plan, self.profile, self.number = plan, profile, len(profile.programs)
        self.summary = f"{self.number} {whole}"
        self.names = [f"{self.number}.{n} {label(step.kernel)}{aside}"
                      for n, (step, aside) in enumerate(zip(plan.steps, suffixes))]
        self.reset()
        profile.programs.append(self)

    def reset(self) -> None:
        """Begin anew: what ran before was to warm up."""
        self.steps = [KernelTiming() for _ in self.plan.steps]
        self.runs, self.total_ms = 0, 0.0        # those with times

    def record_run(self, taken_ms: float) -> None:
        """Note a run that took so long."""
        self.runs += 1
        self.total_ms += taken_ms

    def step(self, n: int, taken_ms: float) -> None:
        """Note that a step took so long in a run."""
        self.steps[n].calls += 1
        self.steps[n].busy_ms += taken_ms

    def event(self, step: int, track: int, begin_ms: float, end_ms: float, name: str = "") -> None:
        """Keep for the trace what a step did, or, with a name, a part of it."""
        if len(self.profile.events) < MOST_EVENTS:
            self.profile.events.append(Event(name or self.names[step], self.number, step, track,
                                             begin_ms, end_ms - begin_ms))


class Profile:
    """The programs of a backend that were made since it began, and what their runs have told."""

    IDLE_LABEL: str                             # what it calls the time that no kernel took
    # Makes a program, of (plan, backend, profile), which writes its Times into the profile.
    PROGRAM: Callable[[Plan, Any, Any], Any]

    def __init__(self):
        self.programs: list[ProgramTimings] = []
        self.events: list[Event] = []
        self.backend: Any = None                 # that of the programs, once there are any

    def program(self, plan: Plan, backend: Any) -> Any:
        """The program of a plan that tells its times."""
        self.backend = backend
        return self.PROGRAM(plan, backend, self)

    def device_label(self) -> str:
        """On what the programs ran, in words."""
        raise NotImplementedError

    def track_name(self, number: int) -> str:
        """What a track of the trace is."""
        raise NotImplementedError

    def peak_rates(self) -> tuple[float, float] | None:
        """What the machine can do at all: (GFLOP/s, GB/s read and written), measured now; None
        where that cannot be."""
        raise NotImplementedError
