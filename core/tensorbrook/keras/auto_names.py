"""Names that are given where the user gives none: dense, dense_1, dense_2."""

from __future__ import annotations

import re
from collections import Counter

_taken: Counter[str] = Counter()


def snake_case(name: str) -> str:
    """`MaxPooling2D` as `max_pooling2d`."""
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower().lstrip("_")


def unique_name(name: str) -> str:
    """The name itself the first time, then with a number."""
    n, _taken[name] = _taken[name], _taken[name] + 1
    return f"{name}_{n}" if n else name


def reset() -> None:
    """Count from the beginning again."""
    _taken.clear()
