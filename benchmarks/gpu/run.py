"""The GPU benchmark run: measure, print tables, write JSON. On a software adapter (lavapipe,
SwiftShader) it only shows that the benchmark works; the tables then say so."""

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
from ..interleaved_runs import QUICK, ResultMismatch, Timing, compare
from ..native.arrays import make_arrays
from ..report import RUN, Report, print_progress
from ..statistics import median_of, significant
from ..table import NONE, pairs_table, table
from ..targets import PeakRates, achieved, describe, verdict
from ..workloads import OURS, Workload, select
from ..workloads.spec import TORCH
from . import gemm_algorithms, kernels, measures
from .ours import Ours
from .workloads import TENSOR_BYTES, workloads

CAPTURED = "host µs of a captured step"
SOFTWARE = "A software adapter: these figures show that the command works, and nothing about speed."


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to this file")
    parser.add_argument("--into", type=Path, metavar="FILE",
                        help=f"replace the section '## {RUN}' of this Markdown file")
    parser.add_argument("--only", action="append", metavar="NAME", default=[],
                        help="measure only the rows that have a word beginning with NAME; may be "
                             "given several times")
    parser.add_argument("--small", action="store_true",
                        help="measure small sizes briefly, to see that the benchmark works")
    parser.add_argument("--algorithms", action="store_true",
                        help="also time every matrix product algorithm beside the selected one")
    parser.add_argument("--peer", choices=("cuda", "cpu", "none"), default="cuda",
                        help="device of PyTorch (default: cuda); cpu only compares results")
    return parser.parse_args(words)


class DeviceRunner:
    """A Runner (interleaved_runs.py) of Tensorbrook and PyTorch on one machine."""

    def __init__(self, implementations: Mapping[str, object], unsupported: Mapping[str, str]):
        self.implementations, self.unsupported, self.steps = implementations, unsupported, {}

    def prepare(self, workload: Workload, names: Sequence[str]) -> Mapping[str, dict]:
        arrays = make_arrays(workload)
        return {name: self.prepare_one(workload, name, arrays) for name in names}

    def prepare_one(self, workload: Workload, name: str, arrays: dict) -> dict:
        if name in self.unsupported:
            return {"check": None, "reason": self.unsupported[name]}
        implementation = self.implementations[name]
        try:
            step, check = implementation.program(workload.family, arrays, workload.options)
            samples = check()
        except Exception as error:  # any failure: reported, and the other implementations run
            return {"check": None, "reason": f"{type(error).__name__}: {error}"}
        self.steps[name] = step
        return {"check": samples, "reason": None}

    def run_steps(self, name: str, steps: int) -> float:
        """Milliseconds until the device has finished the steps."""
        step, wait = self.steps[name], self.implementations[name].wait
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait()
        return 1000 * (time.perf_counter() - start)

    def drop(self) -> None:
        self.steps.clear()
        gc.collect()


class Run:
    """The options of a run, its report, and its failures."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.timing = QUICK if options.small else Timing(warmup_ms=200)
        self.report, self.failures = Report(), list[str]()
        self.ours = Ours()
        self.device_info = self.ours.host.device_info
        peer, description = find_peer(options.peer)
        self.runner = DeviceRunner({OURS: self.ours, **peer}, {} if peer else {TORCH: description})
        self.describe(description)

    def describe(self, peer: str) -> None:
        software = self.device_info.is_software
        metadata = machine.common() | {"adapter": asdict(self.device_info), "peer": peer}
        self.report.results |= {"machine": metadata, "software adapter": software}
        text = (f"{metadata['date']}: {self.device_info.name}; {metadata['cpu']}; "
                f"compared with {peer}.")
        self.report.show(RUN, f"{text}\n\n{SOFTWARE}" if software else text)

    def measure_all(self) -> None:
        """Measure every selected part; print each as soon as it is measured."""
        small = self.options.small
        largest = min(self.device_info.binding_bytes, self.device_info.buffer_bytes) // 256 * 256
        selected = select(workloads(small, largest), self.options.only, quick=False)
        self.measure_device(min(largest, 1 << 20 if small else TENSOR_BYTES))
        self.measure_steps([w for w in selected if w.topic.startswith("Training")])
        self.report.results["workloads"] = []
        for topic, group in groupby(selected, lambda w: w.topic):
            rows = [row for w in group for row in self.measure_row(w)]
            self.report.results["workloads"] += rows
            self.report.show(topic, self.format_table(rows))
        if self.options.algorithms:
            times = self.report.results["algorithms"] = gemm_algorithms.measure(self.ours, small)
            self.report.show("Matrix product algorithms", gemm_algorithms.format_table(times))
        if self.device_info.timestamp_period_ns:
            self.measure_gpu_times(selected)

    def measure_device(self, size: int) -> None:
        calls = 10 if self.options.small else 200
        results = {f"GB/s of a copy, {size >> 20} MB": measures.copy_rate(self.ours, size),
                   CAPTURED: measures.captured_step(self.ours, calls)}
        self.copy_rate = next(iter(results.values()))
        self.report.results["device"] = results
        self.report.show("The device and the host", pairs_table(["", "value"], results))

    def measure_steps(self, selected: Sequence[Workload]) -> None:
        """Measure the counters of a training step, which are the same on every device."""
        results = self.report.results["steps"] = {}
        for w in selected:
            step, _ = self.ours.program(w.family, make_arrays(w), w.options)
            calls = 3 if self.options.small else 20
            results[w.name] = measures.measure_step(self.ours, step, calls)
        if not results: return
        head = ["", *next(iter(results.values()))]
        self.report.show("Counters of a step", table(head, [
            [name, *map(significant, each.values())] for name, each in results.items()]))

    def measure_gpu_times(self, selected: Sequence[Workload]) -> None:
        """Measure GPU times, last: timestamps need programs that are compiled differently."""
        results = self.report.results["gpu times"] = {}
        for w in selected:
            arrays = make_arrays(w)
            results[w.name] = kernels.measure_step(
                lambda w=w, arrays=arrays: self.ours.program(w.family, arrays, w.options)[0])
            gc.collect()
        wall_ms = {row["name"]: median_of(row, OURS) for row in self.report.results["workloads"]}
        self.report.show("GPU times", kernels.format_tables(results, wall_ms))

    def measure_row(self, workload: Workload) -> list[dict]:
        """The row of a workload; empty, and a failure, where implementations disagree."""
        try:
            result = compare(self.runner, workload, self.timing)
        except ResultMismatch as error:
            self.failures.append(str(error))
            return []
        if OURS in result["unsupported"]:
            reason = result["unsupported"][OURS]
            self.failures.append(f"{workload.name}: {OURS} cannot, {reason}")
        result["achieved"] = achieved(result, PeakRates(copied=self.copy_rate),
                                      median_of(result, TORCH))
        print_progress(result)
        return [result]

    def format_table(self, results: Sequence[dict]) -> str:
        return table(["ms", OURS, "rate", TORCH, f"{TORCH} / {OURS}", "of a copy", "target",
                      "result"], [self.format_row(each) for each in results])

    def format_row(self, result: dict) -> list[str]:
        metrics, (ours, torch) = result["achieved"], (median_of(result, n) for n in (OURS, TORCH))
        judged = NONE
        if not self.device_info.is_software:
            judged = verdict(result["target"], metrics) or NONE
        return [result["name"], format_ms(ours), format_rate(result, ours), format_ms(torch),
                f"{metrics['torch']:.2f}" if "torch" in metrics else NONE,
                f"{metrics['copied']:.0%}" if "copied" in metrics else NONE,
                describe(result["target"]) or NONE, judged]

    def write(self) -> None:
        if self.options.json: self.report.write_json(self.options.json)
        if self.options.into: self.report.write_into(self.options.into)


def find_peer(device: str) -> tuple[dict, str]:
    """PyTorch by its name, and its description; or nothing, and the reason."""
    if device == "none":
        return {}, "no PyTorch, which --peer none excludes"
    if find_spec("torch") is None:
        return {}, "no PyTorch: it is not installed"
    peer = importlib.import_module("benchmarks.gpu.torch_peer")
    reason = peer.unavailable_reason(device)
    return ({}, reason) if reason else ({TORCH: peer.Torch(device)}, peer.describe(device))


def format_ms(ms: float | None) -> str:
    return NONE if ms is None else significant(ms)


def format_rate(result: dict, ms: float | None) -> str:
    if ms is None: return NONE
    if result["flops"]: return f"{significant(result['flops'] / ms / 1e6)} GF/s"
    return f"{significant(result['moved_bytes'] / ms / 1e6)} GB/s"


def main(words: Sequence[str] | None = None) -> int:
    run = Run(arguments(words))
    try:
        run.measure_all()
    finally:
        run.write()
    print("\n".join(run.failures), file=sys.stderr)
    return 1 if run.failures else 0
