"""Picking elements: Python's square brackets, gather, one-hot, and adding at indices."""
from builtins import range, slice

from ..base import dtypes, shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..tensor import PYTHON_OPERATORS, Tensor, Variable, as_tensor
from . import kernel_primitives as c
from . import primitives as p
from .gather_scatter import batch_gather


def getitem(x, key) -> Tensor:
    """`x[key]` for ints, slices, None and ..., as in NumPy; one int Tensor gathers along axis 0."""
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
        b, n, s, stays = _resolve_key(k, axis, x)
        begin, counts, steps = begin + [b], counts + [n], steps + [s]
        out += [n] if stays else []
        axis += 1
    cut = p.strided_slice(x, begin=tuple(begin), shape=tuple(counts), steps=tuple(steps))
    return p.reshape(cut, shape=tuple(out))


def _expand_ellipsis(keys, x: Tensor) -> list:
    """The keys with `...` and what is left out at the end written as full slices."""
    keys = list(keys)
    named = sum(k is not None and k is not Ellipsis for k in keys)
    if named > x.ndim:
        raise InvalidArgumentError("getitem", f"{named} indices for shape {tuple(x.shape)}",
                                   f"it has {x.ndim} axes")
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    rest = [slice(None)] * (x.ndim - named)
    return keys[:at] + rest + keys[at + 1:]


def _resolve_key(key, axis: int, x: Tensor) -> tuple[int, int, int, bool]:
    """(first, count, step, whether the axis stays) of one key."""
    n = x.shape[axis]
    if isinstance(key, slice):
        if key.step == 0:
            raise InvalidArgumentError(
                "getitem", "the step of a slice is 0", "use a step that is not zero"
            )
        begin, end, step = key.indices(n)
        return begin if end != begin else 0, len(range(begin, end, step)), step, True
    if not hasattr(key, "__index__"):
        raise InvalidArgumentError(
            "getitem", f"{key!r} is not an index", "use ints, slices, None or ..."
        )
    i = key.__index__()
    if not -n <= i < n:
        # An IndexError too, so that Python's own iteration protocols end.
        raise _IndexOutOfRange("getitem", f"index {i} is outside axis {axis} of shape {tuple(x.shape)}",
                          f"use {-n} to {n - 1}" if n else "the axis is empty")
    return i % n, 1, 1, False


class _IndexOutOfRange(InvalidArgumentError, IndexError):
    """An index beyond an axis."""


def gather(params, indices, axis=None, batch_dims: int = 0) -> Tensor:
    """The rows of `params` along `axis` (the first after the batch if None) that `indices` (int32)
    name; a row outside is all zero. The first `batch_dims` axes of both are one batch.

    >>> tf.gather([[1, 2], [3, 4]], [1, 0], batch_dims=1).numpy()
    array([2, 3], dtype=int32)
    """
    params, indices = as_tensor(params), as_tensor(indices)
    if not batch_dims:
        axis = shapes.normalize_axis("gather", 0 if axis is None else axis, params.ndim)
        return c.gather(params, indices, axis=axis)
    batch_dims = shapes.normalize_axis("gather", batch_dims, indices.ndim + 1)
    axis = shapes.normalize_axis("gather", batch_dims if axis is None else axis, params.ndim)
    return batch_gather(params, indices, axis, batch_dims)


def embedding_lookup(params, ids) -> Tensor:
    """The rows of the table `params` that the whole numbers `ids` name, in the shape of `ids`.

    >>> tf.nn.embedding_lookup(tf.ones((10, 3)), tf.constant([[1, 2]])).shape
    (1, 2, 3)
    """
    params, ids = as_tensor(params), as_tensor(ids)
    if not params.ndim or not ids.dtype.is_integer:
        raise InvalidArgumentError(
            "embedding_lookup", f"ids are {ids.spec} and params {params.spec}",
            "ids are whole numbers, each of which names a row of params")
    return gather(params, p.cast(ids, dtype=dtypes.int32))


def one_hot(indices, depth: int, on_value=1.0, off_value=0.0, axis=-1, dtype=None) -> Tensor:
    """A new axis of size `depth` with `on_value` at the index and `off_value` elsewhere."""
    indices = as_tensor(indices)
    if not indices.dtype.is_integer:
        raise DTypeError(
            "one_hot", f"indices are {indices.dtype}, not int32", "use tf.cast(indices, tf.int32)"
        )
    if indices.dtype is not dtypes.int32:
        indices = p.cast(indices, dtype=dtypes.int32)
    depth, = shapes.as_shape("one_hot", (depth,))
    axis = shapes.normalize_axis("one_hot", axis, indices.ndim + 1)
    whole = (*indices.shape[:axis], depth, *indices.shape[axis:])
    thin = p.reshape(indices, shape=(*indices.shape[:axis], 1, *indices.shape[axis:]))
    hit = p.equal(p.iota(shape=whole, axis=axis), thin)
    dtype = dtypes.as_dtype(dtype) if dtype is not None else dtypes.float32
    return p.select(hit, as_tensor(on_value, dtype if not isinstance(on_value, Tensor) else None),
                    as_tensor(off_value, dtype if not isinstance(off_value, Tensor) else None))


PYTHON_OPERATORS["getitem"] = getitem
