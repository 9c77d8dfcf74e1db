"""Automatic names of layers and optimizers: dense, dense_1, dense_2."""

from __future__ import annotations

import re
from collections import Counter

_use_counts: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """A class name in snake case: `MaxPooling2D` as `max_pooling2d`."""
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower().lstrip("_")


def unique_name(name: str) -> str:
    """The name itself on the first call, afterwards the name with an increasing suffix."""
    n, _use_counts[name] = _use_counts[name], _use_counts[name] + 1
    return f"{name}_{n}" if n else name


def reset() -> None:
    """Restart the suffixes of all names."""
    _use_counts.clear()
