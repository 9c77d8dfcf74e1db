"""One line of the table of operations, and the arguments that it is called with.

Nothing here needs NumPy, so that the same lines run in a page.
"""
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from random import Random

DTYPES = {"f": "float32", "h": "float16", "i": "int32", "u": "uint8", "b": "bool"}


@dataclass(frozen=True)
class Whole:
    """An argument that is always of int32: indices from `low` up to, not including, `high`."""

    shape: tuple
    low: int
    high: int


@dataclass(frozen=True)
class Case:
    ours: Callable
    theirs: Callable
    shapes: tuple
    low: float = -2.0
    high: float = 2.0
    kinds: str = "f"              # the dtypes that it is defined for: float32, int32, uint8, bool
    exact: bool = False           # whether float32 results equal the reference's to the last bit
    derivative: bool = True       # whether it has floating results to differentiate
    jumps: bool = False           # whether finite differences see something else than its gradient


# Odd shapes for a function of one and of two tensors; the first are those that JAX differentiates.
ONE = (((2, 3),), ((),), ((0,),), ((1,),), ((7,),), ((3, 0, 2),), ((13, 5),), ((1031,),))
TWO = (((2, 1, 3), (4, 1)), ((), ()), ((0, 3), (1, 3)), ((1,), (7,)), ((13, 5), (13, 5)),
       ((2, 3), ()), ((1031,), (1,)), ((3, 1, 0), (3, 2, 1)))
THREE = (((2, 3), (3,), (2, 1)), ((), (), ()), ((0, 3), (1, 3), (3,)), ((7,), (1,), (7,)))
MATRIX = (((3, 5),), ((1, 1),), ((0, 4),), ((4, 0),), ((13, 7),), ((2, 301),))
CUBE = (((2, 3, 4),), ((1, 1, 1),), ((2, 0, 3),), ((5, 7, 3),))


def numbers(count: int, low: float, high: float, seed) -> list[float]:
    """Numbers in a range that float32 holds exactly; the same on every machine."""
    draw = Random(seed)
    return [round(draw.uniform(low, high) * 65536) / 65536 for _ in range(count)]


def elements(case: Case, argument, kind: str, seed: int) -> tuple[list, tuple, str]:
    """(elements, shape, dtype) of one argument."""
    draw = Random(seed)
    if isinstance(argument, Whole):
        count, low, high = prod(argument.shape), argument.low, argument.high
        return [draw.randrange(low, high) for _ in range(count)], argument.shape, "int32"
    count = prod(argument)
    if kind in "fdh":
        values: list = numbers(count, case.low, case.high, seed)
    elif kind == "b":
        values = [draw.random() < 0.5 for _ in range(count)]
    else:
        low, high = (0, 255) if kind == "u" else (-9, 9)
        values = [draw.randint(low, high) for _ in range(count)]
    return values, argument, DTYPES.get(kind, "float64")
