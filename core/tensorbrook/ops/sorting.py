"""Sorting and the largest elements, by TensorFlow's names."""
from typing import NamedTuple

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import math, sort_primitives
from . import primitives as p

# How many parts a long row is cut into, so that so many threads can share it.
RADIX_CHUNKS = 16
# From this share of a row on, sorting all of it takes no longer than finding the first k.
FULL_SORT_FRACTION = 1 / 8


def sort(values, axis=-1, direction="ASCENDING") -> Tensor:
    """`values` in order along `axis`; NaN is above all numbers.

    >>> tf.sort(tf.constant([3, 1, 2]), direction="DESCENDING").numpy()
    array([3, 2, 1], dtype=int32)
    """
    return _sort_along_axis("sort", values, axis, direction)[0]


def argsort(values, axis=-1, direction="ASCENDING", stable=False) -> Tensor:
    """The int32 indices that put `values` in order along `axis`. Equal numbers always keep their
    order, `stable` or not."""
    return _sort_along_axis("argsort", values, axis, direction)[1]


class TopK(NamedTuple):
    """What `top_k` gives."""

    values: Tensor
    indices: Tensor


def top_k(input, k=1, sorted=True) -> TopK:
    """(values, indices) of the `k` largest elements along the last axis, the largest first, and of
    equal ones the first. They are in order even where `sorted` does not ask for it.

    >>> tf.math.top_k(tf.constant([1., 5., 3.]), k=2).indices.numpy()
    array([1, 2], dtype=int32)
    """
    x, dtype = _sortable(input)
    n = x.shape[-1] if x.ndim else 0
    whole = hasattr(k, "__index__") and not isinstance(k, bool)
    if not x.ndim or not whole or not 0 <= k.__index__() <= n:
        raise InvalidArgumentError(
            "top_k", f"k is {k!r} for an input of shape {tuple(x.shape)}",
            f"use a whole number from 0 to {n}, the size of the last axis" if x.ndim
            else "the input needs at least one axis")
    k = k.__index__()
    if k > max(n * FULL_SORT_FRACTION, 1):
        first = (..., slice(None, k))
        values, indices = (out[first] for out in _sort_rows(x, True))
    else:
        values, indices = sort_primitives.top_k(x, k=k)
    return TopK(math.cast(values, dtype), indices)


def in_top_k(targets, predictions, k) -> Tensor:
    """Whether the prediction (batch, classes) of each target class (batch,) is among the `k`
    largest of its row, those that equal the k-th included; False where it is not finite."""
    targets, x = as_tensor(targets), as_tensor(predictions)
    if x.ndim != 2 or tuple(targets.shape) != tuple(x.shape[:1]) or not targets.dtype.is_integer:
        raise InvalidArgumentError(
            "in_top_k", f"targets are {targets.spec} and predictions {x.spec}",
            "give whole numbers (batch,), and predictions (batch, classes)")
    targets = math.cast(targets, dtypes.int32)
    column = p.reshape(targets, shape=(targets.shape[0], 1))
    own = sort_primitives.take_along_rows(x, column)
    above = math.reduce_sum(math.cast(p.greater(x, own), dtypes.int32), 1)
    known = p.bitwise_and(p.greater_equal(targets, 0), p.less(targets, x.shape[1]))
    finite = p.reshape(math.is_finite(own), shape=(x.shape[0],))
    return p.bitwise_and(p.bitwise_and(finite, known), p.less(above, k))


def _sortable(values) -> tuple[Tensor, dtypes.DType]:
    """(a tensor of a dtype that is sorted, the dtype that it was)."""
    x = as_tensor(values)
    return (x if x.dtype.is_floating else math.cast(x, dtypes.int32)), x.dtype


def _sort_along_axis(op: str, values, axis, direction) -> tuple[Tensor, Tensor]:
    """(values, indices) in order along an axis."""
    x, dtype = _sortable(values)
    if direction not in ("ASCENDING", "DESCENDING"):
        raise InvalidArgumentError(op, f"direction is {direction!r}",
                                   'use "ASCENDING" or "DESCENDING"')
    axis = shapes.normalize_axis(op, axis, x.ndim)
    turned = list(range(x.ndim))
    turned[axis], turned[-1] = turned[-1], turned[axis]
    last = axis == x.ndim - 1
    rows = x if last else p.transpose(x, perm=tuple(turned))
    outs = _sort_rows(rows, direction == "DESCENDING")
    values, indices = outs if last else (p.transpose(out, perm=tuple(turned)) for out in outs)
    return math.cast(values, dtype), indices


def _sort_rows(x: Tensor, descending: bool) -> tuple[Tensor, Tensor]:
    if x.shape[-1] <= sort_primitives.MAX_SORT_LENGTH or x.dtype is dtypes.float64:
        return sort_primitives.sort(x, descending=descending)
    items = sort_primitives.radix_keys(x, descending=descending)
    for digit in range(4):
        counts = sort_primitives.radix_histogram(items, digit=digit, parts=RADIX_CHUNKS)
        items = sort_primitives.radix_scatter(items, counts, digit=digit)
    places = p.strided_slice(items, begin=(0, 0, 0), shape=(*items.shape[:2], 1), steps=(1, 1, 1))
    indices = p.reshape(places, shape=tuple(x.shape))
    return sort_primitives.take_along_rows(x, indices), indices
