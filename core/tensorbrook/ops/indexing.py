"""Indexing: the operator `x[key]`, boolean_mask, gather, embedding_lookup and one_hot."""
from builtins import range, slice
from itertools import compress
from math import nan

from ..base import dtypes, shapes
from ..base.errors import (
    DTypeError, FailedPreconditionError, IndexOutOfRangeError, InvalidArgumentError)
from ..base.host_array import is_array
from ..tensor import PYTHON_OPERATORS, Tensor, Variable, as_tensor
from . import kernel_primitives as kp
from . import math
from . import primitives as p
from .gather_scatter import batch_gather


def getitem(x, key) -> Tensor:
    """`x[key]` for ints, slices, None and ..., as in NumPy.

    An int Tensor gathers along axis 0, and a bool Tensor is a mask: see `boolean_mask`.
    """
    x = as_tensor(x)
    keys = key if isinstance(key, tuple) else (key,)
    if len(keys) == 1 and _is_index_array(keys[0]):
        indices = as_tensor(keys[0])
        return boolean_mask(x, indices) if indices.dtype.is_bool else gather(x, indices)
    begin, counts, steps, out = [], [], [], []
    axis = 0
    for k in _expand_ellipsis(keys, x):
        if k is None:
            out.append(1)
            continue
        b, n, s, keeps_axis = _resolve_key(k, axis, x)
        begin, counts, steps = begin + [b], counts + [n], steps + [s]
        out += [n] if keeps_axis else []
        axis += 1
    sliced = p.strided_slice(x, begin=tuple(begin), shape=tuple(counts), steps=tuple(steps))
    return p.reshape(sliced, shape=tuple(out))


def _is_index_array(key) -> bool:
    """Whether a key is an array of indices or a mask."""
    return isinstance(key, (Tensor, Variable, list)) or is_array(key) and key.shape != ()


def _expand_ellipsis(keys, x: Tensor) -> list:
    """The keys, with full slices for `...` and for axes without a key."""
    keys = list(keys)
    num_keys = sum(k is not None and k is not Ellipsis for k in keys)
    if num_keys > x.ndim:
        raise InvalidArgumentError("getitem", f"{num_keys} indices for shape {tuple(x.shape)}",
                                   f"use at most {x.ndim}, one per axis")
    position = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    full_slices = [slice(None)] * (x.ndim - num_keys)
    return keys[:position] + full_slices + keys[position + 1:]


def _resolve_key(key, axis: int, x: Tensor) -> tuple[int, int, int, bool]:
    """(begin, count, step, whether the result keeps the axis) of one key."""
    n = x.shape[axis]
    if isinstance(key, slice):
        if key.step == 0:
            raise InvalidArgumentError(
                "getitem", "the step of a slice is 0", "use a step other than 0"
            )
        begin, end, step = key.indices(n)
        return begin if end != begin else 0, len(range(begin, end, step)), step, True
    if _is_index_array(key) and as_tensor(key).ndim:
        raise InvalidArgumentError(
            "getitem", f"an array of shape {tuple(as_tensor(key).shape)} is one of several indices",
            f"use tf.gather(x, indices, axis={axis}) or tf.boolean_mask(x, mask, axis={axis})")
    if not hasattr(key, "__index__") or _is_bool(key):
        raise InvalidArgumentError(
            "getitem", f"{key!r} is not an index", "use ints, slices, None or ..."
        )
    i = key.__index__()
    if not -n <= i < n:
        raise IndexOutOfRangeError(
            "getitem", f"index {i} is out of range for axis {axis} of shape {tuple(x.shape)}",
            f"use {-n} to {n - 1}" if n else "the axis is empty")
    return i % n, 1, 1, False


def _is_bool(key) -> bool:
    """Whether a key is a bool scalar, which Python would accept as the index 0 or 1."""
    return isinstance(key, bool) or isinstance(key, (Tensor, Variable)) and key.dtype.is_bool


def boolean_mask(tensor, mask, axis=None) -> Tensor:
    """The slices of `tensor` at the indices where the bool `mask` is True: (count, ...).

    `mask` has the sizes of one or more axes of `tensor`, the first of which is `axis` (default 0).
    In the result, one axis of size `count` replaces them. `count` depends on the values, so a mask
    that is a symbolic tensor of tf.function raises FailedPreconditionError.

    >>> tf.boolean_mask(tf.constant([1, 2, 3]), [True, False, True]).numpy()
    array([1, 3], dtype=int32)
    """
    x, mask = as_tensor(tensor), as_tensor(mask)
    if not mask.dtype.is_bool:
        raise DTypeError("boolean_mask", f"the mask is {mask.dtype}, not bool",
                         "use a comparison: x != 0")
    axis = shapes.normalize_axis("boolean_mask", axis or 0, x.ndim)
    end = axis + mask.ndim
    if not mask.ndim or tuple(x.shape[axis:end]) != tuple(mask.shape):
        raise InvalidArgumentError(
            "boolean_mask", f"a mask of shape {tuple(mask.shape)} does not match axis {axis} of "
            f"shape {tuple(x.shape)}", "its sizes must be those of the axes from there on")
    if mask.symbolic:
        raise FailedPreconditionError(
            "boolean_mask", "the mask is a symbolic tensor of tf.function, so the size of the "
            "result is not known", "use tf.where(mask, x, 0), or select outside of the function")
    count = mask.spec.count
    is_selected = mask.__array_interface__["data"]              # one byte for each element
    indices = as_tensor(list(compress(range(count), is_selected)), dtypes.int32)
    flat = p.reshape(x, shape=(*x.shape[:axis], count, *x.shape[end:]))
    return kp.gather(flat, indices, axis=axis)


def gather(params, indices, axis=None, batch_dims: int = 0) -> Tensor:
    """The slices of `params` along `axis` at `indices` (int32).

    The first `batch_dims` axes of both operands are batch axes; `axis=None` is the first axis after
    them. An index that is out of range results in zeros.

    >>> tf.gather([[1, 2], [3, 4]], [1, 0], batch_dims=1).numpy()
    array([2, 3], dtype=int32)
    """
    params, indices = as_tensor(params), as_tensor(indices)
    if not batch_dims:
        axis = shapes.normalize_axis("gather", 0 if axis is None else axis, params.ndim)
        return kp.gather(params, indices, axis=axis)
    batch_dims = shapes.normalize_axis("gather", batch_dims, indices.ndim + 1)
    axis = shapes.normalize_axis("gather", batch_dims if axis is None else axis, params.ndim)
    return batch_gather(params, indices, axis, batch_dims)


def embedding_lookup(params, ids) -> Tensor:
    """The rows of the table `params` at the integers `ids`: (..., *row shape).

    >>> tf.nn.embedding_lookup(tf.ones((10, 3)), tf.constant([[1, 2]])).shape
    (1, 2, 3)
    """
    params, ids = as_tensor(params), as_tensor(ids)
    if not params.ndim or not ids.dtype.is_integer:
        raise InvalidArgumentError(
            "embedding_lookup", f"ids are {ids.spec} and params {params.spec}",
            "ids must be integers, and params needs at least one axis")
    return gather(params, p.cast(ids, dtype=dtypes.int32))


def one_hot(indices, depth: int, on_value=None, off_value=None, axis=-1, dtype=None) -> Tensor:
    """Insert an axis of size `depth`, with `on_value` at the index and `off_value` elsewhere.

    `on_value` is 1 and `off_value` 0 by default. `dtype=None` is the dtype of the given values, or
    float32. An index outside of [0, depth) results in `off_value` alone.

    >>> tf.one_hot([0, 1], 2, on_value=5).numpy()
    array([[5, 0],
           [0, 5]], dtype=int32)
    """
    indices = as_tensor(indices)
    if not indices.dtype.is_integer:
        raise DTypeError(
            "one_hot", f"indices are {indices.dtype}, not int32", "use tf.cast(indices, tf.int32)"
        )
    values, dtype = (on_value, off_value), None if dtype is None else dtypes.as_dtype(dtype)
    given = [_one_hot_value(v, dtype) for v in values if v is not None]
    dtype = dtypes.require_same_dtype("one_hot", *(v.dtype for v in given)) if given else \
        dtype or dtypes.float32
    on, off = (as_tensor(default, dtype) if v is None else given.pop(0)
               for v, default in zip(values, (1, 0)))
    return p.select(one_hot_mask(indices, depth, axis), on, off)


def _one_hot_value(value, dtype: dtypes.DType | None) -> Tensor:
    """`on_value` or `off_value` as a Tensor; a Python number takes the requested dtype."""
    is_number = isinstance(value, (int, float))
    out = as_tensor(value, dtype if is_number else None)
    if dtype is not None:
        dtypes.require_same_dtype("one_hot", dtype, out.dtype)
    return out


def one_hot_mask(indices: Tensor, depth: int, axis=-1) -> Tensor:
    """Insert an axis of size `depth`: whether the position along it is the index."""
    indices = indices if indices.dtype is dtypes.int32 else p.cast(indices, dtype=dtypes.int32)
    depth, = shapes.as_shape("one_hot", (depth,))
    axis = shapes.normalize_axis("one_hot", axis, indices.ndim + 1)
    shape = (*indices.shape[:axis], depth, *indices.shape[axis:])
    expanded = p.reshape(indices, shape=(*indices.shape[:axis], 1, *indices.shape[axis:]))
    return p.equal(p.iota(shape=shape, axis=axis), expanded)


# ── class indices, the labels of classification ───────────────────────────────────────────────


def is_class_index(labels: Tensor, num_classes: int) -> Tensor:
    """Whether each label is in [0, num_classes)."""
    labels = labels if labels.dtype is dtypes.int32 else p.cast(labels, dtype=dtypes.int32)
    return p.bitwise_and(p.greater_equal(labels, 0), p.less(labels, num_classes))


def one_hot_or_nan(labels: Tensor, num_classes: int) -> Tensor:
    """The float32 one-hot row of each label; a label outside of [0, num_classes) has a row of NaN,
    so that a mistake does not look like a loss of 0."""
    off = p.select(is_class_index(labels, num_classes), 0.0, nan)
    return p.select(one_hot_mask(labels, num_classes), 1.0, p.reshape(off, shape=(*off.shape, 1)))


def require_class_indices(op: str, labels: Tensor, num_classes: int) -> None:
    """Raise InvalidArgumentError unless all labels are in [0, num_classes), or are symbolic."""
    extrema = math.known_extrema(labels)
    if extrema is not None and not 0 <= extrema[0] <= extrema[1] < num_classes:
        low, high = extrema
        raise InvalidArgumentError(
            op, f"labels range from {low} to {high}, but there are {num_classes} classes",
            f"labels must be 0 to {num_classes - 1}")


PYTHON_OPERATORS["getitem"] = getitem
