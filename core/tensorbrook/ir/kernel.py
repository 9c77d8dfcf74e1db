"""What a backend receives: kernels as plain data, and the plan that orders and places them.

A Loop visits every index of `space`. Its `body` is a list of values, each computed from earlier
ones by position, at every index. Where `axes` are folded away, `tail` goes on with what is left:
its first values are Reduced, and its Loads and Stores have views over the outer space, which is
`space` with size 1 along `axes`. Tail positions count on from the body's: value i is
`(body + tail)[i]`.
"""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

from ..base.dtypes import DType
from ..base.views import View
from .graph import Atom, Const, Eqn, Graph, Reduction, Var


@dataclass(frozen=True, eq=False)
class Load:
    """The element of `source` that the view names at this index."""

    source: Atom
    view: View
    dtype: DType


@dataclass(frozen=True, eq=False)
class Number:
    """A number known at compile time (bool, int or float)."""

    value: float
    dtype: DType


@dataclass(frozen=True, eq=False)
class Index:
    """The loop's counter along an axis of the space: `begin + step * counter`, an int32.

    `weights` gives the step of each axis of the space (most are 0)."""

    weights: tuple[int, ...]
    begin: int
    dtype: DType


@dataclass(frozen=True, eq=False)
class Apply:
    """A formula over x, y, z, which stand for the values at positions `args`."""

    formula: str
    args: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True, eq=False)
class Reduced:
    """The fold of body value `arg` over the loop's axes."""

    arg: int
    reduction: Reduction
    dtype: DType


Value = Union[Load, Number, Index, Apply, Reduced]


@dataclass(frozen=True, eq=False)
class Store:
    """Value `value` goes to `target` where the view says."""

    value: int
    target: Var
    view: View


@dataclass(frozen=True, eq=False)
class Loop:
    """One pass over an index space; see above. `eqns` are the equations it carries out."""

    space: tuple[int, ...]
    axes: tuple[int, ...]
    body: tuple[Value, ...]
    tail: tuple[Value, ...]
    stores: tuple[Store, ...]
    eqns: tuple[Eqn, ...]

    @property
    def reads(self) -> tuple[Atom, ...]:
        return tuple(dict.fromkeys(v.source for v in self.body + self.tail if isinstance(v, Load)))

    @property
    def writes(self) -> tuple[Var, ...]:
        return tuple(dict.fromkeys(s.target for s in self.stores))


@dataclass(frozen=True, eq=False)
class Call:
    """A kernel of the engine: `function(reads..., writes..., numbers..., thread, threads)`.

    `work` is about how many multiplications or element visits it takes, for the cost model."""

    function: str
    reads: tuple[Atom, ...]
    writes: tuple[Var, ...]
    numbers: tuple[float, ...]
    work: int
    eqns: tuple[Eqn, ...]


Kernel = Union[Loop, Call]


@dataclass(frozen=True)
class Limits:
    """What a backend can take, told to fusion as data."""

    buffers: int = 1 << 30           # how many different buffers one kernel may touch


@dataclass(frozen=True)
class Place:
    """Where a buffer lies: slot `at` of the program's arguments, or byte `at` of its arena."""

    kind: str
    at: int


@dataclass(frozen=True, eq=False)
class Step:
    """A kernel, whether all threads share it, and whether they must meet before it starts."""

    kernel: Kernel
    split: bool
    barrier: bool


@dataclass(frozen=True, eq=False)
class Plan:
    """A whole program. Slots are numbered inputs first, then constants, then outputs.

    `updates[i] = j`: output i may be handed the very buffer that came in as input j."""

    inputs: tuple[Var, ...]
    constants: tuple[Const, ...]
    outputs: tuple[Var, ...]
    updates: Mapping[int, int]
    places: Mapping[Atom, Place]
    steps: tuple[Step, ...]
    arena_size: int
    graph: Graph                     # what the steps carry out, for backends that take equations
