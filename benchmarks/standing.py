"""Where it stands: each row's figures with every number of threads beside its goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .figures import median_of, significant
from .goals import TERMS, Ceiling, asked, ceiling_of, reached, verdict
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
    return list(found.values())


def shown(found: Sequence[Mapping]) -> str:
    """One line a row: times, how they scale with threads, figures and verdicts."""
    counts = sorted({threads for row in found for threads in row["threads"]})
    head = ["row", *(f"ms, {n}" for n in counts), "scaling", *TERMS, "goal",
            *(f"reached, {n}" for n in counts)]
    return table(head, [line(row, counts) for row in found])


def line(row: Mapping, counts: Sequence[int]) -> list[str]:
    at = [row["threads"].get(n, {"ms": None, "figures": {}}) for n in counts]
    times = [each["ms"] for each in at]
    scaling = f"{times[0] / times[-1]:.2f}" if len(at) > 1 and all(times) else NONE
    return [row["name"], *(significant(ms) if ms else NONE for ms in times), scaling,
            *(" / ".join(told(term, each["figures"]) for each in at) for term in TERMS),
            asked(row["goal"]) or NONE,
            *(verdict(row["goal"], each["figures"]) or NONE for each in at)]


def told(term: str, figures: Mapping[str, float]) -> str:
    return TERMS[term].form.format(figures[term]) if term in figures else NONE
