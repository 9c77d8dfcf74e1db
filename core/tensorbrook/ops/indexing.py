"""Indexing: the operator `x[key]`, gather, embedding_lookup and one_hot."""
from builtins import range, slice

from ..base import dtypes, shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..tensor import PYTHON_OPERATORS, Tensor, Variable, as_tensor
from . import kernel_primitives as kp
from . import primitives as p
from .gather_scatter import batch_gather


def getitem(x, key) -> Tensor:
    """`x[key]` for ints, slices, None and ..., as in NumPy; an int Tensor gathers along axis 0."""
    x = as_tensor(x)
    keys = key if isinstance(key, tuple) else (key,)
    if len(keys) == 1 and isinstance(keys[0], (Tensor, Variable, list)):
        return gather(x, keys[0])
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
    if not hasattr(key, "__index__"):
        raise InvalidArgumentError(
            "getitem", f"{key!r} is not an index", "use ints, slices, None or ..."
        )
    i = key.__index__()
    if not -n <= i < n:
        raise _IndexOutOfRange(
            "getitem", f"index {i} is out of range for axis {axis} of shape {tuple(x.shape)}",
            f"use {-n} to {n - 1}" if n else "the axis is empty")
    return i % n, 1, 1, False


class _IndexOutOfRange(InvalidArgumentError, IndexError):
    """An index out of range; an IndexError too, which ends Python's iteration protocol."""


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


def one_hot(indices, depth: int, on_value=1.0, off_value=0.0, axis=-1, dtype=None) -> Tensor:
    """Insert an axis of size `depth`, with `on_value` at the index and `off_value` elsewhere."""
    indices = as_tensor(indices)
    if not indices.dtype.is_integer:
        raise DTypeError(
            "one_hot", f"indices are {indices.dtype}, not int32", "use tf.cast(indices, tf.int32)"
        )
    if indices.dtype is not dtypes.int32:
        indices = p.cast(indices, dtype=dtypes.int32)
    depth, = shapes.as_shape("one_hot", (depth,))
    axis = shapes.normalize_axis("one_hot", axis, indices.ndim + 1)
    shape = (*indices.shape[:axis], depth, *indices.shape[axis:])
    expanded = p.reshape(indices, shape=(*indices.shape[:axis], 1, *indices.shape[axis:]))
    is_on = p.equal(p.iota(shape=shape, axis=axis), expanded)
    dtype = dtypes.as_dtype(dtype) if dtype is not None else dtypes.float32
    return p.select(is_on, as_tensor(on_value, dtype if not isinstance(on_value, Tensor) else None),
                    as_tensor(off_value, dtype if not isinstance(off_value, Tensor) else None))


PYTHON_OPERATORS["getitem"] = getitem
