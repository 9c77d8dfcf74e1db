"""The report of a run: printed while it is measured, then written as Markdown and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .statistics import significant
from .table import NONE, table

RUN = "The run"


class Report:
    """The sections of a run in the order in which they were measured, and all results as data."""

    def __init__(self):
        self.results: dict = {}
        self.sections: list[str] = []

    def show(self, title: str, text: str) -> None:
        """Print a section and add it to the Markdown."""
        level = "##" if title == RUN else "###"
        self.sections.append(f"{level} {title}\n\n{text}\n")
        print(self.sections[-1], flush=True)

    def write_json(self, path: Path) -> None:
        path.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")

    def write_into(self, path: Path) -> None:
        """Replace the section "The run" of a Markdown file, and all text after it."""
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        before = text.partition(f"## {RUN}\n")[0]
        path.write_text(before + "\n".join(self.sections), encoding="utf-8")


def print_progress(result: dict) -> None:
    """Print one row to stderr: its times, and why an implementation does not support it."""
    times = [f"{name} {significant(t['median'])}" for name, t in result["times_ms"].items()]
    unsupported = [f"    {name} cannot: {reason.strip().splitlines()[-1][:200]}"
                   for name, reason in result["unsupported"].items()]
    duration = f"{result['seconds']:.0f} s"
    lines = [f"  {result['name']}: {', '.join(times) or NONE} ms ({duration})", *unsupported]
    print("\n".join(lines), file=sys.stderr, flush=True)


def describe_machine(machine: dict) -> str:
    """The date, the machine and the versions of the peers, in one sentence."""
    peers = ", ".join(f"{name} {version}" for name, version in machine["peers"].items())
    return (f"{machine['date']}: {machine['cpu']}, {machine['cores']} cores, Chromium "
            f"{machine['chromium']}; {peers}.")


def sizes_table(sizes: dict[str, dict[str, int]]) -> str:
    rows = [[name, f"{size['bytes']:,}", f"{size['gzip']:,}"] for name, size in sizes.items()]
    return table(["", "bytes", "gzip"], rows)


def kernels_table(rows: Sequence[Sequence]) -> str:
    """The kernels that take two percent or more of the sum, the slowest first."""
    total = sum(microseconds for microseconds, _, _ in rows)
    shown = sorted((row for row in rows if row[0] >= total / 50), reverse=True)
    return table(["kernel", "threads", "µs", "%"], [
        [text.splitlines()[0][:70], threads, significant(us), f"{100 * us / total:.0f}"]
        for us, threads, text in shown])
