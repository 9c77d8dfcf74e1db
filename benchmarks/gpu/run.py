"""The whole run on a GPU: measures, prints tables, writes JSON. A software adapter shows that the
command works, and its figures are marked: they say nothing about speed."""

from __future__ import annotations

import argparse
import gc
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from .. import machine
from ..statistics import median_of, significant
from ..targets import Ceiling, asked, reached, verdict
from ..native.arrays import make_arrays
from ..report import RUN, Report, tell
from ..interleaved_runs import QUICK, Disagreement, Pace, compare
from ..table import NONE, pairs_table, table
from ..workloads import OURS, Workload, wanted
from ..workloads.spec import TORCH
from . import kernels, measures, gemm_algorithms
from .ours import Ours
from .workloads import STREAM_BYTES, workloads

CAPTURED = "host µs of a captured step"
SOFTWARE = "A software adapter: these figures show that the command works, and nothing about speed."


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go")
    parser.add_argument("--into", type=Path, metavar="FILE",
                        help=f"a Markdown file: what follows its line '## {RUN}' is replaced")
    parser.add_argument("--only", action="append", metavar="NAME", default=[],
                        help="only what has a word in its name that begins so; may be "
                             "given several times")
    parser.add_argument("--small", action="store_true", help="see that it works, measure little")
    parser.add_argument("--ways", action="store_true",
                        help="time every way to make a product, too: does the backend choose well?")
    parser.add_argument("--peer", choices=("cuda", "cpu", "none"), default="cuda",
                        help="where PyTorch computes (default: cuda); cpu shows that all agree")
    return parser.parse_args(words)


class Devices:
    """Ours and PyTorch on the same machine, as an Arena (rounds.py)."""

    def __init__(self, contenders: Mapping[str, object], unable: Mapping[str, str]):
        self.contenders, self.unable, self.steps = contenders, unable, {}

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]:
        arrays = make_arrays(workload)
        return {name: self.prepared(workload, name, arrays) for name in names}

    def prepared(self, workload: Workload, name: str, arrays: dict) -> dict:
        if name in self.unable:
            return {"check": None, "reason": self.unable[name]}
        try:
            step, check = self.contenders[name].program(workload.family, arrays, workload.options)
            found = check()
        except Exception as error:  # whatever it is, the others go on and the report says it
            return {"check": None, "reason": f"{type(error).__name__}: {error}"}
        self.steps[name] = step
        return {"check": found, "reason": None}

    def turn(self, name: str, steps: int) -> float:
        """Milliseconds until the device has done all of them."""
        step, wait = self.steps[name], self.contenders[name].wait
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        return 1000 * (time.perf_counter() - start)

    def drop(self) -> None:
        self.steps.clear()
        gc.collect()


class Run:
    """What was asked for, and what has been measured so far."""

    def __init__(self, asked_for: argparse.Namespace):
        self.asked, self.pace = asked_for, QUICK if asked_for.small else Pace(warm_ms=200)
        self.report, self.failures = Report(), list[str]()
        self.ours = Ours()
        self.device_info = self.ours.host.device_info
        peer, found = with_peer(asked_for.peer)
        self.arena = Devices({OURS: self.ours, **peer}, {} if peer else {TORCH: found})
        self.describe(found)

    def describe(self, peer: str) -> None:
        found = machine.common() | {"adapter": asdict(self.device_info), "peer": peer}
        self.report.results |= {"machine": found, "says nothing about speed": self.device_info.is_software}
        text = f"{found['date']}: {self.device_info.name}; {found['cpu']}; beside it {peer}."
        self.report.show(RUN, f"{text}\n\n{SOFTWARE}" if self.device_info.is_software else text)

    def all(self) -> None:
        """Every part that was asked for, each printed as soon as it is there."""
        most = min(self.device_info.binding_bytes, self.device_info.buffer_bytes) // 256 * 256
        chosen = wanted(workloads(self.asked.small, most), self.asked.only, quick=False)
        self.alone(min(most, 1 << 20 if self.asked.small else STREAM_BYTES))
        self.steps([w for w in chosen if w.topic.startswith("Training")])
        self.report.results["rounds"] = []
        for topic, rows in groupby(chosen, lambda w: w.topic):
            found = [row for w in rows for row in self.compared(w)]
            self.report.results["rounds"] += found
            self.report.show(topic, self.compared_table(found))

        if self.asked.ways:
            ways = self.report.results["ways"] = gemm_algorithms.measure(self.ours, self.asked.small)
            self.report.show("Ways to make a product", gemm_algorithms.shown(ways))
        if self.device_info.timestamp_period_ns:
            self.clocked(chosen)

    def alone(self, size: int) -> None:
        calls = 10 if self.asked.small else 200
        found = {f"GB/s of a copy, {size >> 20} MB": measures.copied(self.ours, size),
                 CAPTURED: measures.captured_step(self.ours, calls)}
        self.copied = next(iter(found.values()))
        self.report.results["alone"] = found
        self.report.show("The device and the host", pairs_table(["", "figure"], found))

    def steps(self, chosen: Sequence[Workload]) -> None:
        """What a step of each asks for, by counts that are the same on any device."""
        found = self.report.results["steps"] = {}
        for w in chosen:
            step, _ = self.ours.program(w.family, make_arrays(w), w.options)
            found[w.name] = measures.of_a_step(self.ours, step, 3 if self.asked.small else 20)
        if not found: return
        head = ["", *next(iter(found.values()))]
        self.report.show("What a step asks for", table(head, [
            [name, *map(significant, each.values())] for name, each in found.items()]))

    def clocked(self, chosen: Sequence[Workload]) -> None:
        """What the GPU's own clock says of them, at the end: it takes programs of another kind."""
        found = self.report.results["clocked"] = {}
        for w in chosen:
            arrays = make_arrays(w)
            found[w.name] = kernels.of_a_step(
                lambda w=w, arrays=arrays: self.ours.program(w.family, arrays, w.options)[0])
            gc.collect()
        took = {row["name"]: median_of(row, OURS) for row in self.report.results["rounds"]}
        self.report.show("By the GPU's own clock", kernels.shown(found, took))

    def compared(self, workload: Workload) -> list[dict]:
        """The row of a workload; none where contenders disagree, which the run then ends with."""
        try:
            result = compare(self.arena, workload, self.pace)
        except Disagreement as error:
            self.failures.append(str(error))
            return []
        if OURS in result["unable"]:
            self.failures.append(f"{workload.name}: {OURS} cannot, {result['unable'][OURS]}")
        result["reached"] = reached(result, Ceiling(copied=self.copied), median_of(result, TORCH))
        tell(result)
        return [result]

    def compared_table(self, rounds: Sequence[dict]) -> str:
        return table(["ms", OURS, "rate", TORCH, f"{TORCH} / {OURS}", "of a copy", "goal",
                      "reached"], [self.row(each) for each in rounds])

    def row(self, result: dict) -> list[str]:
        figures, ours, torch = result["reached"], *(median_of(result, n) for n in (OURS, TORCH))
        judged = NONE if self.device_info.is_software else verdict(result["goal"], figures) or NONE
        return [result["name"], shown(ours), rate(result, ours), shown(torch),
                f"{figures['torch']:.2f}" if "torch" in figures else NONE,
                f"{figures['copied']:.0%}" if "copied" in figures else NONE,
                asked(result["goal"]) or NONE, judged]

    def write(self) -> None:
        if self.asked.json: self.report.write_json(self.asked.json)
        if self.asked.into: self.report.write_into(self.asked.into)


def with_peer(device: str) -> tuple[dict, str]:
    """PyTorch by its name, and what it is; or nothing, and why."""
    if device == "none":
        return {}, "no PyTorch, which was not asked for"
    if find_spec("torch") is None:
        return {}, "no PyTorch: it is not installed"
    peer = importlib.import_module("benchmarks.gpu.peer")
    against = peer.reason_against(device)
    return ({}, against) if against else ({TORCH: peer.Torch(device)}, peer.describe(device))


def shown(took: float | None) -> str:
    return NONE if took is None else significant(took)


def rate(result: dict, took: float | None) -> str:
    if took is None: return NONE
    if result["flops"]: return f"{significant(result['flops'] / took / 1e6)} GF/s"
    return f"{significant(result['moved_bytes'] / took / 1e6)} GB/s"


def main(words: Sequence[str] | None = None) -> int:
    run = Run(arguments(words))
    try:
        run.all()
    finally:
        run.write()
    print("\n".join(run.failures), file=sys.stderr)
    return 1 if run.failures else 0
