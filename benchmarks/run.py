"""The whole run: builds, measures part after part, prints tables, writes JSON."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from playwright.sync_api import Browser

from . import first_call_latency, machine, page_build, scoreboard, time_to_first_step
from .browser import BenchmarkPage, benchmark_page, chromium
from .statistics import median_of
from .targets import ceiling_of
from .own_measurements import FIRST_CALLS, PARTS, PROFILED, kernel_times
from .report import RUN, Report, heading, kernels_table, sizes_table, tell
from .interleaved_runs import QUICK, Disagreement, Pace, compare
from .server import Site
from .sizes import full_wheel, sizes
from .table import goals_table, pairs_table, rounds_table
from .workloads import (
    CONTENDERS, NATIVE, NATIVE_CONTENDERS, OURS, WORKLOADS, Workload, named, wanted,
)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go")
    parser.add_argument("--into", type=Path, metavar="FILE",
                        help=f"a Markdown file: what follows its line '## {RUN}' is replaced")
    parser.add_argument("--only", action="append", metavar="NAME", default=[],
                        help="only what has a word in its name that begins so; may be "
                             "given several times")
    parser.add_argument("--threads", type=counts, default=[1, 2], metavar="N,N",
                        help="numbers of threads (default: 1,2)")
    parser.add_argument("--quick", action="store_true", help="see that it works, measure little")
    parser.add_argument("--no-build", action="store_true", help="take what was built before")
    return parser.parse_args(words)


def counts(text: str) -> list[int]:
    """Numbers of threads, separated by commas."""
    numbers = [int(word) for word in text.split(",")]
    if min(numbers) < 1: raise ValueError(text)
    return numbers


class Run:
    """What was asked for, and what has been measured so far."""

    def __init__(self, asked: argparse.Namespace):
        self.asked, self.pace = asked, QUICK if asked.quick else Pace()
        self.report, self.failures = Report(), list[str]()
        self.report.results |= {"page": {}, "native": {}}

    def wants(self, name: str) -> bool:
        return named(name, self.asked.only) if self.asked.only else True

    def all(self) -> None:
        """Every part that was asked for, each printed as soon as it is there."""
        with Site() as site, chromium() as browser:
            self.report.results["machine"] = machine.describe(browser.version)
            self.report.show(RUN, heading(self.report.results["machine"]))
            for threads in self.asked.threads:
                self.in_page(browser, site.url, threads)
        for threads in self.asked.threads:
            self.natively(threads)
        self.standing()
        if self.wants("start"):
            self.start()
        if self.wants("sizes"):
            self.sizes()

    def in_page(self, browser: Browser, url: str, threads: int) -> None:
        workloads = wanted(WORKLOADS, self.asked.only, self.asked.quick)
        parts = [part for part in [*PARTS, "kernels"]
                 if self.wants(part) or (workloads and part == "ceiling")]
        if not workloads and not parts: return
        found = self.report.results["page"][threads] = {"workloads": []}
        with benchmark_page(browser, url, threads) as page:
            for part in parts:
                self.part(page, part, found)
            for topic, rows in groupby(workloads, lambda w: w.topic):
                measured = [row for w in rows for row in self.compared(page, w)]
                found["workloads"] += measured
                self.report.show(f"{topic}, threads: {threads}",
                                 goals_table(measured, CONTENDERS, ceiling_of(found)))

    def part(self, page: BenchmarkPage, part: str, found: dict) -> None:
        """One part that is of ours alone."""
        if part in PARTS:
            found[part] = PARTS[part](page, self.pace)
            self.report.show(f"{part.capitalize()}, threads: {page.threads}",
                             pairs_table(["", "in the page"], found[part]))
            return
        found[part] = {w.name: kernel_times(page, w, self.pace) for w in PROFILED}
        for name, rows in found[part].items():
            title = f"Kernels of the {name}, threads: {page.threads}"
            self.report.show(title, kernels_table(rows))

    def compared(self, page: BenchmarkPage, workload: Workload) -> list[dict]:
        """The row of a workload; none where contenders disagree, which the run then ends with."""
        try:
            result = compare(page, workload, self.pace)
        except Disagreement as error:
            self.failures.append(str(error))
            return []
        self.failures += failures_of(result)
        if workload.same_size:
            alone = workload.same_size._replace(contenders=(OURS,))
            result["same_size_ms"] = median_of(compare(page, alone, self.pace), OURS)
        tell(result)
        return [result]

    def natively(self, threads: int) -> None:
        """All native rows where "native" is asked for, else those with the words in their names."""
        only = [] if self.wants("native") else self.asked.only
        if not wanted(NATIVE, only, self.asked.quick): return
        found, failures = native_rounds(threads, only, self.asked.quick)
        self.report.results["native"][threads] = found
        self.failures += failures
        self.report.show(f"Natively, threads: {threads}", rounds_table(found, NATIVE_CONTENDERS))

    def standing(self) -> None:
        """What each row reached, in one table."""
        rows = scoreboard.rows(self.report.results)
        if rows: self.report.show("Where it stands", scoreboard.shown(rows))

    def start(self) -> None:
        found = self.report.results["start"] = time_to_first_step.measure(1 if self.asked.quick else 5)
        found["first calls"] = first_call_latency.measure(FIRST_CALLS, 1 if self.asked.quick else 3)
        shown = {name: value for name, value in found.items() if not isinstance(value, list | dict)}
        shown |= {f"first call of the {name}, ms": ms for name, ms in found["first calls"].items()}
        self.report.show("Start, with nothing cached", pairs_table(["", "median"], shown))

    def sizes(self) -> None:
        found = self.report.results["sizes"] = sizes()
        if not self.asked.quick:
            found["full wheel"] = full_wheel()
        self.report.show("Sizes", sizes_table(found))

    def write(self) -> None:
        if self.asked.json: self.report.write_json(self.asked.json)
        if self.asked.into: self.report.write_into(self.asked.into)


def failures_of(result: Mapping) -> list[str]:
    """That ours could not do what stands in its own table."""
    reason = result["unable"].get(OURS)
    return [] if reason is None else [f"{result['name']}: {OURS} cannot, {reason}"]


def native_rounds(threads: int, only: Sequence[str], quick: bool) -> tuple[list[dict], list[str]]:
    """The rounds of a process of its own, as libraries take their threads when they start, and
    what went wrong in them."""
    settings = {name: str(threads) for name in
                ("TENSORBROOK_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.native", str(threads), *["--quick"] * quick,
               *(word for name in only for word in ("--only", name))]
    done = subprocess.run(command, env=os.environ | settings | {"TENSORBROOK_BACKEND": "wasm"},
                          stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(done.stdout)
    rows = answer["rows"]
    return rows, [*answer["failures"], *(each for row in rows for each in failures_of(row))]


def main() -> int:
    asked = arguments()
    if not asked.no_build:
        page_build.build()
    run = Run(asked)
    try:
        run.all()
    finally:
        run.write()
    print("\n".join(run.failures), file=sys.stderr)
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
