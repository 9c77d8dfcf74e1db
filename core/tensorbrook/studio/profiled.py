"""Runs a script while every kernel of its programs is timed, and tells what they took.

    python -m tensorbrook.studio.profiled script.py trace.json 40 [words for the script]
"""
from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..backends.wasm import Wasm
from ..backends.wasm.ceiling import ceilings
from ..backends.wasm.profile import Profile, Profiled
from ..eager import EAGER
from ..ir.measure import bytes_moved, operations
from ..ir.text import label
from . import script

FAILED = 2
UNTIMED = {
    "reference": "backend reference has no kernels to time",
    "webgpu": "backend webgpu hands a program to the GPU as a whole and cannot tell how long each "
              "kernel takes (tf.config.get_counters() counts its dispatches and submits)"}
WIDEST = 72                      # characters of a kernel's name


class Row(NamedTuple):
    """A kernel in all runs of its program."""

    name: str
    calls: int
    ms: float
    flops: float
    bytes: float


def main(path: str, shown: str, words: Sequence[str], trace: str = "", top: int = 40) -> int:
    """Run the script, print the table, write the trace; returns the script's exit code."""
    if EAGER.chosen is None:
        EAGER.choose("wasm")                 # large programs too, where there is a GPU
    backend = EAGER.backend
    if not isinstance(backend, Wasm):
        print(f"tensorbrook profile: {UNTIMED[backend.name]}; "
              "run it on backend wasm", file=sys.stderr)
        return FAILED
    folder = os.path.dirname(path)
    backend.profile = profile = Profile()
    try:
        error, code = script.run(path, shown, list(words))
    finally:
        backend.profile = None
    if error:
        sys.stderr.write(error)
    print(table(profile, *ceilings(backend), backend.threads, top))
    if trace:
        with open(os.path.join(folder, trace), "w", encoding="utf-8") as file:
            json.dump(trace_of(profile), file)
    return code


# ── the table ─────────────────────────────────────────────────────────────────────────────────


def rows(profile: Profile) -> list[Row]:
    """Every kernel that ran, the dearest first."""
    found = [Row(name_of(p, n), t.calls, t.busy_ms, t.calls * operations(p.plan.steps[n].kernel),
                 t.calls * bytes_moved(p.plan.steps[n].kernel))
             for p in profile.programs for n, t in enumerate(p.steps) if t.calls]
    return sorted(found, key=lambda row: -row.ms)


def name_of(program: Profiled, step: int) -> str:
    one = program.plan.steps[step]
    threads = "" if one.split else " (one thread)"
    return f"{program.number}.{step} {label(one.kernel)}{threads}"


def table(profile: Profile, gflops: float, gbytes: float, threads: int, top: int) -> str:
    found = rows(profile)
    total = sum(p.total_ms for p in profile.programs)
    busy = sum(row.ms for row in found)
    head = ("kernel", "calls", "ms", "share", "GFLOP/s", "GB/s", "of ceiling")
    body = [cells(row, total, gflops, gbytes) for row in found[:top]]
    if found[top:]:
        body.append(rest(found[top:], total))
    if busy < total:
        body.append(("waiting for threads, and between kernels", "", f"{total - busy:.3f}",
                     f"{(total - busy) / total:.1%}", "", "", ""))
    lines = [f"{sum(p.runs for p in profile.programs)} runs of "
             f"{sum(p.runs > 0 for p in profile.programs)} programs, {total:.3f} ms on {threads} "
             f"threads; the machine's ceilings: {gflops:.3g} GFLOP/s, {gbytes:.3g} GB/s"]
    return "\n".join([*lines, *aligned([head, *body])])


def cells(row: Row, total: float, gflops: float, gbytes: float) -> tuple[str, ...]:
    seconds = max(row.ms, 1e-6) / 1e3
    done, moved = row.flops / seconds / 1e9, row.bytes / seconds / 1e9
    ceiling = max(done / gflops, moved / gbytes)
    name = row.name if len(row.name) <= WIDEST else row.name[:WIDEST - 1] + "…"
    return (name, str(row.calls), f"{row.ms:.3f}", f"{row.ms / max(total, 1e-9):.1%}",
            f"{done:.3g}", f"{moved:.3g}", f"{ceiling:.0%}")


def rest(found: list[Row], total: float) -> tuple[str, ...]:
    ms = sum(row.ms for row in found)
    return (f"{len(found)} others", str(sum(row.calls for row in found)), f"{ms:.3f}",
            f"{ms / max(total, 1e-9):.1%}", "", "", "")


def aligned(lines: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns side by side, the first one to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    for first, *others in lines:
        yield "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])])


# ── the trace ─────────────────────────────────────────────────────────────────────────────────


def trace_of(profile: Profile) -> dict:
    """The JSON object of the "Trace Event Format" of the Chromium project, which Perfetto reads
    too: complete events ("X") in microseconds, one track for each thread."""
    start = min((e.begin_ms for e in profile.events), default=0.0)
    names = {(p.number, n): name_of(p, n) for p in profile.programs for n in range(len(p.steps))}
    events: list[dict] = [{"ph": "M", "name": "thread_name", "pid": 1, "tid": thread,
                           "args": {"name": f"thread {thread}"}}
                          for thread in sorted({e.thread for e in profile.events})]
    events += [{"ph": "X", "name": names[e.program, e.step], "cat": f"program {e.program}",
                "pid": 1, "tid": e.thread, "ts": 1e3 * (e.begin_ms - start),
                "dur": 1e3 * e.taken_ms, "args": {"program": e.program, "kernel": e.step}}
               for e in profile.events]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


if __name__ == "__main__":
    name, out, count, *rest_of_words = sys.argv[1:]
    sys.exit(main(os.path.abspath(name), name, rest_of_words, out, int(count)))
