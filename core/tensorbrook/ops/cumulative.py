"""Cumulative sum, product and log-sum-exp, and the reduction by product."""
from math import inf, prod

from ..base import shapes
from ..base.errors import DTypeError
from ..ir import TensorSpec
from ..tensor import Tensor, as_tensor
from . import math
from . import primitives as p
from .registration import broadcast_reduced, primitive, reduction


def _spec(x: TensorSpec, axis, exclusive, reverse) -> TensorSpec:
    if x.dtype.name in ("bool", "uint8"):
        raise DTypeError("cumsum", f"{x.dtype} is not supported", "use tf.cast to int32 or float32")
    return x


def _cumsum(np, x, axis, exclusive, reverse):
    x = np.flip(x, axis) if reverse else x
    out = np.cumsum(x, axis, dtype=x.dtype)
    out = out - x if exclusive and x.dtype.kind == "i" else out
    if exclusive and x.dtype.kind == "f":
        # Not out - x, which is NaN for infinities.
        zeros = np.zeros_like(np.take(x, [0] if x.shape[axis] else [], axis))
        previous = np.take(out, np.arange(max(x.shape[axis] - 1, 0)), axis)
        out = np.concatenate([zeros, previous], axis)
    return np.flip(out, axis) if reverse else out


def _kernel_call(specs, out: TensorSpec, axis, exclusive, reverse):
    x = specs[0]
    name = "cumsum_f32" if x.dtype.is_floating else "cumsum_i32"
    sizes = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1:])
    return name, (*sizes, int(exclusive), int(reverse)), 4 * x.count


_cumsum_primitive = primitive(
    "cumsum", "kernel", _spec, lambda g, out, x, axis, exclusive, reverse: (
        _cumsum_primitive(g, axis=axis, exclusive=exclusive, reverse=not reverse),),
    _cumsum, kernel_call=_kernel_call)


def cumsum(x, axis=0, exclusive=False, reverse=False) -> Tensor:
    """The cumulative sum along `axis`: the sum of each element and all previous elements.

    `exclusive` excludes the element itself; `reverse` sums from the end.

    >>> tf.cumsum(tf.constant([1, 2, 3])).numpy()
    array([1, 3, 6], dtype=int32)
    """
    x = as_tensor(x)
    axis = shapes.normalize_axis("cumsum", axis, x.ndim)
    return _cumsum_primitive(x, axis=axis, exclusive=bool(exclusive), reverse=bool(reverse))


def cumprod(x, axis=0, exclusive=False, reverse=False) -> Tensor:
    """The cumulative product, with the options of `cumsum`. The gradient is exact at zeros."""
    return _hillis_steele_scan("cumprod", p.multiply, 1, as_tensor(x), axis, exclusive, reverse)


def cumulative_logsumexp(x, axis=0, exclusive=False, reverse=False) -> Tensor:
    """log(cumsum(exp(x))), without overflow."""
    x = as_tensor(x)
    if not x.dtype.is_floating:
        raise DTypeError("cumulative_logsumexp", f"{x.dtype} is not supported",
                         "use tf.cast to float32")
    return _hillis_steele_scan("cumulative_logsumexp", _log_add, -inf, x, axis, exclusive, reverse)


def _log_add(x: Tensor, y: Tensor) -> Tensor:
    """log(exp(x) + exp(y)), also for minus infinity, the identity element."""
    maximum = p.stop_gradient(p.maximum(x, y))
    shift = math.where(math.is_finite(maximum), maximum, 0.0)
    return p.log(p.exp(x - shift) + p.exp(y - shift)) + shift


# ── parallel scan in log2(n) steps ────────────────────────────────────────────────────────────


def _hillis_steele_scan(op: str, combine, identity, x: Tensor, axis, exclusive,
                        reverse) -> Tensor:
    """A cumulative reduction: in step i, each element is combined with the one 2**i before it."""
    axis = shapes.normalize_axis(op, axis, x.ndim)
    sign = -1 if reverse else 1
    if exclusive:
        x = _shift(x, axis, sign, identity)
    distance = 1
    while distance < x.shape[axis]:
        x = combine(x, _shift(x, axis, sign * distance, identity))
        distance *= 2
    return x


def _shift(x: Tensor, axis: int, distance: int, fill) -> Tensor:
    """Move the elements by `distance` along an axis; vacated positions are filled with `fill`."""
    n, shape = x.shape[axis], tuple(x.shape)
    if n == 0:
        return x

    def with_axis(value: int, sizes) -> tuple[int, ...]:
        return tuple(value if a == axis else size for a, size in enumerate(sizes))

    zeros, ones = (0,) * x.ndim, (1,) * x.ndim
    remaining = p.strided_slice(x, begin=with_axis(max(-distance, 0), zeros), steps=ones,
                                shape=with_axis(max(n - abs(distance), 0), shape))
    return p.pad_strided(remaining, begin=with_axis(max(distance, 0), zeros), shape=shape,
                         steps=ones, fill=fill)


# ── reduction by product ──────────────────────────────────────────────────────────────────────


def _product_of_others(x: Tensor, axes) -> Tensor:
    """The product of all other elements along `axes` for each element: before it and after it."""
    if not x.spec.count:
        return x
    perm = tuple(a for a in range(x.ndim) if a not in axes) + tuple(axes)
    transposed, n = p.transpose(x, perm=perm), prod(x.shape[a] for a in axes)
    rows = p.reshape(transposed, shape=(x.spec.count // n, n))
    others = cumprod(rows, 1, exclusive=True) * cumprod(rows, 1, exclusive=True, reverse=True)
    others = p.reshape(others, shape=tuple(transposed.shape))
    return p.transpose(others, perm=p.inverse_permutation(perm))


# The derivative is not computed as out / x, which is NaN at 0.
_reduce_prod_primitive = reduction(
    "reduce_prod", "x * y", 1, lambda np, x, axes: x.prod(axes, dtype=x.dtype),
    lambda g, out, x, axes: (broadcast_reduced(g, axes, x.shape) * _product_of_others(x, axes),))


def reduce_prod(input_tensor, axis=None, keepdims=False) -> Tensor:
    """The product over `axis` (None: over all axes); 1 for no elements."""
    return math.apply_reduction("reduce_prod", _reduce_prod_primitive, input_tensor, axis, keepdims)
