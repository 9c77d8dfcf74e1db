"""Reading and adding at places: along batches, by tuples of indices, and by groups of rows."""
from math import prod

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import kernel_primitives as c
from . import math
from . import primitives as p


def batch_gather(params: Tensor, indices: Tensor, axis: int, batch_dims: int) -> Tensor:
    """`gather` along `axis` where the first axes of both are the same batch."""
    batch = tuple(params.shape[:batch_dims])
    if axis < batch_dims or tuple(indices.shape[:batch_dims]) != batch:
        raise InvalidArgumentError(
            "gather", f"indices {tuple(indices.shape)} with batch_dims {batch_dims} and axis "
            f"{axis} meet params {tuple(params.shape)}",
            "the first batch_dims sizes must be equal, and axis comes after them")
    front = (*range(batch_dims), axis, *(a for a in range(batch_dims, params.ndim) if a != axis))
    rows = p.transpose(params, perm=front)
    n, inner_shape = params.shape[axis], tuple(rows.shape[batch_dims + 1:])
    index_shape = tuple(indices.shape[batch_dims:])
    ids = p.reshape(indices, shape=(prod(batch), prod(index_shape)))
    begins = p.iota(shape=(prod(batch), prod(index_shape)), axis=0) * n
    inside = p.bitwise_and(p.greater_equal(ids, 0), p.less(ids, n))
    places = p.reshape(math.where(inside, ids + begins, -1), shape=(ids.spec.count,))
    found = c.gather(p.reshape(rows, shape=(prod(batch) * n, *inner_shape)), places, axis=0)
    out = p.reshape(found, shape=(*batch, *index_shape, *inner_shape))
    # Where `axis` was stand the axes of `indices` now.
    between, last = axis - batch_dims, len(batch) + len(index_shape)
    return p.transpose(out, perm=(*range(batch_dims), *range(last, last + between),
                                  *range(batch_dims, last), *range(last + between, out.ndim)))


def _linearize_indices(op: str, indices: Tensor, shape) -> tuple[Tensor, int]:
    """(the row that each tuple of indices names among those of the first axes, -1 if it lies
    outside; how many of these axes there are)."""
    depth = indices.shape[-1] if indices.ndim else 0
    if not indices.dtype.is_integer or not 0 < depth <= len(shape):
        raise InvalidArgumentError(op, f"indices are {indices.spec} for shape {tuple(shape)}",
                                   "their last axis holds whole numbers, one for each axis")
    tuples = p.reshape(math.cast(indices, dtypes.int32), shape=(prod(indices.shape[:-1]), depth))
    place, inside = None, None
    for axis in range(depth):
        i = p.reshape(p.strided_slice(tuples, begin=(0, axis), shape=(tuples.shape[0], 1),
                                      steps=(1, 1)), shape=(tuples.shape[0],))
        fits = p.bitwise_and(p.greater_equal(i, 0), p.less(i, shape[axis]))
        place = i if place is None else place * shape[axis] + i
        inside = fits if inside is None else p.bitwise_and(inside, fits)
    return math.where(inside, place, -1), depth


def gather_nd(params, indices) -> Tensor:
    """The parts of `params` that the tuples in the last axis of `indices` name; zeros for those
    outside.

    >>> tf.gather_nd([[1, 2], [3, 4]], [[0, 1], [1, 0]]).numpy()
    array([2, 3], dtype=int32)
    """
    params, indices = as_tensor(params), as_tensor(indices)
    places, depth = _linearize_indices("gather_nd", indices, params.shape)
    inner_shape = tuple(params.shape[depth:])
    rows = p.reshape(params, shape=(prod(params.shape[:depth]), *inner_shape))
    return p.reshape(c.gather(rows, places, axis=0), shape=(*indices.shape[:-1], *inner_shape))


def scatter_nd(indices, updates, shape) -> Tensor:
    """Zeros of that shape, with `updates` added where the tuples in the last axis of `indices`
    say; those outside are dropped."""
    indices, updates = as_tensor(indices), as_tensor(updates)
    shape = shapes.as_shape("scatter_nd", as_tensor(shape).tolist())
    places, depth = _linearize_indices("scatter_nd", indices, shape)
    wanted = (*indices.shape[:-1], *shape[depth:])
    if tuple(updates.shape) != wanted:
        raise InvalidArgumentError("scatter_nd", f"updates have shape {tuple(updates.shape)}",
                                   f"for these indices and shape {shape} they must be {wanted}")
    rows = p.reshape(updates, shape=(places.shape[0], *shape[depth:]))
    return p.reshape(c.scatter_add(rows, places, rows=prod(shape[:depth])), shape=shape)


def tensor_scatter_nd_add(tensor, indices, updates) -> Tensor:
    """`tensor` with `updates` added at places, as `scatter_nd` does."""
    tensor = as_tensor(tensor)
    return tensor + scatter_nd(indices, updates, tuple(tensor.shape))


# ── groups of rows ────────────────────────────────────────────────────────────────────────────


def unsorted_segment_sum(data, segment_ids, num_segments: int) -> Tensor:
    """Row i of the result is the sum of the rows of `data` whose id is i; `segment_ids` has the
    shape of the first axes of `data`, and ids outside are dropped."""
    data, ids = as_tensor(data), as_tensor(segment_ids)
    if tuple(data.shape[:ids.ndim]) != tuple(ids.shape):
        raise InvalidArgumentError(
            "unsorted_segment_sum", f"segment_ids {tuple(ids.shape)} meet data "
            f"{tuple(data.shape)}", "they must have the shape of the first axes of data")
    inner_shape = tuple(data.shape[ids.ndim:])
    rows = p.reshape(data, shape=(ids.spec.count, *inner_shape))
    return c.scatter_add(rows, p.reshape(ids, shape=(ids.spec.count,)), rows=int(num_segments))


def unsorted_segment_mean(data, segment_ids, num_segments: int) -> Tensor:
    """The mean of the rows of each id; 0 where there are none."""
    data, ids = as_tensor(data), as_tensor(segment_ids)
    total = unsorted_segment_sum(data, ids, num_segments)
    ones = p.broadcast_to(as_tensor(1, data.dtype), shape=tuple(ids.shape))
    counts = p.maximum(unsorted_segment_sum(ones, ids, num_segments), as_tensor(1, data.dtype))
    wide = p.reshape(counts, shape=(*counts.shape, *(1,) * (total.ndim - 1)))
    return math.truediv(total, wide) if data.dtype.is_floating else p.floordiv(total, wide)


def segment_sum(data, segment_ids) -> Tensor:
    """The sums of the rows of each id, where ids rise from 0 on; as many as the last id tells, so
    that it must be known: within tf.function use `unsorted_segment_sum`."""
    return unsorted_segment_sum(data, segment_ids, _num_segments("segment_sum", segment_ids))


def segment_mean(data, segment_ids) -> Tensor:
    """The means of the rows of each id; see `segment_sum`."""
    return unsorted_segment_mean(data, segment_ids, _num_segments("segment_mean", segment_ids))


def _num_segments(op: str, segment_ids) -> int:
    ids = as_tensor(segment_ids).tolist()
    if any(a > b for a, b in zip(ids, ids[1:])) or ids and ids[0] < 0:
        raise InvalidArgumentError(op, f"segment_ids are {ids}", "they must rise from 0 on, or use "
                                   f"tf.math.unsorted_{op}")
    return ids[-1] + 1 if ids else 0


def confusion_matrix(labels, predictions, num_classes=None, weights=None,
                     dtype=dtypes.int32) -> Tensor:
    """How often each label (row) met each prediction (column)."""
    labels, predictions = (math.cast(as_tensor(x), dtypes.int32) for x in (labels, predictions))
    if num_classes is None:
        num_classes = max([-1, *labels.tolist(), *predictions.tolist()]) + 1
    n, dtype = int(num_classes), dtypes.as_dtype(dtype)
    ones = p.broadcast_to(as_tensor(1, dtype), shape=tuple(labels.shape))
    counted = ones if weights is None else math.cast(as_tensor(weights), dtype)
    pairs = p.concat(p.reshape(labels, shape=(labels.spec.count, 1)),
                     p.reshape(predictions, shape=(predictions.spec.count, 1)), axis=1)
    return scatter_nd(pairs, p.reshape(counted, shape=(labels.spec.count,)), (n, n))
