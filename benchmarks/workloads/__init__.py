"""The workloads, one table row each, by topic; every implementation gets the same inputs."""

import re
from collections.abc import Sequence

from . import conv_and_pool, gather_and_sort, gemm, inference, memory_bound, models
from .spec import IMPLEMENTATIONS, NATIVE_IMPLEMENTATIONS, OURS, Target, Workload

WORKLOADS = (*gemm.WORKLOADS, *memory_bound.WORKLOADS, *conv_and_pool.WORKLOADS,
             *gather_and_sort.WORKLOADS, *models.WORKLOADS, *inference.WORKLOADS)
NATIVE = tuple(w._replace(implementations=w.native) for w in WORKLOADS if w.native)


def matches(name: str, prefixes: Sequence[str]) -> bool:
    """Whether a word of the name begins with one of the prefixes, in any case."""
    return any(re.search(rf"\b{re.escape(prefix)}", name, re.IGNORECASE) for prefix in prefixes)


def select(workloads: Sequence[Workload], only: Sequence[str], quick: bool) -> list[Workload]:
    """The workloads that match `only`; without `only` all of them, or the quick ones."""
    if only: return [w for w in workloads if matches(w.name, only)]
    return [w for w in workloads if w.quick or not quick]


__all__ = ["IMPLEMENTATIONS", "NATIVE", "NATIVE_IMPLEMENTATIONS", "OURS", "WORKLOADS", "Target",
           "Workload", "matches", "select"]
