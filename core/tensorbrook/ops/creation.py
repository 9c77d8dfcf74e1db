"""Creation and rearrangement: linspace, eye, repeat, roll, meshgrid and sequence_mask."""
import itertools
from builtins import range

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import kernel_primitives as kp
from . import math
from . import primitives as p
from .array_ops import concat, slice


def linspace(start, stop, num: int) -> Tensor:
    """`num` equally spaced values from `start` to `stop`, both included.

    >>> tf.linspace(0.0, 1.0, 5).numpy()
    array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    num, = shapes.as_shape("linspace", (num,), minimum=1)
    start = as_tensor(start, dtypes.float32 if isinstance(start, int) else None)
    stop = as_tensor(float(stop) if isinstance(stop, int) else stop)
    n = p.iota(shape=(num,), axis=0)
    steps = p.cast(n, dtype=start.dtype) * ((stop - start) / float(max(num - 1, 1)))
    # The last value is exactly `stop`, independent of rounding.
    return math.where(p.equal(n, num - 1), stop if num > 1 else start, start + steps)


def eye(num_rows: int, num_columns=None, batch_shape=None, dtype=dtypes.float32) -> Tensor:
    """Identity matrices: ones on the main diagonal, zeros elsewhere."""
    columns = num_rows if num_columns is None else num_columns
    shape = shapes.as_shape("eye", (*(batch_shape or ()), num_rows, columns))
    rank = len(shape)
    is_diagonal = p.equal(p.iota(shape=shape, axis=rank - 2), p.iota(shape=shape, axis=rank - 1))
    return p.cast(is_diagonal, dtype=dtypes.as_dtype(dtype))


def repeat(input, repeats, axis=None) -> Tensor:
    """Repeat each slice along `axis` `repeats` times; a list has one count for each slice.

    `axis=None` flattens the tensor first.
    """
    x = as_tensor(input)
    if axis is None:
        x, axis = p.reshape(x, shape=(x.spec.count,)), 0
    axis = shapes.normalize_axis("repeat", axis, x.ndim)
    n, counts = x.shape[axis], as_tensor(repeats).tolist()
    counts = counts if isinstance(counts, list) else [counts]
    is_valid = {int, bool}.issuperset(map(type, counts)) and min(counts, default=0) >= 0
    if len(counts) not in (1, n) or not is_valid:
        raise InvalidArgumentError(
            "repeat", f"repeats is {repeats!r} for axis {axis} of shape {tuple(x.shape)}",
            f"pass one non-negative int, or a list of {n}")
    if len(counts) == 1:
        expanded = p.reshape(x, shape=(*x.shape[:axis + 1], 1, *x.shape[axis + 1:]))
        repeated_shape = (*x.shape[:axis + 1], counts[0], *x.shape[axis + 1:])
        return p.reshape(p.broadcast_to(expanded, shape=repeated_shape),
                         shape=(*x.shape[:axis], n * counts[0], *x.shape[axis + 1:]))
    indices = list(itertools.chain.from_iterable(map(itertools.repeat, range(n), counts)))
    return kp.gather(x, as_tensor(indices, dtypes.int32), axis=axis)


def roll(input, shift, axis) -> Tensor:
    """Shift the elements cyclically by `shift` along `axis`; both may be lists."""
    x = as_tensor(input)
    shifts = zip([shift] if isinstance(shift, int) else shift,
                 [axis] if isinstance(axis, int) else axis, strict=True)
    for offset, axis_index in shifts:
        axis_index = shapes.normalize_axis("roll", axis_index, x.ndim)
        n = x.shape[axis_index]
        split = -offset % n if n else 0
        if split:
            zeros = [0] * x.ndim
            to_end = [-1] * x.ndim
            begin, size = [*zeros], [*to_end]
            begin[axis_index], size[axis_index] = split, split
            x = concat([slice(x, begin, to_end), slice(x, zeros, size)], axis_index)
    return x


def meshgrid(*args, indexing="xy") -> list[Tensor]:
    """Coordinate grids: each vector, broadcast along a separate axis to the shape of all of them.

    With `indexing` "ij" vector i varies along axis i; with "xy" the first two axes are exchanged.
    """
    if indexing not in ("xy", "ij"):
        raise InvalidArgumentError("meshgrid", f"indexing is {indexing!r}", 'use "xy" or "ij"')
    vectors = [p.reshape(x, shape=(x.spec.count,)) for x in map(as_tensor, args)]
    axes = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        axes[:2] = 1, 0
    shape = [0] * len(vectors)
    for x, axis in zip(vectors, axes):
        shape[axis] = x.shape[0]
    return [p.broadcast_to(p.reshape(x, shape=tuple(
        x.shape[0] if i == axis else 1 for i in range(len(vectors)))), shape=tuple(shape))
        for x, axis in zip(vectors, axes)]


def sequence_mask(lengths, maxlen=None, dtype=dtypes.bool_) -> Tensor:
    """A mask of shape (..., maxlen): whether the index is less than the length.

    `maxlen=None` is the greatest length.
    """
    lengths = as_tensor(lengths)
    if maxlen is None:
        maxlen = max([0, *p.reshape(lengths, shape=(lengths.spec.count,)).tolist()])
    indices = p.iota(shape=(*lengths.shape, int(maxlen)), axis=lengths.ndim)
    limits = p.reshape(math.cast(lengths, dtypes.int32), shape=(*lengths.shape, 1))
    return math.cast(p.less(indices, limits), dtype)
