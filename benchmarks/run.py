"""The benchmark run: build, measure each part, print tables, write JSON."""

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
from .interleaved_runs import QUICK, ResultMismatch, Timing, compare
from .own_measurements import FIRST_CALLS, MEASUREMENTS, PROFILED, kernel_times
from .report import RUN, Report, describe_machine, kernels_table, print_progress, sizes_table
from .server import Site
from .sizes import full_wheel, sizes
from .statistics import median_of
from .table import pairs_table, targets_table, times_table
from .targets import peak_rates_of
from .workloads import (
    IMPLEMENTATIONS, NATIVE, NATIVE_IMPLEMENTATIONS, OURS, WORKLOADS, Workload, matches, select,
)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to this file")
    parser.add_argument("--into", type=Path, metavar="FILE",
                        help=f"replace the section '## {RUN}' of this Markdown file")
    parser.add_argument("--only", action="append", metavar="NAME", default=[],
                        help="measure only the rows and parts that have a word beginning with "
                             "NAME; may be given several times")
    parser.add_argument("--threads", type=thread_counts, default=[1, 2], metavar="N,N",
                        help="thread counts to measure (default: 1,2)")
    parser.add_argument("--quick", action="store_true",
                        help="measure few rows briefly, to see that the benchmark works")
    parser.add_argument("--no-build", action="store_true", help="use the existing build")
    return parser.parse_args(words)


def thread_counts(text: str) -> list[int]:
    """Parse thread counts separated by commas."""
    counts = [int(word) for word in text.split(",")]
    if min(counts) < 1: raise ValueError(text)
    return counts


class Run:
    """The options of a run, its report, and its failures."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.timing = options, QUICK if options.quick else Timing()
        self.report, self.failures = Report(), list[str]()
        self.report.results |= {"page": {}, "native": {}}

    def is_selected(self, name: str) -> bool:
        return matches(name, self.options.only) if self.options.only else True

    def measure_all(self) -> None:
        """Measure every selected part; print each as soon as it is measured."""
        with Site() as site, chromium() as browser:
            self.report.results["machine"] = machine.describe(browser.version)
            self.report.show(RUN, describe_machine(self.report.results["machine"]))
            for threads in self.options.threads:
                self.measure_page(browser, site.url, threads)
        for threads in self.options.threads:
            self.measure_natively(threads)
        self.show_scoreboard()
        if self.is_selected("startup"):
            self.measure_startup()
        if self.is_selected("sizes"):
            self.measure_sizes()

    def measure_page(self, browser: Browser, url: str, threads: int) -> None:
        workloads = select(WORKLOADS, self.options.only, self.options.quick)
        parts = [part for part in [*MEASUREMENTS, "kernels"]
                 if self.is_selected(part) or (workloads and part == "peak rates")]
        if not workloads and not parts: return
        results = self.report.results["page"][threads] = {"workloads": []}
        with benchmark_page(browser, url, threads) as page:
            for part in parts:
                self.measure_part(page, part, results)
            for topic, rows in groupby(workloads, lambda w: w.topic):
                measured = [row for w in rows for row in self.measure_row(page, w)]
                results["workloads"] += measured
                self.report.show(f"{topic}, threads: {threads}",
                                 targets_table(measured, IMPLEMENTATIONS, peak_rates_of(results)))

    def measure_part(self, page: BenchmarkPage, part: str, results: dict) -> None:
        """Measure one part that concerns Tensorbrook alone."""
        if part in MEASUREMENTS:
            results[part] = MEASUREMENTS[part](page, self.timing)
            self.report.show(f"{part.capitalize()}, threads: {page.threads}",
                             pairs_table(["", "in the page"], results[part]))
            return
        results[part] = {w.name: kernel_times(page, w, self.timing) for w in PROFILED}
        for name, rows in results[part].items():
            title = f"Kernels of the {name}, threads: {page.threads}"
            self.report.show(title, kernels_table(rows))

    def measure_row(self, page: BenchmarkPage, workload: Workload) -> list[dict]:
        """The row of a workload; empty, and a failure, where implementations disagree."""
        try:
            result = compare(page, workload, self.timing)
        except ResultMismatch as error:
            self.failures.append(str(error))
            return []
        self.failures += failures_of(result)
        if workload.same_size_gemm:
            gemm = workload.same_size_gemm._replace(implementations=(OURS,))
            result["same_size_gemm_ms"] = median_of(compare(page, gemm, self.timing), OURS)
        print_progress(result)
        return [result]

    def measure_natively(self, threads: int) -> None:
        """Measure all native rows if "native" is selected, else those that `--only` matches."""
        only = [] if self.is_selected("native") else self.options.only
        if not select(NATIVE, only, self.options.quick): return
        rows, failures = native_rows(threads, only, self.options.quick)
        self.report.results["native"][threads] = rows
        self.failures += failures
        self.report.show(f"Natively, threads: {threads}", times_table(rows, NATIVE_IMPLEMENTATIONS))

    def show_scoreboard(self) -> None:
        """Show the results and targets of all rows in one table."""
        rows = scoreboard.rows(self.report.results)
        if rows: self.report.show("Scoreboard", scoreboard.format_table(rows))

    def measure_startup(self) -> None:
        quick = self.options.quick
        results = self.report.results["startup"] = time_to_first_step.measure(1 if quick else 5)
        results["first calls"] = first_call_latency.measure(FIRST_CALLS, 1 if quick else 3)
        shown = {name: value for name, value in results.items()
                 if not isinstance(value, list | dict)}
        shown |= {f"first call of the {name}, ms": ms
                  for name, ms in results["first calls"].items()}
        self.report.show("Startup with an empty cache", pairs_table(["", "median"], shown))

    def measure_sizes(self) -> None:
        results = self.report.results["sizes"] = sizes()
        if not self.options.quick:
            results["full wheel"] = full_wheel()
        self.report.show("Sizes", sizes_table(results))

    def write(self) -> None:
        if self.options.json: self.report.write_json(self.options.json)
        if self.options.into: self.report.write_into(self.options.into)


def failures_of(result: Mapping) -> list[str]:
    """The failure of a row that Tensorbrook itself does not support."""
    reason = result["unsupported"].get(OURS)
    return [] if reason is None else [f"{result['name']}: {OURS} cannot, {reason}"]


def native_rows(threads: int, only: Sequence[str], quick: bool) -> tuple[list[dict], list[str]]:
    """Rows and failures of benchmarks.native, run in a separate process: the libraries read their
    numbers of threads when they start."""
    settings = {name: str(threads) for name in
                ("TENSORBROOK_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.native", str(threads), *["--quick"] * quick,
               *(word for name in only for word in ("--only", name))]
    done = subprocess.run(command, env=os.environ | settings | {"TENSORBROOK_BACKEND": "wasm"},
                          stdout=subprocess.PIPE, text=True, check=True)
    output = json.loads(done.stdout)
    rows = output["rows"]
    return rows, [*output["failures"], *(each for row in rows for each in failures_of(row))]


def main() -> int:
    options = arguments()
    if not options.no_build:
        page_build.build()
    run = Run(options)
    try:
        run.measure_all()
    finally:
        run.write()
    print("\n".join(run.failures), file=sys.stderr)
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
