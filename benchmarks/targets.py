"""What each row reached of what it shall reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from . import peak_rates
from .statistics import best_peer, median_of
from .workloads import OURS
from .workloads.spec import JAX


class Ceiling(NamedTuple):
    """What the page can do at most; 0 where it was not measured."""

    gflops: float = 0
    copied: float = 0    # GB/s, of as many bytes as the streams have


def ceiling_of(found: Mapping) -> Ceiling:
    """What was measured in the page with one number of threads."""
    measured = found["ceiling"]
    return Ceiling(measured[peak_rates.GFLOPS], measured[peak_rates.STREAMED])


class Term(NamedTuple):
    """One thing that is asked, in words, and how its figure is written."""

    words: str
    form: str


TERMS = {
    "peer": Term("{} the best peer", "{:.2f}x"), "jax": Term("{} jax-js", "{:.1f}x"),
    "fma": Term("{} of the ceiling", "{:.0%}"), "copied": Term("{} of a copy", "{:.0%}"),
    "gemm": Term("{} of GEMM's rate", "{:.0%}"), "torch": Term("{} PyTorch", "{:.2f}x"),
    "scaling": Term("{} with all threads", "{:.2f}x"),
}


# What single figures may be at most, by the beginning of their names.
MOST = {"host µs of a captured step": 100, "µs of a captured step": 50,
        "µs of an eager op on a tape": 45, "µs of an eager op": 30,
        "first call of the LeNet": 150, "first call of the GPT": 600}
MOST_TO_THE_LEAST = 1.1


def most(name: str) -> float | None:
    """What a figure of that name may be at most."""
    if name.endswith("to the least"): return MOST_TO_THE_LEAST
    return next((limit for beginning, limit in MOST.items() if name.startswith(beginning)), None)


def reached(result: Mapping, ceiling: Ceiling, torch_ms: float | None = None) -> dict[str, float]:
    """The figure of each term that can be told."""
    ours = median_of(result, OURS)
    if ours is None: return {}
    gflops, copied = result["flops"] / ours / 1e6, result["moved_bytes"] / ours / 1e6
    figures = {
        "peer": over(best_peer(result), ours), "jax": over(median_of(result, JAX), ours),
        "fma": over(gflops, ceiling.gflops), "copied": over(copied, ceiling.copied),
        "gemm": over(result.get("same_size_ms"), ours), "torch": over(torch_ms, ours)}
    return {term: figure for term, figure in figures.items() if figure}


def over(x: float | None, y: float) -> float:
    return x / y if x and y else 0


def asked(goal: Mapping[str, float]) -> str:
    """A goal in words."""
    return ", ".join(TERMS[term].words.format(plainly(term, least))
                     for term, least in goal.items() if least)


def plainly(term: str, least: float) -> str:
    return f"{least:.0%}" if "%" in TERMS[term].form else f"{least:g}x"


def verdict(goal: Mapping[str, float], figures: Mapping[str, float]) -> str:
    """"met", or what is missing; what nobody else can do is met."""
    if not any(goal.values()): return ""
    if not figures: return "no figure"
    # A peer that has no figure cannot do this at all.
    short = [TERMS[term].form.format(figures[term]) for term, least in goal.items()
             if least and term in figures and figures[term] < least]
    unknown = [term for term in ("fma", "copied", "gemm", "torch")
               if goal[term] and term not in figures]
    if short: return f"no: {', '.join(short)}"
    return f"met but for {', '.join(unknown)}" if unknown else "met"

