"""Argument validation: each check returns the valid value or raises an error of one sentence."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from ..base.errors import InvalidArgumentError

MAX_TENSOR_BYTES = 2**32  # the address space of a 32-bit WebAssembly memory


class ArgumentError(InvalidArgumentError, TypeError):
    """An unknown keyword argument; a TypeError too, as Python itself raises for one."""


def constructor_arguments(cls: type) -> list[str]:
    """The argument names of a constructor and of the base constructors that get its **kwargs."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" not in base.__dict__ or base is object:
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names.update((p.name, None) for p in parameters if p.kind in named)
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return list(names)


def reject_unknown(owner: Any, arguments: dict[str, Any]) -> None:
    """Raise ArgumentError if the constructor of `owner` received any unknown `arguments`."""
    if arguments:
        raise unknown_argument_error(type(owner), next(iter(arguments)))


def unknown_argument_error(cls: type, name: str) -> ArgumentError:
    """The error for an argument that the constructor does not have, with the closest match."""
    known = constructor_arguments(cls)
    close = get_close_matches(name, known, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    return ArgumentError(cls.__name__, f"unknown argument {name!r}",
                         f"{hint}the arguments are {', '.join(known)}")


def unknown_name_error(op: str, kind: str, name: Any, known: Iterable[str]) -> InvalidArgumentError:
    """The error for a name that is not in `known`, with the closest match."""
    close = get_close_matches(str(name), list(known), 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return InvalidArgumentError(op, f"unknown {kind} {name!r}",
                                f"{hint}use one of {', '.join(sorted(known))}")


def require_int(op: str, name: str, value: Any, minimum: int = 1) -> int:
    """`value` as an int, if it is an integer of at least `minimum`."""
    is_int = hasattr(value, "__index__") and not isinstance(value, bool)
    if not is_int or value.__index__() < minimum:
        raise InvalidArgumentError(op, f"{name} is {value!r}",
                                   f"it must be an integer of at least {minimum}")
    return value.__index__()


def require_pair(op: str, name: str, value: Any) -> tuple[int, int]:
    """`value` as a pair of positive integers (rows, columns); one integer counts for both."""
    values = (value, value) if hasattr(value, "__index__") else value
    if not isinstance(values, tuple | list) or len(values) != 2:
        raise InvalidArgumentError(op, f"{name} is {value!r}",
                                   f"it must be an integer or a pair, such as {name}=(2, 2)")
    rows, columns = (require_int(op, name, v) for v in values)
    return rows, columns


def require_choice(op: str, name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value` in lower case, if it is one of `choices` in any case."""
    if not isinstance(value, str) or value.lower() not in choices:
        raise InvalidArgumentError(op, f"{name} is {value!r}",
                                   f"it must be {' or '.join(map(repr, choices))}")
    return value.lower()


def require_fraction(op: str, name: str, value: Any) -> float:
    """`value` as a float, if it is a number in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise InvalidArgumentError(op, f"{name} is {value!r}",
                                   "it must be a number in [0, 1)")
    return float(value)


def readable_size(size_bytes: float) -> str:
    """A size in bytes in Keras's format: 484 gives "484.00 B", a million "976.56 KB"."""
    units = ("B", "KB", "MB", "GB", "TB")
    unit = 0
    while size_bytes >= 1024 and unit < len(units) - 1:
        size_bytes, unit = size_bytes / 1024, unit + 1
    return f"{size_bytes:.2f} {units[unit]}"
