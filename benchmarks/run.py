"""The whole run: builds, measures part after part, prints tables, writes JSON."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Browser

from . import ceiling, machine, page_build, start
from .browser import BenchmarkPage, benchmark_page, chromium
from .figures import significant
from .rounds import QUICK, Disagreement, Pace, compare
from .site import Site
from .sizes import sizes
from .table import pairs_table, rounds_table, table
from .workloads import CONTENDERS, LENET, MLP, NATIVE_CONTENDERS, OURS, WORKLOADS, Workload


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go")
    parser.add_argument("--only", action="append", metavar="NAME", default=[],
                        help="only what has this in its name; may be given several times")
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


PROFILED = (MLP, LENET)


class Run:
    """What was asked for, and what has been measured so far."""

    def __init__(self, asked: argparse.Namespace):
        self.asked, self.pace = asked, QUICK if asked.quick else Pace()
        self.disagreements: list[str] = []
        self.results: dict = {"sizes": sizes(), "page": {}, "native": {}}

    def wants(self, name: str) -> bool:
        only = self.asked.only
        return any(word.lower() in name.lower() for word in only) if only else True

    def chosen(self, workloads: Sequence[Workload]) -> list[Workload]:
        return [w for w in workloads if self.wants(w.name) and (w.quick or not self.asked.quick)]

    def all(self) -> None:
        """Every part that was asked for, each printed as soon as it is there."""
        with Site() as site, chromium() as browser:
            self.results["machine"] = machine.describe(browser.version)
            print(heading(self.results["machine"]), flush=True)
            for threads in self.asked.threads:
                self.in_page(browser, site.url, threads)
        if self.wants("native"):
            for threads in self.asked.threads:
                self.natively(threads)
        if self.wants("start"):
            self.start()
        if self.wants("sizes"):
            show("Sizes", sizes_table(self.results["sizes"]))

    def in_page(self, browser: Browser, url: str, threads: int) -> None:
        workloads = self.chosen(WORKLOADS)
        parts = [part for part in PARTS if self.wants(part)]
        if not (workloads or parts or self.wants("kernels")): return
        found: dict = {"workloads": []}
        self.results["page"][threads] = found
        with benchmark_page(browser, url, threads) as page:
            for part in parts:
                found[part] = PARTS[part](page, self.pace)
                show(f"{part}, threads: {threads}", pairs_table(["", "in the page"], found[part]))
            if self.wants("kernels"):
                found["kernels"] = {w.name: kernel_times(page, w, self.pace) for w in PROFILED}
                for name, rows in found["kernels"].items():
                    show(f"Kernels of the {name}, threads: {threads}", kernels_table(rows))
            for workload in workloads:
                found["workloads"] += self.compared(page, workload)
        show(f"In the page, threads: {threads}", rounds_table(found["workloads"], CONTENDERS))

    def compared(self, page: BenchmarkPage, workload: Workload) -> list[dict]:
        """The row of a workload; none where contenders disagree, which the run then ends with."""
        try:
            result = compare(page, workload, self.pace)
        except Disagreement as error:
            self.disagreements.append(str(error))
            return []
        tell(result)
        return [result]

    def natively(self, threads: int) -> None:
        rounds = measure_natively(threads, self.asked.quick)
        self.results["native"][threads] = rounds
        show(f"Natively, threads: {threads}", rounds_table(rounds, NATIVE_CONTENDERS))

    def start(self) -> None:
        found = start.measure(runs=1 if self.asked.quick else 5)
        self.results["start"] = found
        shown = {name: value for name, value in found.items() if not isinstance(value, list | dict)}
        show("Start, with nothing cached", pairs_table(["", "median"], shown))

    def write(self) -> None:
        if self.asked.json:
            self.asked.json.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")


def measure_natively(threads: int, quick: bool) -> list[dict]:
    """The rounds of a process of its own, as libraries take their threads when they start."""
    settings = {name: str(threads) for name in
                ("TENSORBROOK_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "benchmarks.native", str(threads), *["--quick"] * quick]
    done = subprocess.run(command, env=os.environ | settings | {"TENSORBROOK_BACKEND": "wasm"},
                          stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure_ceiling(page: BenchmarkPage, pace: Pace) -> dict:
    return ceiling.measure(page.ceiling, page.threads, pace.turns)


def measure_overhead(page: BenchmarkPage, pace: Pace) -> dict:
    return page.python("overhead", f"measure({200 if pace is QUICK else 2000})")


def measure_digits(page: BenchmarkPage, pace: Pace) -> dict:
    return page.python("digits", "train(0.9, 3)" if pace is QUICK else "train(0.98, 40)")


def kernel_times(page: BenchmarkPage, workload: Workload, pace: Pace) -> list:
    """What each kernel of a training step takes in the page, alone."""
    page.prepare(workload, [OURS])
    try:
        for _ in range(5):
            page.turn(OURS, 1 if pace is QUICK else 40)
        return page.python("bench", f"kernel_times({workload.name + ' tf'!r}, {20 * pace.turns})")
    finally:
        page.drop()


PARTS: dict[str, Callable[[BenchmarkPage, Pace], dict]] = {
    "ceiling": measure_ceiling, "overhead": measure_overhead, "digits": measure_digits}


def tell(result: dict) -> None:
    """A sign of life while the run goes on, and why a contender could not take part."""
    times = [f"{name} {significant(t['median'])}" for name, t in result["times_ms"].items()]
    unable = [f"    {name} cannot: {reason.strip().splitlines()[-1][:200]}"
              for name, reason in result["unable"].items()]
    lines = [f"  {result['name']}: {', '.join(times)} ms", *unable]
    print("\n".join(lines), file=sys.stderr, flush=True)


def kernels_table(rows: Sequence[Sequence]) -> str:
    """The kernels that take two percent or more of the sum, the longest first."""
    total = sum(microseconds for microseconds, _, _ in rows)
    shown = sorted((row for row in rows if row[0] >= total / 50), reverse=True)
    return table(["kernel", "how", "µs", "%"], [
        [text.splitlines()[0][:70], how, significant(took), f"{100 * took / total:.0f}"]
        for took, how, text in shown])


def show(title: str, text: str) -> None:
    print(f"\n## {title}\n\n{text}", flush=True)


def heading(found: dict) -> str:
    peers = ", ".join(f"{name} {version}" for name, version in found["peers"].items())
    return (f"# Benchmarks, {found['date']}\n\n{found['cpu']}, {found['cores']} cores, Chromium "
            f"{found['chromium']}; {peers}")


def sizes_table(found: dict[str, dict[str, int]]) -> str:
    rows = [[name, f"{size['bytes']:,}", f"{size['gzip']:,}"] for name, size in found.items()]
    return table(["", "bytes", "gzip"], rows)


def main() -> int:
    asked = arguments()
    if not asked.no_build:
        page_build.build()
    run = Run(asked)
    try:
        run.all()
    finally:
        run.write()
    print("\n".join(run.disagreements), file=sys.stderr)
    return 1 if run.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
