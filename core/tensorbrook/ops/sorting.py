"""Sorting: `tf.sort`, `tf.argsort`, `top_k` and `in_top_k`."""
from typing import NamedTuple

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import math, sort_primitives
from . import primitives as p

# The number of chunks of a long row, which limits the number of threads that sort it.
RADIX_CHUNKS = 16
# From this fraction of a row on, a full sort takes no longer than top_k.
FULL_SORT_FRACTION = 1 / 8


def sort(values, axis=-1, direction="ASCENDING") -> Tensor:
    """`values` sorted along `axis`; NaN is greater than every number.

    >>> tf.sort(tf.constant([3, 1, 2]), direction="DESCENDING").numpy()
    array([3, 2, 1], dtype=int32)
    """
    return _sort_along_axis("sort", values, axis, direction)[0]


def argsort(values, axis=-1, direction="ASCENDING", stable=False) -> Tensor:
    """The int32 indices that sort `values` along `axis`. Sorting is always stable."""
    return _sort_along_axis("argsort", values, axis, direction)[1]


class TopK(NamedTuple):
    """The result of `top_k`."""

    values: Tensor
    indices: Tensor


def top_k(input, k=1, sorted=True) -> TopK:
    """(values, int32 indices) of the `k` largest elements along the last axis, in descending order.

    Equal elements are in the order of their indices. `sorted=False` has no effect.

    >>> tf.math.top_k(tf.constant([1., 5., 3.]), k=2).indices.numpy()
    array([1, 2], dtype=int32)
    """
    x, dtype = _sortable(input)
    n = x.shape[-1] if x.ndim else 0
    is_int = hasattr(k, "__index__") and not isinstance(k, bool)
    if not x.ndim or not is_int or not 0 <= k.__index__() <= n:
        raise InvalidArgumentError(
            "top_k", f"k is {k!r} for an input of shape {tuple(x.shape)}",
            f"use an int from 0 to {n}, the size of the last axis" if x.ndim
            else "the input needs at least one axis")
    k = k.__index__()
    if k > max(n * FULL_SORT_FRACTION, 1):
        first = (..., slice(None, k))
        values, indices = (out[first] for out in _sort_rows(x, True))
    else:
        values, indices = sort_primitives.top_k(x, k=k)
    return TopK(math.cast(values, dtype), indices)


def in_top_k(targets, predictions, k) -> Tensor:
    """Whether the prediction of each target class is among the `k` largest of its row.

    `targets` are class indices (batch,), and `predictions` are (batch, classes). The result is bool
    (batch,). It is True for ties with the k-th largest, and False if the prediction is not finite.
    """
    targets, x = as_tensor(targets), as_tensor(predictions)
    if x.ndim != 2 or tuple(targets.shape) != tuple(x.shape[:1]) or not targets.dtype.is_integer:
        raise InvalidArgumentError(
            "in_top_k", f"targets are {targets.spec} and predictions {x.spec}",
            "pass class indices (batch,) and predictions (batch, classes)")
    targets = math.cast(targets, dtypes.int32)
    column = p.reshape(targets, shape=(targets.shape[0], 1))
    prediction = sort_primitives.take_along_rows(x, column)
    num_greater = math.reduce_sum(math.cast(p.greater(x, prediction), dtypes.int32), 1)
    in_range = p.bitwise_and(p.greater_equal(targets, 0), p.less(targets, x.shape[1]))
    finite = p.reshape(math.is_finite(prediction), shape=(x.shape[0],))
    return p.bitwise_and(p.bitwise_and(finite, in_range), p.less(num_greater, k))


def _sortable(values) -> tuple[Tensor, dtypes.DType]:
    """(the tensor in a dtype that the sort primitives support, its original dtype)."""
    x = as_tensor(values)
    return (x if x.dtype.is_floating else math.cast(x, dtypes.int32)), x.dtype


def _sort_along_axis(op: str, values, axis, direction) -> tuple[Tensor, Tensor]:
    """(sorted values, indices) along an axis."""
    x, dtype = _sortable(values)
    if direction not in ("ASCENDING", "DESCENDING"):
        raise InvalidArgumentError(op, f"direction is {direction!r}",
                                   'use "ASCENDING" or "DESCENDING"')
    axis = shapes.normalize_axis(op, axis, x.ndim)
    perm = list(range(x.ndim))
    perm[axis], perm[-1] = perm[-1], perm[axis]                 # its own inverse
    is_last = axis == x.ndim - 1
    rows = x if is_last else p.transpose(x, perm=tuple(perm))
    outs = _sort_rows(rows, direction == "DESCENDING")
    values, indices = outs if is_last else (p.transpose(out, perm=tuple(perm)) for out in outs)
    return math.cast(values, dtype), indices


def _sort_rows(x: Tensor, descending: bool) -> tuple[Tensor, Tensor]:
    if x.shape[-1] <= sort_primitives.MAX_SORT_LENGTH or x.dtype is dtypes.float64:
        return sort_primitives.sort(x, descending=descending)
    items = sort_primitives.radix_keys(x, descending=descending)
    for digit in range(4):
        counts = sort_primitives.radix_histogram(items, digit=digit, chunks=RADIX_CHUNKS)
        items = sort_primitives.radix_scatter(items, counts, digit=digit)
    indices = p.strided_slice(items, begin=(0, 0, 0), shape=(*items.shape[:2], 1), steps=(1, 1, 1))
    indices = p.reshape(indices, shape=tuple(x.shape))
    return sort_primitives.take_along_rows(x, indices), indices
