"""Pass context: the target, nested pipelines and counters that every compiler pass receives."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from ..ir import Graph, TargetInfo
from .lowering import Lowering


@dataclass(frozen=True)
class PassContext:
    """`simplify` and `lower` run the passes of a stage on the body of a scan.

    `counts` counts units of work by name (visits, conflict checks, candidates), by which the
    tests hold compile time to linear growth.
    """

    target: TargetInfo
    simplify: Callable[[Graph], Graph]
    lower: Callable[[Lowering], Lowering]
    counts: Counter[str] = field(default_factory=Counter)
    is_nested: bool = False          # within the body of a scan
