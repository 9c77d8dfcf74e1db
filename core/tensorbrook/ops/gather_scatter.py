"""Gather and scatter with batch dimensions or index tuples, and segment reductions."""
from math import prod

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import kernel_primitives as kp
from . import math
from . import primitives as p


def batch_gather(params: Tensor, indices: Tensor, axis: int, batch_dims: int) -> Tensor:
    """`gather` along `axis`, where the first `batch_dims` axes of both operands are batch axes."""
    batch = tuple(params.shape[:batch_dims])
    if axis < batch_dims or tuple(indices.shape[:batch_dims]) != batch:
        raise InvalidArgumentError(
            "gather", f"indices {tuple(indices.shape)} do not match params {tuple(params.shape)} "
            f"for batch_dims {batch_dims} and axis {axis}",
            "the first batch_dims sizes must be equal, and axis must come after them")
    perm = (*range(batch_dims), axis, *(a for a in range(batch_dims, params.ndim) if a != axis))
    rows = p.transpose(params, perm=perm)
    n, inner_shape = params.shape[axis], tuple(rows.shape[batch_dims + 1:])
    index_shape = tuple(indices.shape[batch_dims:])
    ids = p.reshape(indices, shape=(prod(batch), prod(index_shape)))
    batch_begins = p.iota(shape=(prod(batch), prod(index_shape)), axis=0) * n
    in_range = p.bitwise_and(p.greater_equal(ids, 0), p.less(ids, n))
    flat_ids = p.reshape(math.where(in_range, ids + batch_begins, -1), shape=(ids.spec.count,))
    out = kp.gather(p.reshape(rows, shape=(prod(batch) * n, *inner_shape)), flat_ids, axis=0)
    out = p.reshape(out, shape=(*batch, *index_shape, *inner_shape))
    # Move the axes of `indices` to the position of `axis`.
    num_before, end = axis - batch_dims, len(batch) + len(index_shape)
    return p.transpose(out, perm=(*range(batch_dims), *range(end, end + num_before),
                                  *range(batch_dims, end), *range(end + num_before, out.ndim)))


def _linearize_indices(op: str, indices: Tensor, shape) -> tuple[Tensor, int]:
    """(row index of each index tuple, tuple length), for rows of the flattened leading axes.

    The row index of a tuple that is out of range is -1.
    """
    depth = indices.shape[-1] if indices.ndim else 0
    if not indices.dtype.is_integer or not 0 < depth <= len(shape):
        raise InvalidArgumentError(
            op, f"indices are {indices.spec} for shape {tuple(shape)}",
            f"they must be integers, with a last axis of size 1 to {len(shape)}")
    tuples = p.reshape(math.cast(indices, dtypes.int32), shape=(prod(indices.shape[:-1]), depth))
    row, in_range = None, None
    for axis in range(depth):
        i = p.reshape(p.strided_slice(tuples, begin=(0, axis), shape=(tuples.shape[0], 1),
                                      steps=(1, 1)), shape=(tuples.shape[0],))
        i_in_range = p.bitwise_and(p.greater_equal(i, 0), p.less(i, shape[axis]))
        row = i if row is None else row * shape[axis] + i
        in_range = i_in_range if in_range is None else p.bitwise_and(in_range, i_in_range)
    return math.where(in_range, row, -1), depth


def gather_nd(params, indices) -> Tensor:
    """The slices of `params` at the index tuples in the last axis of `indices`.

    A tuple that is out of range results in zeros.

    >>> tf.gather_nd([[1, 2], [3, 4]], [[0, 1], [1, 0]]).numpy()
    array([2, 3], dtype=int32)
    """
    params, indices = as_tensor(params), as_tensor(indices)
    row_ids, depth = _linearize_indices("gather_nd", indices, params.shape)
    inner_shape = tuple(params.shape[depth:])
    rows = p.reshape(params, shape=(prod(params.shape[:depth]), *inner_shape))
    return p.reshape(kp.gather(rows, row_ids, axis=0), shape=(*indices.shape[:-1], *inner_shape))


def scatter_nd(indices, updates, shape) -> Tensor:
    """Zeros of `shape`, to which `updates` are added at the index tuples in the last axis of
    `indices`. Updates out of range are dropped."""
    indices, updates = as_tensor(indices), as_tensor(updates)
    shape = shapes.as_shape("scatter_nd", as_tensor(shape).tolist())
    row_ids, depth = _linearize_indices("scatter_nd", indices, shape)
    expected = (*indices.shape[:-1], *shape[depth:])
    if tuple(updates.shape) != expected:
        raise InvalidArgumentError(
            "scatter_nd", f"updates have shape {tuple(updates.shape)}",
            f"for these indices and shape {shape} they must have shape {expected}")
    rows = p.reshape(updates, shape=(row_ids.shape[0], *shape[depth:]))
    return p.reshape(kp.scatter_add(rows, row_ids, rows=prod(shape[:depth])), shape=shape)


def tensor_scatter_nd_add(tensor, indices, updates) -> Tensor:
    """`tensor` plus `scatter_nd(indices, updates)`."""
    tensor = as_tensor(tensor)
    return tensor + scatter_nd(indices, updates, tuple(tensor.shape))


# ── segments ──────────────────────────────────────────────────────────────────────────────────


def unsorted_segment_sum(data, segment_ids, num_segments: int) -> Tensor:
    """Row i of the result is the sum of the rows of `data` with segment id i.

    The shape of `segment_ids` is that of the first axes of `data`. Rows with an id out of range are
    dropped.
    """
    data, ids = as_tensor(data), as_tensor(segment_ids)
    if tuple(data.shape[:ids.ndim]) != tuple(ids.shape):
        raise InvalidArgumentError(
            "unsorted_segment_sum", f"segment_ids {tuple(ids.shape)} do not match data "
            f"{tuple(data.shape)}", "they must have the shape of the first axes of data")
    inner_shape = tuple(data.shape[ids.ndim:])
    rows = p.reshape(data, shape=(ids.spec.count, *inner_shape))
    return kp.scatter_add(rows, p.reshape(ids, shape=(ids.spec.count,)), rows=int(num_segments))


def unsorted_segment_mean(data, segment_ids, num_segments: int) -> Tensor:
    """The mean of the rows with each segment id; 0 for an id without rows."""
    data, ids = as_tensor(data), as_tensor(segment_ids)
    total = unsorted_segment_sum(data, ids, num_segments)
    ones = p.broadcast_to(as_tensor(1, data.dtype), shape=tuple(ids.shape))
    counts = p.maximum(unsorted_segment_sum(ones, ids, num_segments), as_tensor(1, data.dtype))
    counts = p.reshape(counts, shape=(*counts.shape, *(1,) * (total.ndim - 1)))
    return math.truediv(total, counts) if data.dtype.is_floating else p.floordiv(total, counts)


def segment_sum(data, segment_ids) -> Tensor:
    """The sum of the rows with each segment id, for sorted ids.

    The number of segments is the last id + 1, so the ids must be concrete; in a tf.function use
    `unsorted_segment_sum`.
    """
    return unsorted_segment_sum(data, segment_ids, _num_segments("segment_sum", segment_ids))


def segment_mean(data, segment_ids) -> Tensor:
    """The mean of the rows with each segment id; see `segment_sum`."""
    return unsorted_segment_mean(data, segment_ids, _num_segments("segment_mean", segment_ids))


def _num_segments(op: str, segment_ids) -> int:
    ids = as_tensor(segment_ids).tolist()
    if ids != sorted(ids) or ids and ids[0] < 0:
        raise InvalidArgumentError(
            op, f"segment_ids are {ids}", "they must be sorted and non-negative, or use "
            f"tf.math.unsorted_{op}")
    return ids[-1] + 1 if ids else 0


def confusion_matrix(labels, predictions, num_classes=None, weights=None,
                     dtype=dtypes.int32) -> Tensor:
    """The number of samples, or the sum of `weights`, by label (row) and prediction (column)."""
    labels, predictions = (math.cast(as_tensor(x), dtypes.int32) for x in (labels, predictions))
    if num_classes is None:
        num_classes = max([-1, *labels.tolist(), *predictions.tolist()]) + 1
    n, dtype = int(num_classes), dtypes.as_dtype(dtype)
    ones = p.broadcast_to(as_tensor(1, dtype), shape=tuple(labels.shape))
    increments = ones if weights is None else math.cast(as_tensor(weights), dtype)
    pairs = p.concat(p.reshape(labels, shape=(labels.spec.count, 1)),
                     p.reshape(predictions, shape=(predictions.spec.count, 1)), axis=1)
    return scatter_nd(pairs, p.reshape(increments, shape=(labels.spec.count,)), (n, n))
