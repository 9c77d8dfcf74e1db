"""Where it stands: each row's figures with every number of threads beside its goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .statistics import median_of, significant
from .targets import TERMS, Ceiling, asked, ceiling_of, reached, verdict
from .table import NONE, table
from .workloads import OURS
from .workloads.spec import TORCH


def rows(results: Mapping) -> list[dict]:
    """Of each workload that was measured in the page: what it reached, by number of threads."""
    found: dict[str, dict] = {}
    for threads, page in results["page"].items():
        torch = {r["name"]: median_of(r, TORCH) for r in results["native"].get(threads, [])}
        limit = ceiling_of(page) if page["workloads"] else Ceiling()
        for result in page["workloads"]:
            row = found.setdefault(result["name"], {
                "name": result["name"], "goal": result["goal"], "threads": {}})
            row["threads"][threads] = {
                "ms": median_of(result, OURS),
                "figures": reached(result, limit, torch.get(result["name"]))}
    for row in found.values():
        add_scaling(row["threads"])
    return list(found.values())


def add_scaling(threads: dict[int, dict]) -> None:
    """What the most threads bring over the fewest is a figure of the most."""
    fewest, most = threads[min(threads)], threads[max(threads)]
    if fewest is not most and fewest["ms"] and most["ms"]:
        most["figures"]["scaling"] = fewest["ms"] / most["ms"]


def shown(found: Sequence[Mapping]) -> str:
    """One line a row: times, how they scale with threads, figures and verdicts."""
    counts = sorted({threads for row in found for threads in row["threads"]})
    head = ["row", *(f"ms, {n}" for n in counts), *TERMS, "goal",
            *(f"reached, {n}" for n in counts)]
    return table(head, [line(row, counts) for row in found])


def line(row: Mapping, counts: Sequence[int]) -> list[str]:
    at = [row["threads"].get(n, {"ms": None, "figures": {}}) for n in counts]
    return [row["name"], *(significant(each["ms"]) if each["ms"] else NONE for each in at),
            *(told(term, [each["figures"] for each in at]) for term in TERMS),
            asked(row["goal"]) or NONE,
            *(verdict(row["goal"], each["figures"]) or NONE for each in at)]


def told(term: str, figures: Sequence[Mapping[str, float]]) -> str:
    """A term's figures with each number of threads; scaling has one."""
    known = [TERMS[term].form.format(each[term]) if term in each else NONE for each in figures]
    return known[-1] if term == "scaling" or set(known) == {NONE} else " / ".join(known)
