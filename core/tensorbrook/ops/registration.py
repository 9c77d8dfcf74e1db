"""How a primitive is written down: one call, one block, everything that is known of it."""
from typing import Any

from ..base import dtypes, shapes
from ..base.errors import DTypeError
from ..ir import PRIMITIVES, Primitive, Reduction, TensorSpec
from ..tensor import Tensor, bind


def primitive(name: str, kind: str, spec, vjp, meaning, **rest):
    """Enter a primitive into the table; returns the function that applies it."""
    PRIMITIVES[name] = Primitive(name, kind, spec, vjp, meaning, **rest)

    def apply(*args, **attrs) -> Any:
        return bind(name, *args, **attrs)

    apply.__name__ = name
    return apply


def elementwise(name: str, formula: str, meaning, vjp: Any = None, dtype_kinds: str = "fiub", result_dtype=None):
    """A map over the elements. `takes` are the kinds of dtype it is defined for ("f" floating, "i"
    signed, "u" unsigned, "b" bool); `gives` is the result's dtype where it is not the arguments'.

    Shapes broadcast, so each share of the gradient is summed back to its argument's shape.
    """
    def spec(*args: TensorSpec) -> TensorSpec:
        dtype = dtypes.require_same_dtype(name, *(a.dtype for a in args))
        if dtype.kind not in dtype_kinds:
            fit = ", ".join(d.name for d in dtypes.ALL if d.kind in dtype_kinds)
            raise DTypeError(name, f"it is not defined for {dtype}", f"use tf.cast to one of {fit}")
        return TensorSpec(shapes.broadcast(name, *(a.shape for a in args)), result_dtype or dtype)

    def shares(g, out, *args):
        return [d if d is None else sum_to_shape(d, a.shape) for d, a in zip(vjp(g, out, *args), args)]

    return primitive(name, "elementwise", spec, vjp and shares, meaning, expression=formula)


def reduction(name: str, formula: str, start, meaning, vjp, dtype_kinds: str = "fiu"):
    """A fold over attribute `axes`, which leave the shape."""
    def spec(x: TensorSpec, axes) -> TensorSpec:
        if x.dtype.kind not in dtype_kinds:
            raise DTypeError(name, f"it is not defined for {x.dtype}", "use tf.cast first")
        return TensorSpec(shapes.remove_axes(x.shape, axes), x.dtype)

    return primitive(name, "reduce", spec, vjp, meaning, reduction=Reduction(formula, start))


def sum_to_shape(g: Tensor, shape) -> Tensor:
    """The gradient of a broadcast: `g` summed over the axes along which `shape` was repeated."""
    shape = tuple(shape)
    if tuple(g.shape) == shape:
        return g
    axes = tuple(a for a in shapes.broadcast_axes(tuple(g.shape), shape) if g.shape[a] != 1)
    folded = bind("reduce_sum", g, axes=axes) if axes else g
    return bind("reshape", folded, shape=shape)


def broadcast_reduced(x: Tensor, axes, shape) -> Tensor:
    """The gradient of a fold: `x`, which lost `axes`, repeated along them to `shape`."""
    kept = bind("reshape", x, shape=shapes.keepdims_shape(tuple(shape), axes))
    return bind("broadcast_to", kept, shape=tuple(shape))
