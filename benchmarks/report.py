"""What a run found: printed as it comes, as Markdown for people and as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .statistics import significant
from .table import NONE, table

RUN = "The run"


class Report:
    """Tables in the order in which they were measured, and all figures by part."""

    def __init__(self):
        self.results: dict = {}
        self.shown: list[str] = []

    def show(self, title: str, text: str) -> None:
        """Print a section, and keep it for a file."""
        level = "##" if title == RUN else "###"
        self.shown.append(f"{level} {title}\n\n{text}\n")
        print(self.shown[-1], flush=True)

    def write_json(self, path: Path) -> None:
        path.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")

    def write_into(self, path: Path) -> None:
        """Put the sections into a Markdown file, instead of those of the run before."""
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        kept = text.partition(f"## {RUN}\n")[0]
        path.write_text(kept + "\n".join(self.shown), encoding="utf-8")


def tell(result: dict) -> None:
    """A sign of life while the run goes on, and why a contender could not take part."""
    times = [f"{name} {significant(t['median'])}" for name, t in result["times_ms"].items()]
    unable = [f"    {name} cannot: {reason.strip().splitlines()[-1][:200]}"
              for name, reason in result["unable"].items()]
    took = f"{result['seconds']:.0f} s"
    lines = [f"  {result['name']}: {', '.join(times) or NONE} ms ({took})", *unable]
    print("\n".join(lines), file=sys.stderr, flush=True)


def heading(found: dict) -> str:
    """When, where and against whom."""
    peers = ", ".join(f"{name} {version}" for name, version in found["peers"].items())
    return (f"{found['date']}: {found['cpu']}, {found['cores']} cores, Chromium "
            f"{found['chromium']}; {peers}.")


def sizes_table(found: dict[str, dict[str, int]]) -> str:
    rows = [[name, f"{size['bytes']:,}", f"{size['gzip']:,}"] for name, size in found.items()]
    return table(["", "bytes", "gzip"], rows)


def kernels_table(rows: Sequence[Sequence]) -> str:
    """The kernels that take two percent or more of the sum, the longest first."""
    total = sum(microseconds for microseconds, _, _ in rows)
    shown = sorted((row for row in rows if row[0] >= total / 50), reverse=True)
    return table(["kernel", "how", "µs", "%"], [
        [text.splitlines()[0][:70], how, significant(took), f"{100 * took / total:.0f}"]
        for took, how, text in shown])
