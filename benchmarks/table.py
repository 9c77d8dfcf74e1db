"""Markdown tables of the results."""

from __future__ import annotations

from collections.abc import Sequence

from .statistics import best_peer, median_of, significant
from .targets import PeakRates, achieved, describe, upper_limit, verdict
from .workloads import OURS

NONE = "–"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it also reads as plain text."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [
        pad(head, widths), rule, *(pad(row, widths) for row in rows)])


def pad(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths))]


def times_table(results: Sequence[dict], implementations: Sequence[str]) -> str:
    """Milliseconds per step of each implementation, and the ratio of the best peer to ours."""
    head, rows = time_columns(results, implementations)
    return table(head, rows)


def targets_table(results: Sequence[dict], implementations: Sequence[str],
                  peaks: PeakRates) -> str:
    """The times, our fraction of the peak rate, the target and the verdict."""
    head, rows = time_columns(results, implementations)
    judged = [[peak_fraction(r, peaks), describe(r["target"]) or NONE,
               verdict(r["target"], achieved(r, peaks)) or NONE] for r in results]
    return table([*head, "of peak rate", "target", "result"],
                 [[*row, *more] for row, more in zip(rows, judged)])


def time_columns(results: Sequence[dict], implementations: Sequence[str]):
    used = [name for name in implementations if any(name in r["times_ms"] for r in results)]
    return (["ms", *used, "best peer / ours"],
            [[r["name"], *(time_cell(r, name) for name in used), peer_ratio(r)] for r in results])


def time_cell(result: dict, implementation: str) -> str:
    """The median time, and the rate where the workload has a number of flops."""
    ms = median_of(result, implementation)
    if ms is None: return NONE
    rate = f" ({significant(result['flops'] / ms / 1e6, 2)} GF/s)" if result["flops"] else ""
    return significant(ms) + rate


def peer_ratio(result: dict) -> str:
    best, ours = best_peer(result), median_of(result, OURS)
    return f"{best / ours:.2f}" if best and ours else NONE


def peak_fraction(result: dict, peaks: PeakRates) -> str:
    """Our rate as a fraction of the peak rate: of multiply-adds, else of copied bytes."""
    metrics = achieved(result, peaks)
    fraction = metrics.get("fma") or metrics.get("copied")
    return f"{fraction:.0%}" if fraction else NONE


def pairs_table(head: Sequence[str], pairs: dict[str, float | str]) -> str:
    """Names and values, one per row; a column of targets where a name has an upper limit."""
    rows = [[name, value if isinstance(value, str) else significant(value)]
            for name, value in pairs.items()]
    limits = [(upper_limit(name), value) for name, value in pairs.items()]
    if not any(limit for limit, _ in limits): return table(head, rows)
    judged = [NONE if limit is None
              else f"{'met' if value <= limit else 'missed'}: {limit:g} at most"
              for limit, value in limits]
    return table([*head, "target"], [[*row, target] for row, target in zip(rows, judged)])
