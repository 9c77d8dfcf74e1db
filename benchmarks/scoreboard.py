"""Scoreboard: the metrics of each row by number of threads, beside its target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .statistics import median_of, significant
from .table import NONE, table
from .targets import METRICS, PeakRates, achieved, describe, peak_rates_of, verdict
from .workloads import OURS
from .workloads.spec import TORCH


def rows(results: Mapping) -> list[dict]:
    """One row for each workload measured in the page, with its metrics by number of threads."""
    by_name: dict[str, dict] = {}
    for threads, page in results["page"].items():
        torch = {r["name"]: median_of(r, TORCH) for r in results["native"].get(threads, [])}
        peaks = peak_rates_of(page) if page["workloads"] else PeakRates()
        for result in page["workloads"]:
            row = by_name.setdefault(result["name"], {
                "name": result["name"], "target": result["target"], "threads": {}})
            row["threads"][threads] = {
                "ms": median_of(result, OURS),
                "metrics": achieved(result, peaks, torch.get(result["name"]))}
    for row in by_name.values():
        add_scaling(row["threads"])
    return list(by_name.values())


def add_scaling(threads: dict[int, dict]) -> None:
    """Add the speedup from the fewest to the most threads to the metrics of the most threads."""
    fewest, most = threads[min(threads)], threads[max(threads)]
    if fewest is not most and fewest["ms"] and most["ms"]:
        most["metrics"]["scaling"] = fewest["ms"] / most["ms"]


def format_table(rows: Sequence[Mapping]) -> str:
    """Times, metrics, target and verdict of each row."""
    counts = sorted({threads for row in rows for threads in row["threads"]})
    head = ["row", *(f"ms, {n}" for n in counts), *METRICS, "target",
            *(f"result, {n}" for n in counts)]
    return table(head, [format_row(row, counts) for row in rows])


def format_row(row: Mapping, counts: Sequence[int]) -> list[str]:
    cells = [row["threads"].get(n, {"ms": None, "metrics": {}}) for n in counts]
    return [row["name"], *(significant(each["ms"]) if each["ms"] else NONE for each in cells),
            *(format_metric(name, [each["metrics"] for each in cells]) for name in METRICS),
            describe(row["target"]) or NONE,
            *(verdict(row["target"], each["metrics"]) or NONE for each in cells)]


def format_metric(name: str, metrics: Sequence[Mapping[str, float]]) -> str:
    """The values of one metric by number of threads; scaling has a single value."""
    values = [METRICS[name].form.format(each[name]) if name in each else NONE for each in metrics]
    return values[-1] if name == "scaling" or set(values) == {NONE} else " / ".join(values)
