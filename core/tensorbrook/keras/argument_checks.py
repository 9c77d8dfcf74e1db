"""What goes wrong with arguments, in one sentence each."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from ..base.errors import InvalidArgumentError

MAX_TENSOR_BYTES = 2**32  # what a 32-bit memory can address


class ArgumentError(InvalidArgumentError, TypeError):
    """An argument that is not known, which Python reports as a TypeError too."""


def constructor_arguments(cls: type) -> list[str]:
    """The names that a class, and those it passes unknown ones on to, can be made with."""
    names: dict[str, None] = {}
    for each in cls.__mro__:
        if "__init__" not in each.__dict__ or each is object:
            continue
        parameters = list(inspect.signature(each.__init__).parameters.values())[1:]
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names.update((p.name, None) for p in parameters if p.kind in named)
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return list(names)


def reject_unknown(owner: Any, arguments: dict[str, Any]) -> None:
    """That nothing is left of the arguments that `owner` was made with."""
    if arguments:
        raise unknown_argument(type(owner), next(iter(arguments)))


def unknown_argument(cls: type, name: str) -> ArgumentError:
    known = constructor_arguments(cls)
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    return ArgumentError(cls.__name__, f"there is no argument {name!r}",
                         f"{hint}it takes {', '.join(known)}")


def unknown_name_error(op: str, what: str, name: Any, known: Iterable[str]) -> InvalidArgumentError:
    """The error for a name that is in no table, with those that are."""
    close = get_close_matches(str(name), list(known), 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return InvalidArgumentError(op, f"there is no {what} {name!r}",
                                f"{hint}use one of {', '.join(sorted(known))}")


def require_int(op: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`."""
    is_whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not is_whole or value.__index__() < least:
        raise InvalidArgumentError(op, f"{name} is {value!r}",
                                   f"it takes a whole number of {least} or more")
    return value.__index__()


def require_pair(op: str, name: str, value: Any) -> tuple[int, int]:
    """One whole number for both sides of a window, or two."""
    values = (value, value) if hasattr(value, "__index__") else value
    if not isinstance(values, tuple | list) or len(values) != 2:
        raise InvalidArgumentError(op, f"{name} is {value!r}",
                                   f"it takes one or two whole numbers, such as {name}=(2, 2)")
    first, second = (require_int(op, name, v) for v in values)
    return first, second


def require_choice(op: str, name: str, value: Any, known: tuple[str, ...]) -> str:
    """A word of a few, in any case."""
    if not isinstance(value, str) or value.lower() not in known:
        raise InvalidArgumentError(op, f"{name} is {value!r}",
                                   f"it takes {' or '.join(map(repr, known))}")
    return value.lower()


def require_fraction(op: str, name: str, value: Any) -> float:
    """A number from 0 up to, not including, 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InvalidArgumentError(op, f"{name} is {value!r}",
                                   "it takes a number from 0 up to, not including, 1")
    return float(value)


def readable_size(size_bytes: float) -> str:
    """`484` as "484.00 B", a million as "976.56 KB", as Keras shows sizes."""
    units = ("B", "KB", "MB", "GB", "TB")
    at = 0
    while size_bytes >= 1024 and at < len(units) - 1:
        size_bytes, at = size_bytes / 1024, at + 1
    return f"{size_bytes:.2f} {units[at]}"
