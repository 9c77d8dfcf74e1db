"""Markdown tables of what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from .figures import significant
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


def rounds_table(rounds: Sequence[dict], contenders: Sequence[str],
                 ceiling: float | None = None) -> str:
    """Milliseconds a step of each contender, and how many times faster ours is than the peers."""
    rows = [[r["name"], *(cell(r, name) for name in contenders), ratio(r), share(r, ceiling)]
            for r in rounds]
    return table(["ms", *contenders, "best peer / ours", "of the ceiling"], rows)


def cell(result: dict, contender: str) -> str:
    """The median time, and the rate where the workload counts its arithmetic."""
    times = result["times_ms"].get(contender)
    if times is None: return NONE
    rate = f" ({result['flops'] / times['median'] / 1e6:.0f} GF/s)" if result["flops"] else ""
    return significant(times["median"]) + rate


def ratio(result: dict) -> str:
    best = best_peer(result)
    ours = result["times_ms"].get(OURS)
    return f"{best / ours['median']:.2f}" if best and ours else NONE


def share(result: dict, ceiling: float | None) -> str:
    """How near our arithmetic comes to the most this page can do (in GFLOP/s)."""
    ours = result["times_ms"].get(OURS)
    if not (ours and ceiling and result["flops"]): return NONE
    return f"{100 * result['flops'] / ours['median'] / 1e6 / ceiling:.0f} %"


def best_peer(result: dict) -> float | None:
    """The least median among those that are not ours."""
    times = [t["median"] for name, t in result["times_ms"].items()
             if not name.startswith(OURS)]
    return min(times, default=None)


def pairs_table(head: Sequence[str], pairs: dict[str, float | str]) -> str:
    """Names and figures, one a row."""
    rows = [[name, value if isinstance(value, str) else significant(value)]
            for name, value in pairs.items()]
    return table(head, rows)
