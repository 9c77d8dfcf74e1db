"""Markdown tables of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from .statistics import best_peer, median_of, significant
from .targets import Ceiling, asked, most, reached, verdict
from .workloads import OURS

NONE = "–"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that it also reads as plain text."""
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [
        padded(head, widths), rule, *(padded(row, widths) for row in rows)])


def padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = [cell.ljust(width) if i == 0 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(cells, widths))]
    return [first, *others]


def rounds_table(rounds: Sequence[dict], contenders: Sequence[str]) -> str:
    """Milliseconds a step of each contender that took part, and the ratio of ours to the best."""
    head, rows = side_by_side(rounds, contenders)
    return table(head, rows)


def goals_table(rounds: Sequence[dict], contenders: Sequence[str], ceiling: Ceiling) -> str:
    """The same, with what ours comes to of the ceiling, what it shall reach and what it did."""
    head, rows = side_by_side(rounds, contenders)
    judged = [[share(r, ceiling), asked(r["goal"]) or NONE,
               verdict(r["goal"], reached(r, ceiling)) or NONE] for r in rounds]
    return table([*head, "of the ceiling", "goal", "reached"],
                 [[*row, *more] for row, more in zip(rows, judged)])


def side_by_side(rounds: Sequence[dict], contenders: Sequence[str]):
    able = [name for name in contenders if any(name in r["times_ms"] for r in rounds)]
    return (["ms", *able, "best peer / ours"],
            [[r["name"], *(cell(r, name) for name in able), ratio(r)] for r in rounds])


def cell(result: dict, contender: str) -> str:
    """The median time, and the rate where the workload counts its arithmetic."""
    took = median_of(result, contender)
    if took is None: return NONE
    rate = f" ({significant(result['flops'] / took / 1e6, 2)} GF/s)" if result["flops"] else ""
    return significant(took) + rate


def ratio(result: dict) -> str:
    best, ours = best_peer(result), median_of(result, OURS)
    return f"{best / ours:.2f}" if best and ours else NONE


def share(result: dict, ceiling: Ceiling) -> str:
    """How near ours comes to the most this page can do: multiply-adds, or else bytes copied."""
    figures = reached(result, ceiling)
    found = figures.get("fma") or figures.get("copied")
    return f"{found:.0%}" if found else NONE


def pairs_table(head: Sequence[str], pairs: dict[str, float | str]) -> str:
    """Names and figures, one a row, and where any has a limit what became of it."""
    rows = [[name, value if isinstance(value, str) else significant(value)]
            for name, value in pairs.items()]
    limits = [(most(name), value) for name, value in pairs.items()]
    if not any(limit for limit, _ in limits): return table(head, rows)
    judged = [NONE if limit is None else f"{'met' if value <= limit else 'no'}: {limit:g} at most"
              for limit, value in limits]
    return table([*head, "goal"], [[*row, goal] for row, goal in zip(rows, judged)])
