"""Keys of attribute values: equal exactly where the values mean the same to a program.

Python's own equality does not serve: 0.0 == -0.0 and 1 == 1.0 == True, but they are different
constants, while nan != nan though a program with one NaN is the program with another.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def value_key(value: Any) -> Any:
    """A hashable key of a value; of tuples, sets and dataclasses, element by element."""
    if isinstance(value, float):
        return float, value.hex() if value == value else "nan"
    if isinstance(value, (bool, int)):
        return type(value), value
    if isinstance(value, tuple):
        return tuple(map(value_key, value))
    if isinstance(value, complex):
        return complex, value_key(value.real), value_key(value.imag)
    if isinstance(value, frozenset):
        return frozenset, frozenset(map(value_key, value))
    if is_dataclass(value) and not isinstance(value, type) and value.__dataclass_params__.eq:
        compared = [getattr(value, f.name) for f in fields(value) if f.compare]
        return type(value), tuple(map(value_key, compared))
    return value


def attributes_key(attrs: Mapping[str, Any]) -> tuple:
    """A hashable key of an equation's attributes, in their order."""
    return tuple((name, value_key(value)) for name, value in attrs.items())
