"""Runs a script while every kernel of its programs is timed, and tells what they took.

    python -m tensorbrook.studio.profiled script_runner.py trace.json 40 [words for the script]
"""
from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..backends.profiling import Event, Profile, ProgramTimings
from ..backends.wasm import Wasm
from ..backends.wasm.profile import WasmProfile
from ..backends.webgpu import WebGPU
from ..backends.webgpu.profile import GpuProfile
from ..eager import EAGER
from ..ir.kernel_stats import bytes_moved, flops
from . import script_runner

FAILED = 2
WIDEST = 72                      # characters of a kernel's name


class Row(NamedTuple):
    """A kernel in all runs of its program, or, where kernels have no times, a program."""

    name: str
    calls: int
    ms: float
    flops: float
    bytes: float


def main(path: str, shown: str, words: Sequence[str], trace: str = "", top: int = 40) -> int:
    """Run the script, print the tables, write the trace; returns the script's exit code."""
    if EAGER.forced_backend == "reference":
        print("tensorbrook profile: backend reference has no kernels to time; choose another one "
              "with --backend", file=sys.stderr)
        return FAILED
    folder = os.path.dirname(path)
    Wasm.profile, WebGPU.profile = profiles = WasmProfile(), GpuProfile()
    try:
        error, code = script_runner.run(path, shown, list(words))
    finally:
        Wasm.profile = WebGPU.profile = None
    if error:
        sys.stderr.write(error)
    for profile in profiles:
        if any(p.runs for p in profile.programs):
            print(table(profile, top))
    if trace:
        with open(os.path.join(folder, trace), "w", encoding="utf-8") as file:
            json.dump(trace_of(profiles), file)
    return code


# ── the table ─────────────────────────────────────────────────────────────────────────────────


def rows(profile: Profile) -> list[Row]:
    """Every kernel that ran, the dearest first."""
    found = [row for p in profile.programs for row in rows_of(p)]
    return sorted(found, key=lambda row: -row.ms)


def rows_of(p: ProgramTimings) -> list[Row]:
    kernels = [step.kernel for step in p.plan.steps]
    done, moved = list(map(flops, kernels)), list(map(bytes_moved, kernels))
    if p.runs and not any(t.calls for t in p.steps):
        return [Row(p.summary, p.runs, p.total_ms, p.runs * sum(done), p.runs * sum(moved))]
    return [Row(name, t.calls, t.busy_ms, t.calls * flops, t.calls * size)
            for name, t, flops, size in zip(p.names, p.steps, done, moved) if t.calls]


def table(profile: Profile, top: int) -> str:
    found, ceilings = rows(profile), profile.peak_rates()
    total = sum(p.total_ms for p in profile.programs)
    busy = sum(row.ms for row in found)
    head = ("kernel", "calls", "ms", "share", "GFLOP/s", "GB/s", "of ceiling")
    body = [row_cells(row, total, ceilings) for row in found[:top]]
    if found[top:]:
        body.append(remaining_row(found[top:], total))
    if busy < total:
        body.append((profile.IDLE_LABEL, "", f"{total - busy:.3f}",
                     f"{(total - busy) / total:.1%}", "", "", ""))
    can = "the machine's ceilings: {:.3g} GFLOP/s, {:.3g} GB/s".format(*ceilings) \
        if ceilings else "its ceilings are not known"
    lines = [f"{sum(p.runs for p in profile.programs)} runs of "
             f"{sum(p.runs > 0 for p in profile.programs)} programs, {total:.3f} ms on "
             f"{profile.device_label()}; {can}"]
    return "\n".join([*lines, *align_columns([head, *body])])


def row_cells(row: Row, total: float, ceilings: tuple[float, float] | None) -> tuple[str, ...]:
    name = row.name if len(row.name) <= WIDEST else row.name[:WIDEST - 1] + "…"
    first = name, str(row.calls), f"{row.ms:.3f}", f"{row.ms / max(total, 1e-9):.1%}"
    if not row.ms:                       # less than a clock's step: there is no rate to tell
        return *first, "", "", ""
    done, moved = row.flops / row.ms / 1e6, row.bytes / row.ms / 1e6
    part = max(done / ceilings[0], moved / ceilings[1]) if ceilings else None
    return *first, f"{done:.3g}", f"{moved:.3g}", "" if part is None else f"{part:.0%}"


def remaining_row(found: list[Row], total: float) -> tuple[str, ...]:
    ms = sum(row.ms for row in found)
    return (f"{len(found)} others", str(sum(row.calls for row in found)), f"{ms:.3f}",
            f"{ms / max(total, 1e-9):.1%}", "", "", "")


def align_columns(lines: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns side by side, the first one to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    for first, *others in lines:
        yield "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])


# ── the trace ─────────────────────────────────────────────────────────────────────────────────


def trace_of(profiles: Iterable[Profile]) -> dict:
    """The JSON object of the "Trace Event Format" of the Chromium project, which Perfetto reads
    too: complete events ("X") in microseconds. Each backend is a process with tracks of its own
    and begins at 0: their clocks do not tell how they stand to each other."""
    events = [event for number, profile in enumerate(profiles, 1) if profile.events
              for event in (*tracks_of(profile, number), *trace_events(profile.events, number))]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def tracks_of(profile: Profile, process: int) -> Iterator[dict]:
    """What the tracks are called."""
    for track in sorted({e.track for e in profile.events}):
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": track,
               "args": {"name": profile.track_name(track)}}


def trace_events(events: list[Event], process: int) -> Iterator[dict]:
    """In the order in which they began, a whole before its parts."""
    ordered = sorted(events, key=lambda e: (e.begin_ms, -e.duration_ms))
    start = ordered[0].begin_ms
    for e in ordered:
        yield {"ph": "X", "name": e.name, "cat": f"program {e.program}", "pid": process,
               "tid": e.track, "ts": 1e3 * (e.begin_ms - start), "dur": 1e3 * e.duration_ms,
               "args": {"program": e.program, "kernel": e.step}}


if __name__ == "__main__":
    name, out, count, *rest_of_words = sys.argv[1:]
    sys.exit(main(os.path.abspath(name), name, rest_of_words, out, int(count)))
