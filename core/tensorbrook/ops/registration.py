"""Registration of primitives: one call defines shape rule, gradient, reference and lowering."""
from typing import Any

from ..base import dtypes, shapes
from ..base.errors import DTypeError
from ..ir import PRIMITIVES, Primitive, Reduction, TensorSpec
from ..ir.scalar_expression import scalar_expression
from ..tensor import Tensor, bind


def primitive(name: str, kind: str, spec, vjp, reference_impl, **lowering):
    """Register a primitive; returns the function that binds it. See ir.Primitive."""
    if "expression" in lowering:
        lowering["expression"] = scalar_expression(lowering["expression"])
    PRIMITIVES[name] = Primitive(name, kind, spec, vjp, reference_impl, **lowering)

    def apply(*args, **attrs) -> Any:
        return bind(name, *args, **attrs)

    apply.__name__ = name
    return apply


def elementwise(name: str, expression: str, reference_impl, vjp: Any = None,
                dtype_kinds: str = "fiub", result_dtype=None):
    """Register an elementwise primitive.

    `dtype_kinds` are the kinds of dtype that it supports ("f" floating, "i" signed, "u" unsigned,
    "b" bool). `result_dtype` is the dtype of the result if it differs from the operands' dtype.
    Operands broadcast, so each cotangent from `vjp` is summed to the shape of its operand.
    """
    def spec(*args: TensorSpec) -> TensorSpec:
        dtype = dtypes.require_same_dtype(name, *(a.dtype for a in args))
        if dtype.kind not in dtype_kinds:
            supported = ", ".join(d.name for d in dtypes.ALL if d.kind in dtype_kinds)
            raise DTypeError(
                name, f"{dtype} is not supported", f"use tf.cast to one of {supported}")
        return TensorSpec(shapes.broadcast(name, *(a.shape for a in args)), result_dtype or dtype)

    def summed_vjp(g, out, *args):
        return [d if d is None else sum_to_shape(d, a.shape)
                for d, a in zip(vjp(g, out, *args), args)]

    return primitive(name, "elementwise", spec, vjp and summed_vjp, reference_impl,
                     expression=expression)


def reduction(name: str, combiner: str, init, reference_impl, vjp, dtype_kinds: str = "fiu"):
    """Register a reduction over attribute `axes`. See `ir.Reduction` for `combiner` and `init`."""
    def spec(x: TensorSpec, axes) -> TensorSpec:
        if x.dtype.kind not in dtype_kinds:
            raise DTypeError(name, f"{x.dtype} is not supported", "use tf.cast first")
        return TensorSpec(shapes.remove_axes(x.shape, axes), x.dtype)

    return primitive(name, "reduce", spec, vjp, reference_impl,
                     reduction=Reduction(scalar_expression(combiner), init))


def sum_to_shape(g: Tensor, shape) -> Tensor:
    """The VJP of a broadcast from `shape`: `g` summed over the broadcast axes."""
    shape = tuple(shape)
    if tuple(g.shape) == shape:
        return g
    axes = tuple(a for a in shapes.broadcast_axes(tuple(g.shape), shape) if g.shape[a] != 1)
    total = bind("reduce_sum", g, axes=axes) if axes else g
    return bind("reshape", total, shape=shape)


def broadcast_reduced(x: Tensor, axes, shape) -> Tensor:
    """The VJP of a sum: `x`, the result of a reduction of `axes`, broadcast back to `shape`."""
    with_axes = bind("reshape", x, shape=shapes.keepdims_shape(tuple(shape), axes))
    return bind("broadcast_to", with_axes, shape=tuple(shape))
