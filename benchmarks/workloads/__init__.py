"""The workloads, one line each, by topic; the same inputs go to every contender."""

import re
from collections.abc import Sequence

from . import gather_and_sort, gemm, inference, memory_bound, models, conv_and_pool
from .spec import CONTENDERS, NATIVE_CONTENDERS, OURS, Goal, Workload

WORKLOADS = (*gemm.WORKLOADS, *memory_bound.WORKLOADS, *conv_and_pool.WORKLOADS, *gather_and_sort.WORKLOADS,
             *models.WORKLOADS, *inference.WORKLOADS)
NATIVE = tuple(w._replace(contenders=w.native) for w in WORKLOADS if w.native)



def named(name: str, words: Sequence[str]) -> bool:
    """Whether a word of the name begins with one of these."""
    return any(re.search(rf"\b{re.escape(word)}", name, re.IGNORECASE) for word in words)


def wanted(workloads: Sequence[Workload], only: Sequence[str], quick: bool) -> list[Workload]:
    """Those that have one of the words in their names, or all; of all, a quick run has few."""
    if only: return [w for w in workloads if named(w.name, only)]
    return [w for w in workloads if w.quick or not quick]


__all__ = ["CONTENDERS", "NATIVE", "NATIVE_CONTENDERS", "OURS", "WORKLOADS", "Goal", "Workload",
           "named", "wanted"]
