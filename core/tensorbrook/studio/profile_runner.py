"""Profile runner: runs a script, times every kernel of its programs, and prints a table.

    python -m tensorbrook.studio.profile_runner script.py trace.json 40 [arguments of the script]
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
MAX_NAME_WIDTH = 72  # characters of a kernel's name


class Row(NamedTuple):
    """The totals of a kernel over all runs, or of a program if its kernels have no times."""

    name: str
    calls: int
    ms: float
    flops: float
    bytes: float


def main(path: str, displayed: str, argv: Sequence[str], trace: str = "", top: int = 40) -> int:
    """Run a script, print the tables, write the trace; returns the script's exit code.

    `displayed` is the script's path in tracebacks, `top` the number of kernels in a table.
    """
    if EAGER.forced_backend == "reference":
        print("tensorbrook profile: backend reference has no kernels to time; choose another "
              "backend with --backend", file=sys.stderr)
        return FAILED
    folder = os.path.dirname(path)
    Wasm.profile, WebGPU.profile = profiles = WasmProfile(), GpuProfile()
    try:
        error, code = script_runner.run(path, displayed, list(argv))
    finally:
        Wasm.profile = WebGPU.profile = None
    if error:
        sys.stderr.write(error)
    for profile in profiles:
        if any(p.runs for p in profile.programs):
            print(format_table(profile, top))
    if trace:
        with open(os.path.join(folder, trace), "w", encoding="utf-8") as file:
            json.dump(chrome_trace(profiles), file)
    return code


# ── the table ─────────────────────────────────────────────────────────────────────────────────


def kernel_rows(profile: Profile) -> list[Row]:
    """The row of every kernel that ran, in order of descending time."""
    rows = [row for program in profile.programs for row in program_rows(program)]
    return sorted(rows, key=lambda row: -row.ms)


def program_rows(p: ProgramTimings) -> list[Row]:
    kernels = [step.kernel for step in p.plan.steps]
    kernel_flops, kernel_bytes = list(map(flops, kernels)), list(map(bytes_moved, kernels))
    if p.runs and not any(t.calls for t in p.steps):
        return [Row(p.summary, p.runs, p.total_ms, p.runs * sum(kernel_flops),
                    p.runs * sum(kernel_bytes))]
    return [Row(name, t.calls, t.busy_ms, t.calls * n, t.calls * size)
            for name, t, n, size in zip(p.names, p.steps, kernel_flops, kernel_bytes) if t.calls]


def format_table(profile: Profile, top: int) -> str:
    """A summary line, and a table of the `top` kernels with the most time."""
    rows, peaks = kernel_rows(profile), profile.peak_rates()
    total = sum(p.total_ms for p in profile.programs)
    busy = sum(row.ms for row in rows)
    header = ("kernel", "calls", "ms", "share", "GFLOP/s", "GB/s", "of peak")
    body = [row_cells(row, total, peaks) for row in rows[:top]]
    if rows[top:]:
        body.append(remaining_row(rows[top:], total))
    if busy < total:
        body.append((profile.IDLE_LABEL, "", f"{total - busy:.3f}",
                     f"{(total - busy) / total:.1%}", "", "", ""))
    peak_text = "the peak rates are {:.3g} GFLOP/s, {:.3g} GB/s".format(*peaks) \
        if peaks else "its peak rates are unknown"
    summary = (f"{sum(p.runs for p in profile.programs)} runs of "
               f"{sum(p.runs > 0 for p in profile.programs)} programs, {total:.3f} ms on "
               f"{profile.device_label()}; {peak_text}")
    return "\n".join([summary, *align_columns([header, *body])])


def row_cells(row: Row, total: float, peaks: tuple[float, float] | None) -> tuple[str, ...]:
    """The cells of a row; `peaks` are the peak rates in GFLOP/s and GB/s."""
    is_short = len(row.name) <= MAX_NAME_WIDTH
    name = row.name if is_short else row.name[:MAX_NAME_WIDTH - 1] + "…"
    first = name, str(row.calls), f"{row.ms:.3f}", f"{row.ms / max(total, 1e-9):.1%}"
    if not row.ms:  # below the resolution of the clock
        return *first, "", "", ""
    gflops, gbytes = row.flops / row.ms / 1e6, row.bytes / row.ms / 1e6
    fraction = f"{max(gflops / peaks[0], gbytes / peaks[1]):.0%}" if peaks else ""
    return *first, f"{gflops:.3g}", f"{gbytes:.3g}", fraction


def remaining_row(rows: list[Row], total: float) -> tuple[str, ...]:
    """One row with the sums of the kernels that the table omits."""
    ms = sum(row.ms for row in rows)
    return (f"{len(rows)} others", str(sum(row.calls for row in rows)), f"{ms:.3f}",
            f"{ms / max(total, 1e-9):.1%}", "", "", "")


def align_columns(lines: list[tuple[str, ...]]) -> Iterator[str]:
    """The lines with padded cells: the first column aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    for first, *others in lines:
        yield "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])


# ── the trace ─────────────────────────────────────────────────────────────────────────────────


def chrome_trace(profiles: Iterable[Profile]) -> dict:
    """A JSON object in Chromium's Trace Event Format, which Perfetto reads too.

    It holds complete events ("X") in microseconds. Each backend is a separate process that begins
    at 0, because the clocks of CPU and GPU are not synchronized.
    """
    events = [event for process, profile in enumerate(profiles, 1) if profile.events
              for event in (*track_names(profile, process),
                            *trace_events(profile.events, process))]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def track_names(profile: Profile, process: int) -> Iterator[dict]:
    """Metadata events with the names of the tracks."""
    for track in sorted({e.track for e in profile.events}):
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": track,
               "args": {"name": profile.track_name(track)}}


def trace_events(events: list[Event], process: int) -> Iterator[dict]:
    """Complete events ordered by their begin, an enclosing event before its parts."""
    ordered = sorted(events, key=lambda e: (e.begin_ms, -e.duration_ms))
    start = ordered[0].begin_ms
    for e in ordered:
        yield {"ph": "X", "name": e.name, "cat": f"program {e.program}", "pid": process,
               "tid": e.track, "ts": 1e3 * (e.begin_ms - start), "dur": 1e3 * e.duration_ms,
               "args": {"program": e.program, "kernel": e.step}}


if __name__ == "__main__":
    script, trace_path, top_count, *script_argv = sys.argv[1:]
    sys.exit(main(os.path.abspath(script), script, script_argv, trace_path, int(top_count)))
