"""A test case of an operation, and the arguments of its calls.

This module does not need NumPy, so that the same cases run in a page.
"""
import functools
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from random import Random

DTYPES = {"f": "float32", "h": "float16", "i": "int32", "u": "uint8", "b": "bool"}


@dataclass(frozen=True)
class Indices:
    """An int32 argument, whatever the dtype of the call: indices in [low, high)."""

    shape: tuple
    low: int
    high: int


@dataclass(frozen=True)
class Case:
    """A function, the oracle that computes the same, and the arguments of their calls."""

    function: Callable
    oracle: Callable
    shapes: tuple
    low: float = -2.0
    high: float = 2.0
    kinds: str = "f"                  # supported dtypes, as keys of DTYPES
    exact: bool = False               # float32 results are bit-exact with the reference
    differentiable: bool = True
    finite_differences: bool = True   # they approximate the gradient


# Argument shapes by arity. JAX differentiates the function at the first entry of each.
UNARY = (((2, 3),), ((),), ((0,),), ((1,),), ((7,),), ((3, 0, 2),), ((13, 5),), ((1031,),))
BINARY = (((2, 1, 3), (4, 1)), ((), ()), ((0, 3), (1, 3)), ((1,), (7,)), ((13, 5), (13, 5)),
       ((2, 3), ()), ((1031,), (1,)), ((3, 1, 0), (3, 2, 1)))
TERNARY = (((2, 3), (3,), (2, 1)), ((), (), ()), ((0, 3), (1, 3), (3,)), ((7,), (1,), (7,)))
MATRIX = (((3, 5),), ((1, 1),), ((0, 4),), ((4, 0),), ((13, 7),), ((2, 301),))
RANK3 = (((2, 3, 4),), ((1, 1, 1),), ((2, 0, 3),), ((5, 7, 3),))


def uniform(count: int, low: float, high: float, seed) -> list[float]:
    """Random multiples of 2**-16, which float32 represents exactly; the same on every machine."""
    rng = Random(seed)
    return [round(rng.uniform(low, high) * 65536) / 65536 for _ in range(count)]


@functools.cache
def argument_data(case: Case, argument, kind: str, seed: int) -> tuple[Sequence, tuple, str]:
    """Return (elements, shape, dtype) of one argument; all callers share the elements."""
    rng = Random(seed)
    if isinstance(argument, Indices):
        count, low, high = prod(argument.shape), argument.low, argument.high
        indices = array("i", (rng.randrange(low, high) for _ in range(count)))
        return indices, argument.shape, "int32"
    count = prod(argument)
    if kind in "fdh":
        values: Sequence = array("f" if kind == "f" else "d",
                                 uniform(count, case.low, case.high, seed))
    elif kind == "b":
        values = [rng.random() < 0.5 for _ in range(count)]
    else:
        code, low, high = ("B", 0, 255) if kind == "u" else ("i", -9, 9)
        values = array(code, (rng.randint(low, high) for _ in range(count)))
    return values, argument, DTYPES.get(kind, "float64")
