"""Performance targets: the metrics of a row, and whether they meet its target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from . import peak_rates
from .statistics import best_peer, median_of
from .workloads import OURS
from .workloads.spec import JAX


class PeakRates(NamedTuple):
    """The measured peak rates of the page; 0 where they were not measured."""

    gflops: float = 0
    copied: float = 0    # GB/s read and written, copying 1 M floats as the memory-bound rows do


def peak_rates_of(results: Mapping) -> PeakRates:
    """The peak rates among the results of the page with one number of threads."""
    measured = results["peak rates"]
    return PeakRates(measured[peak_rates.GFLOPS], measured[peak_rates.COPY_1M_FLOATS])


class Metric(NamedTuple):
    """The description of a metric in a target, and the format of its value."""

    words: str
    form: str


METRICS = {
    "peer": Metric("{} the best peer", "{:.2f}x"), "jax": Metric("{} jax-js", "{:.1f}x"),
    "fma": Metric("{} of peak rate", "{:.0%}"), "copied": Metric("{} of a copy", "{:.0%}"),
    "gemm": Metric("{} of GEMM's rate", "{:.0%}"), "torch": Metric("{} PyTorch", "{:.2f}x"),
    "scaling": Metric("{} with all threads", "{:.2f}x"),
}


# Upper limits of single values, by the beginnings of their names.
UPPER_LIMITS = {"host µs of a captured step": 100, "µs of a captured step": 50,
                "µs of an eager op on a tape": 45, "µs of an eager op": 30,
                "first call of the LeNet": 150, "first call of the GPT": 600,
                "first call of the 12-block GPT": 1500,
                "first call of the MobileNetV2": 1000, "first call of the 12-layer BERT": 1500}
ARENA_TO_PEAK_LIVE_LIMIT = 1.1


def upper_limit(name: str) -> float | None:
    """The upper limit of a single value, by its name."""
    if name.endswith("arena / peak live"): return ARENA_TO_PEAK_LIVE_LIMIT
    return next((limit for prefix, limit in UPPER_LIMITS.items() if name.startswith(prefix)), None)


def achieved(result: Mapping, peaks: PeakRates, torch_ms: float | None = None) -> dict[str, float]:
    """The value of each metric for which the measurements exist."""
    ours = median_of(result, OURS)
    if ours is None: return {}
    gflops, copied = result["flops"] / ours / 1e6, result["moved_bytes"] / ours / 1e6
    metrics = {
        "peer": ratio(best_peer(result), ours), "jax": ratio(median_of(result, JAX), ours),
        "fma": ratio(gflops, peaks.gflops), "copied": ratio(copied, peaks.copied),
        "gemm": ratio(result.get("same_size_gemm_ms"), ours), "torch": ratio(torch_ms, ours)}
    return {name: value for name, value in metrics.items() if value}


def ratio(x: float | None, y: float) -> float:
    return x / y if x and y else 0


def describe(target: Mapping[str, float]) -> str:
    """A target in words, such as "2x the best peer, 90% of peak rate"."""
    return ", ".join(METRICS[name].words.format(format_plain(name, minimum))
                     for name, minimum in target.items() if minimum)


def format_plain(name: str, minimum: float) -> str:
    return f"{minimum:.0%}" if "%" in METRICS[name].form else f"{minimum:g}x"


def verdict(target: Mapping[str, float], metrics: Mapping[str, float]) -> str:
    """"met", or the metrics that missed the target; "" where there is no target."""
    if not any(target.values()): return ""
    if not metrics: return "no result"
    # Where no peer supports the row, the metrics "peer" and "jax" are absent and their part is met.
    missed = [METRICS[name].form.format(metrics[name]) for name, minimum in target.items()
              if minimum and name in metrics and metrics[name] < minimum]
    unknown = [name for name in ("fma", "copied", "gemm", "torch")
               if target[name] and name not in metrics]
    if missed: return f"missed: {', '.join(missed)}"
    return f"met except for {', '.join(unknown)}" if unknown else "met"
