"""Graph: a straight-line program of equations over typed variables, and the primitives."""
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Union

from ..base.dtypes import DType
from .scalar_expression import IDENTITY, ScalarExpression


@dataclass(frozen=True)
class TensorSpec:
    """The shape and dtype of a tensor."""

    shape: tuple[int, ...]
    dtype: DType

    # Specs are keys of every cache, so their hash is computed once.
    @cached_property
    def _hash(self) -> int:
        return hash((self.shape, self.dtype))

    def __hash__(self):
        return self._hash

    @cached_property
    def count(self) -> int:
        """The number of elements."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """The size in host memory. The size on a device is `TargetInfo.bytes_of`."""
        return self.count * self.dtype.size

    def __str__(self):
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


class Var:
    """A variable: an input of a graph or a result of one equation; compared by identity."""

    __slots__ = ("spec",)

    def __init__(self, spec: TensorSpec):
        self.spec = spec


class Const:
    """A constant: a Python scalar if the shape is (), otherwise bytes in row-major order."""

    __slots__ = ("spec", "value")

    def __init__(self, spec: TensorSpec, value):
        self.spec, self.value = spec, value

    @property
    def is_scalar(self) -> bool:
        return self.spec.shape == ()


Atom = Union[Var, Const]


def _not_supported_by_kind(*args, **attrs):
    raise AssertionError("the primitive is of another kind and does not define this function")


@dataclass(frozen=True)
class Reduction:
    """A reduction operator: `combiner` is a scalar expression of accumulator x and element y.

    `init` is its identity element: a number, or "lowest" or "highest" for the least or greatest
    value of the dtype (minus or plus infinity for floats).
    """

    combiner: ScalarExpression
    init: float | str


@dataclass(frozen=True)
class Primitive:
    """A primitive operation: its shape rule, gradient, reference implementation and lowering.

    `kind` determines how the compiler lowers the primitive, and which field describes the lowering:

    elementwise  `expression` is a scalar expression over x, y, z, which denote the elements of the
                 operands; operands broadcast (syntax: backends/expressions.py)
    iota         the result holds the index along attribute `axis`; no operands
    reduce       `reduction` combines the elements along attribute `axes`, which the result lacks
    view         moves no data: `view(view of the operand, **attrs)` is the View of the result, or
                 None if no strides express it
    assemble     writes operands into sub-views of the result (concat, pad): `assemble(specs,
                 **attrs)` is (fill value or None, ((operand index, View into the result), ...))
    kernel       calls a library kernel: `kernel_call(specs, result spec, **attrs)` is
                 (kernel name, parameters, work); work is `KernelCall.flops`
    scan         a loop over attribute `body`, a Subgraph; see ops/control_flow.py

    `spec(*specs, **attrs)` is the TensorSpec of the result, `vjp(g, out, *args, **attrs)` the
    cotangents of the arguments (each None if there is none), and `reference_impl(numpy, *arrays,
    **attrs)` the result as NumPy computes it.

    A primitive of kind kernel or scan may have several results. Then `spec`, `bind` and
    `reference_impl` return tuples, `kernel_call` receives a tuple of result specs, and `vjp`
    receives a tuple of cotangents, each None if it is zero or the result is not floating, and a
    tuple of results.
    """

    name: str
    kind: str
    spec: Callable[..., Union[TensorSpec, tuple[TensorSpec, ...]]]
    vjp: Callable | None
    reference_impl: Callable
    expression: ScalarExpression = IDENTITY
    reduction: Reduction | None = None
    view: Callable = _not_supported_by_kind
    assemble: Callable = _not_supported_by_kind
    kernel_call: Callable = _not_supported_by_kind


PRIMITIVES: dict[str, Primitive] = {}


@dataclass(frozen=True, eq=False)
class Eqn:
    """An equation: `outs = prim(*args, **attrs)`. Attribute values are hashable.

    `operand_dtypes`, if present, are the dtypes to which a kernel call converts its operands as it
    loads them.
    """

    prim: Primitive
    args: tuple[Atom, ...]
    attrs: dict[str, Any]
    outs: tuple[Var, ...]
    operand_dtypes: tuple[DType, ...] = ()

    @property
    def out(self) -> Var:
        """The result of an equation that has exactly one."""
        out, = self.outs
        return out

    @property
    def operand_specs(self) -> list[TensorSpec]:
        """The operands as the primitive receives them."""
        specs = [a.spec for a in self.args]
        if not self.operand_dtypes:
            return specs
        return [TensorSpec(spec.shape, dtype) for spec, dtype in zip(specs, self.operand_dtypes)]

    @cached_property
    def kernel_call(self) -> tuple[str, tuple, int]:
        """The name of the kernel that computes it, the kernel's parameters, and its operations."""
        specs = tuple(v.spec for v in self.outs)
        return self.prim.kernel_call([a.spec for a in self.args],
                                     specs if len(specs) > 1 else self.out.spec, **self.attrs)


def kernel_name(e: Eqn) -> str:
    """The name of the library kernel that an equation of kind kernel calls."""
    return e.kernel_call[0]


def as_tuple(results) -> tuple:
    """The result or results of a primitive as a tuple."""
    return results if isinstance(results, tuple) else (results,)


@dataclass(eq=False)
class Graph:
    """Inputs, equations in execution order, and outputs.

    `input_output_aliases[i] = j` declares that output i is the new value of the Variable passed as
    input j, so that it may be computed in place.
    """

    inputs: list[Var]
    eqns: list[Eqn] = field(default_factory=list)
    outputs: list[Atom] = field(default_factory=list)
    input_output_aliases: dict[int, int] = field(default_factory=dict)
