"""The program: a straight line of equations over typed variables."""
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, Union

from ..base.dtypes import DType


@dataclass(frozen=True)
class TensorSpec:
    """What is known of a value before it exists."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * self.dtype.size

    def __str__(self):
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


class Var:
    """A value that an input or an equation defines; compared by identity."""

    __slots__ = ("spec",)

    def __init__(self, spec: TensorSpec):
        self.spec = spec


class Const:
    """A value known while tracing: a number for scalars, else bytes in row-major order."""

    __slots__ = ("spec", "value")

    def __init__(self, spec: TensorSpec, value):
        self.spec, self.value = spec, value

    @property
    def is_number(self) -> bool:
        return self.spec.shape == ()


Atom = Union[Var, Const]


def _not_supported_by_kind(*args, **attrs):
    raise AssertionError("a primitive of another kind was asked for what this one has not")


@dataclass(frozen=True)
class Reduction:
    """How a reduction folds: `out = formula(out, element)`, beginning from `start`.

    `start` is a number, or "lowest" or "highest" for the end of the dtype's range
    (minus or plus infinity where it has one).
    """

    combiner: str
    init: float | str


@dataclass(frozen=True)
class Primitive:
    """One primitive: everything that any pass or backend may ask of it.

    kind     what a compiler may do with it, and which of the last fields is set
      map    one element out for one element in; `formula` over x, y, z (see backends/*/functions)
      index  the loop's own counter along attribute `axis`
      reduce folds attribute `axes` away; `reduction`
      view   moves no data; `view(view of x, shape of out, **attrs)` is the view of the result
      region fills the result from parts; `region(specs, **attrs)` gives (value or None to fill
             with, ((argument number, View into the result), ...))
      call   a kernel of the engine; `call(specs, out spec, **attrs)` gives (name, numbers, work)
      scan   repeats attribute `body`, a graph; see ops/control.py

    A call or a scan may have several results. Its `spec` then returns a tuple of Specs, and
    whatever deals with results deals with tuples: `bind` and `meaning` return one, `call` receives
    one of Specs, and `vjp(gs, outs, *args, **attrs)` two: the results, and their gradients, each
    None where the result is not floating or nobody asks for its gradient.
    """

    name: str
    kind: str
    spec: Callable[..., Union[TensorSpec, tuple[TensorSpec, ...]]]
    vjp: Callable | None
    reference_impl: Callable
    expression: str = ""
    reduction: Reduction | None = None
    view: Callable = _not_supported_by_kind
    assemble: Callable = _not_supported_by_kind
    kernel_call: Callable = _not_supported_by_kind


PRIMITIVES: dict[str, Primitive] = {}


@dataclass(frozen=True, eq=False)
class Eqn:
    """`outs = prim(*args, **attrs)`; attrs are hashable values."""

    prim: Primitive
    args: tuple[Atom, ...]
    attrs: dict[str, Any]
    outs: tuple[Var, ...]

    @property
    def out(self) -> Var:
        """The only result."""
        out, = self.outs
        return out


def kernel_name(e: Eqn) -> str:
    """The kernel that a call calls."""
    specs = tuple(v.spec for v in e.outs)
    return e.prim.kernel_call([a.spec for a in e.args], specs if len(specs) > 1 else e.out.spec,
                       **e.attrs)[0]


def as_tuple(results) -> tuple:
    """What a primitive gave for its results, as a tuple of them: a primitive with one result gives
    it as it is."""
    return results if isinstance(results, tuple) else (results,)


@dataclass(eq=False)
class Graph:
    """Inputs, equations in order, outputs. `updates[i] = j`: output i is the new value of the
    Variable that came in as input j, and may be written over it."""

    inputs: list[Var]
    eqns: list[Eqn] = field(default_factory=list)
    outputs: list[Atom] = field(default_factory=list)
    input_output_aliases: dict[int, int] = field(default_factory=dict)
