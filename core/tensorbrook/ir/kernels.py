"""Kernels: the scheduling units of a program, as plain data that backends translate to code.

A LoopKernel is a fused loop nest for which the backend generates code. A KernelCall calls a library
kernel, such as matrix multiplication. A ScanKernel runs other kernels repeatedly.

A LoopKernel consists of row passes over its iteration space. A row is the set of indices that are
reduced to one result: a row spans the reduction axes, and the reduced space (the iteration space
with size 1 along the reduction axes) has one index per row. For each row, a pass computes its
elementwise values at every index, reduces some of them, and then computes its post-reduce values
once. The next pass visits the same row again. For example, softmax has three passes:

    pass 0   elementwise: load x                           post-reduce: m = reduce max of x
    pass 1   elementwise: exp(x - m)                       post-reduce: s = reduce sum
    pass 2   elementwise: exp(x - m) / s, stored

Values refer to their operands by position in `LoopKernel.values`, which concatenates the values of
all passes. An elementwise value may use elementwise values of this and earlier passes at the same
index, and post-reduce values of earlier passes, which are constant along a row. A post-reduce value
may use post-reduce values, and reduce elementwise values of the same pass. Views are over the
iteration space for elementwise values, and over the reduced space for post-reduce values.
"""
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Union

from ..base.dtypes import DType
from ..base.views import View
from .graph import Atom, Eqn, Reduction, Var
from .scalar_expression import ScalarExpression

# ── values of a loop ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Load:
    """The element of `source` that `view` maps the index to.

    `dtype` is the dtype of the source; or float32 for a float16 source, or vice versa, if the load
    converts.
    """

    source: Atom
    view: View
    dtype: DType


@dataclass(frozen=True, eq=False)
class ScalarConstant:
    """A scalar that is known at compile time (bool, int or float)."""

    value: float
    dtype: DType


@dataclass(frozen=True, eq=False)
class IndexValue:
    """A linear function of the loop index, as int32: `offset + sum(strides[i] * index[i])`."""

    strides: tuple[int, ...]
    offset: int
    dtype: DType


@dataclass(frozen=True, eq=False)
class ElementwiseOp:
    """A scalar expression over x, y, z, which denote the values at positions `args`."""

    expression: ScalarExpression
    args: tuple[int, ...]
    dtype: DType


@dataclass(frozen=True, eq=False)
class ReduceOp:
    """A reduction of the elementwise value at position `arg`, of the same pass, over a row."""

    arg: int
    reduction: Reduction
    dtype: DType


Value = Union[Load, ScalarConstant, IndexValue, ElementwiseOp, ReduceOp]


def remap_operands(value: Value, number: dict[int, int]) -> Value:
    """The value with the new positions of its operands."""
    if isinstance(value, ElementwiseOp):
        return ElementwiseOp(value.expression, tuple(number[i] for i in value.args), value.dtype)
    if isinstance(value, ReduceOp):
        return ReduceOp(number[value.arg], value.reduction, value.dtype)
    return value


@dataclass(frozen=True, eq=False)
class Store:
    """Stores the value at position `value` to the element that `view` maps the index to."""

    value: int
    target: Var
    view: View


@dataclass(frozen=True, eq=False)
class FiniteCheckStore(Store):
    """Sets the bool scalar `target` to False if the value is not finite at some index.

    `view` maps every index to the single element. Several kernels may check values for one target;
    an earlier kernel initializes it to True.
    """


# ── kernels ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class RowPass:
    """One pass over a row: values at every index, and values computed once after its reductions."""

    elementwise: tuple[Value, ...]
    post_reduce: tuple[Value, ...] = ()


@dataclass(frozen=True, eq=False)
class LoopKernel:
    """A generated loop nest of row passes, as the module docstring defines it.

    Without `reduction_axes` there is one pass, without post-reduce values. `eqns` are the equations
    that the kernel implements.
    """

    iteration_space: tuple[int, ...]
    reduction_axes: tuple[int, ...]
    passes: tuple[RowPass, ...]
    stores: tuple[Store, ...]
    eqns: tuple[Eqn, ...]

    @cached_property
    def values(self) -> tuple[Value, ...]:
        return tuple(v for p in self.passes for v in p.elementwise + p.post_reduce)

    @cached_property
    def value_sites(self) -> tuple[tuple[int, bool], ...]:
        """For each value the index of its pass, and whether it is a post-reduce value."""
        return tuple((n, post_reduce) for n, p in enumerate(self.passes)
                     for post_reduce, values in ((False, p.elementwise), (True, p.post_reduce))
                     for _ in values)

    @cached_property
    def reduced_space(self) -> tuple[int, ...]:
        """The iteration space with size 1 along the reduction axes."""
        return tuple(1 if i in self.reduction_axes else n
                     for i, n in enumerate(self.iteration_space))

    @cached_property
    def reads(self) -> tuple[Atom, ...]:
        return tuple(dict.fromkeys(v.source for v in self.values if isinstance(v, Load)))

    @cached_property
    def writes(self) -> tuple[Var, ...]:
        return tuple(dict.fromkeys(s.target for s in self.stores))


@dataclass(frozen=True, eq=False)
class KernelCall:
    """A call of a library kernel: a C function of the wasm engine, or a WebGPU shader template.

    kernel               its name; it receives the args, the outs and the params
    flops                an estimate of its arithmetic, or of its element visits, for the cost model
    epilogue             a loop that is fused into the kernel and runs on each tile of the single
                         result while the tile is in registers or cache. It has one pass, no
                         reductions, and iterates over `result_matrix_shape`; it loads the result
                         with the identity index map.
    result_escapes       whether the result has consumers other than the epilogue
    result_materialized  whether the result is allocated even if only the epilogue consumes it
    operand_dtypes       the dtype to which the kernel converts each argument on load (float32 in
                         memory rounded to float16); empty if it converts none
    """

    kernel: str
    args: tuple[Atom, ...]
    outs: tuple[Var, ...]
    params: tuple[Any, ...]
    flops: int
    eqns: tuple[Eqn, ...]
    epilogue: LoopKernel | None = None
    result_escapes: bool = True
    result_materialized: bool = True
    operand_dtypes: tuple[DType, ...] = ()

    @cached_property
    def reads(self) -> tuple[Atom, ...]:
        """The buffers that the call reads, without the result that its epilogue loads."""
        loads = self.epilogue.reads if self.epilogue else ()
        return tuple(dict.fromkeys((*self.args, *(a for a in loads if a not in self.outs))))

    @cached_property
    def writes(self) -> tuple[Var, ...]:
        outs = self.outs if self.result_escapes or self.result_materialized else ()
        return outs + (self.epilogue.writes if self.epilogue else ())

    @cached_property
    def result_matrix_shape(self) -> tuple[int, int]:
        """(rows, columns) of the single result: its leading axes flattened, and its last axis."""
        spec, = (out.spec for out in self.outs)
        columns = spec.shape[-1] if spec.shape else 1
        return spec.count // columns if columns else 0, columns


@dataclass(frozen=True, eq=False)
class Carry:
    """A loop-carried value of a ScanKernel, double-buffered in `final` and `spare`.

    In each iteration the kernels read the value as `input` and write the next value as `output`.
    The first iteration reads `init`. Iterations write `final` and `spare` alternately, and the last
    one writes `final`, so that the value is never copied.
    """

    init: Atom
    input: Var
    output: Var
    final: Var
    spare: Var


@dataclass(frozen=True, eq=False)
class ScanSlice:
    """A slice of `stacked` along its first axis, which kernels of a ScanKernel read or write as
    `element`. Each iteration accesses another slice."""

    stacked: Atom
    element: Var


@dataclass(frozen=True, eq=False)
class ScanKernel:
    """A sequential loop: runs `kernels` in `count` iterations.

    Iteration i accesses slice i of every ScanSlice, or slice `count - 1 - i` if `reverse`.
    """

    count: int
    reverse: bool
    kernels: tuple["Kernel", ...]
    carries: tuple[Carry, ...]
    slices: tuple[ScanSlice, ...]
    eqns: tuple[Eqn, ...]

    @cached_property
    def local_values(self) -> frozenset[Var]:
        """The variables that are defined only within an iteration."""
        inputs = {c.input for c in self.carries}
        return self.written | inputs | {s.element for s in self.slices}

    @cached_property
    def written(self) -> frozenset[Var]:
        """The variables that the kernels of an iteration write."""
        return frozenset(v for k in self.kernels for v in k.writes)

    @cached_property
    def reads(self) -> tuple[Atom, ...]:
        atoms = [c.init for c in self.carries]
        atoms += [s.stacked for s in self.slices if s.element not in self.written]
        atoms += [a for k in self.kernels for a in k.reads if a not in self.local_values]
        return tuple(dict.fromkeys(atoms))

    @cached_property
    def writes(self) -> tuple[Var, ...]:
        targets: list = [v for c in self.carries for v in (c.final, c.spare)]
        targets += [s.stacked for s in self.slices if s.element in self.written]
        return tuple(targets)


Kernel = Union[LoopKernel, KernelCall, ScanKernel]


def generated_loop(k: Kernel) -> LoopKernel | None:
    """The loop for which a backend generates code: the kernel itself, its epilogue, or None."""
    return k if isinstance(k, LoopKernel) else k.epilogue if isinstance(k, KernelCall) else None
