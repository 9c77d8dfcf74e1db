"""Sums, products and log-sums along the way, by TensorFlow's names."""
from math import inf, prod

from ..base import shapes
from ..base.errors import DTypeError
from ..ir import TensorSpec
from ..tensor import Tensor, as_tensor
from . import math
from . import primitives as p
from .registration import primitive, reduction, broadcast_reduced


def _spec(x: TensorSpec, axis, exclusive, reverse) -> TensorSpec:
    if x.dtype.name in ("bool", "uint8"):
        raise DTypeError("cumsum", f"it is not defined for {x.dtype}",
                         "use tf.cast to int32 or float32")
    return x


def _cumsum(np, x, axis, exclusive, reverse):
    turned = np.flip(x, axis) if reverse else x
    out = np.cumsum(turned, axis, dtype=x.dtype)
    out = out - turned if exclusive and x.dtype.kind == "i" else out
    if exclusive and x.dtype.kind == "f":
        # Not out - x, which would make NaN of infinities.
        begin = np.zeros_like(np.take(x, [0] if x.shape[axis] else [], axis))
        rest = np.take(out, np.arange(max(x.shape[axis] - 1, 0)), axis)
        out = np.concatenate([begin, rest], axis)
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
    """The sum of each element and those before it along `axis`; without its own if `exclusive`;
    from the end on if `reverse`.

    >>> tf.cumsum(tf.constant([1, 2, 3])).numpy()
    array([1, 3, 6], dtype=int32)
    """
    x = as_tensor(x)
    axis = shapes.normalize_axis("cumsum", axis, x.ndim)
    return _cumsum_primitive(x, axis=axis, exclusive=bool(exclusive), reverse=bool(reverse))


def cumprod(x, axis=0, exclusive=False, reverse=False) -> Tensor:
    """The product of each element and those before it, as `cumsum` is their sum. Zeros do not
    spoil its gradient."""
    return _hillis_steele_scan("cumprod", p.multiply, 1, as_tensor(x), axis, exclusive, reverse)


def cumulative_logsumexp(x, axis=0, exclusive=False, reverse=False) -> Tensor:
    """log(cumsum(exp(x))), without overflow."""
    x = as_tensor(x)
    if not x.dtype.is_floating:
        raise DTypeError("cumulative_logsumexp", f"it is not defined for {x.dtype}",
                         "use tf.cast to float32")
    return _hillis_steele_scan("cumulative_logsumexp", _log_add, -inf, x, axis, exclusive, reverse)


def _log_add(x: Tensor, y: Tensor) -> Tensor:
    """log(exp(x) + exp(y)); minus infinity stands for nothing."""
    top = p.stop_gradient(p.maximum(x, y))
    near = math.where(math.is_finite(top), top, 0.0)
    return p.log(p.exp(x - near) + p.exp(y - near)) + near


# ── doubling how far each element reaches ─────────────────────────────────────────────────────


def _hillis_steele_scan(op: str, fold, start, x: Tensor, axis, exclusive, reverse) -> Tensor:
    """A fold along the way: each element takes in what lies 1, 2, 4, ... places before it."""
    axis = shapes.normalize_axis(op, axis, x.ndim)
    way = -1 if reverse else 1
    if exclusive:
        x = _shift(x, axis, way, start)
    distance = 1
    while distance < x.shape[axis]:
        x = fold(x, _shift(x, axis, way * distance, start))
        distance *= 2
    return x


def _shift(x: Tensor, axis: int, by: int, fill) -> Tensor:
    """The elements `by` places further along an axis, with `fill` where nothing came."""
    n, shape = x.shape[axis], tuple(x.shape)
    if n == 0:
        return x

    def _replace_axis(value: int, others) -> tuple[int, ...]:
        return tuple(value if a == axis else other for a, other in enumerate(others))

    nowhere, ones = (0,) * x.ndim, (1,) * x.ndim
    kept = p.strided_slice(x, begin=_replace_axis(max(-by, 0), nowhere), steps=ones,
                           shape=_replace_axis(max(n - abs(by), 0), shape))
    return p.pad_strided(kept, begin=_replace_axis(max(by, 0), nowhere), shape=shape, steps=ones, fill=fill)


# ── products ──────────────────────────────────────────────────────────────────────────────────


def _product_of_others(x: Tensor, axes) -> Tensor:
    """For each element the product of the others along `axes`: of those before and those after."""
    if not x.spec.count:
        return x
    order = tuple(a for a in range(x.ndim) if a not in axes) + tuple(axes)
    turned, n = p.transpose(x, perm=order), prod(x.shape[a] for a in axes)
    rows = p.reshape(turned, shape=(x.spec.count // n, n))
    others = cumprod(rows, 1, exclusive=True) * cumprod(rows, 1, exclusive=True, reverse=True)
    back = tuple(order.index(a) for a in range(x.ndim))
    return p.transpose(p.reshape(others, shape=tuple(turned.shape)), perm=back)


# Its gradient is not out / x, which fails at 0.
_reduce_prod_primitive = reduction(
    "reduce_prod", "x * y", 1, lambda np, x, axes: x.prod(axes, dtype=x.dtype),
    lambda g, out, x, axes: (broadcast_reduced(g, axes, x.shape) * _product_of_others(x, axes),))


def reduce_prod(input_tensor, axis=None, keepdims=False) -> Tensor:
    """The product over `axis` (None: over all); 1 of nothing."""
    x = as_tensor(input_tensor)
    return math._reduce("reduce_prod", _reduce_prod_primitive, x, axis, keepdims)
