"""Tensors made from a few numbers, or of the elements of others in another place."""
from builtins import range

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import kernel_primitives as c
from . import math
from . import primitives as p
from .array_ops import concat, slice


def linspace(start, stop, num: int) -> Tensor:
    """`num` numbers at equal distances from `start` to `stop`, both included.

    >>> tf.linspace(0.0, 1.0, 5).numpy()
    array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    num, = shapes.as_shape("linspace", (num,), minimum=1)
    start = as_tensor(start, dtypes.float32 if isinstance(start, int) else None)
    stop = as_tensor(float(stop) if isinstance(stop, int) else stop)
    n = p.iota(shape=(num,), axis=0)
    steps = p.cast(n, dtype=start.dtype) * ((stop - start) / float(max(num - 1, 1)))
    # The last one exactly, however the steps round.
    return math.where(p.equal(n, num - 1), stop if num > 1 else start, start + steps)


def eye(num_rows: int, num_columns=None, batch_shape=None, dtype=dtypes.float32) -> Tensor:
    """Matrices with ones where row and column are equal, zeros elsewhere."""
    columns = num_rows if num_columns is None else num_columns
    shape = shapes.as_shape("eye", (*(batch_shape or ()), num_rows, columns))
    rank = len(shape)
    hit = p.equal(p.iota(shape=shape, axis=rank - 2), p.iota(shape=shape, axis=rank - 1))
    return p.cast(hit, dtype=dtypes.as_dtype(dtype))


def repeat(input, repeats, axis=None) -> Tensor:
    """Each element along `axis` (None: of all in order) `repeats` times; or as often as the number
    at its place in a list says."""
    x = as_tensor(input)
    if axis is None:
        x, axis = p.reshape(x, shape=(x.spec.count,)), 0
    axis = shapes.normalize_axis("repeat", axis, x.ndim)
    n, counts = x.shape[axis], as_tensor(repeats).tolist()
    counts = counts if isinstance(counts, list) else [counts]
    if len(counts) not in (1, n) or any(not isinstance(k, int) or k < 0 for k in counts):
        raise InvalidArgumentError("repeat", f"repeats is {repeats!r} for axis {axis} of shape "
                                   f"{tuple(x.shape)}", f"give one number of 0 or more, or {n}")
    if len(counts) == 1:
        thin = p.reshape(x, shape=(*x.shape[:axis + 1], 1, *x.shape[axis + 1:]))
        wide = (*x.shape[:axis + 1], counts[0], *x.shape[axis + 1:])
        return p.reshape(p.broadcast_to(thin, shape=wide),
                         shape=(*x.shape[:axis], n * counts[0], *x.shape[axis + 1:]))
    places = [i for i, k in enumerate(counts) for _ in range(k)]
    return c.gather(x, as_tensor(places, dtypes.int32), axis=axis)


def roll(input, shift, axis) -> Tensor:
    """The elements moved `shift` places along `axis`, those that leave coming in again at the
    other end; both may be lists."""
    x = as_tensor(input)
    moves = zip([shift] if isinstance(shift, int) else shift,
                [axis] if isinstance(axis, int) else axis, strict=True)
    for by, along in moves:
        along = shapes.normalize_axis("roll", along, x.ndim)
        n = x.shape[along]
        cut = -by % n if n else 0
        if cut:
            corner = [0] * x.ndim
            sizes = [-1] * x.ndim
            begin, first = [*corner], [*sizes]
            begin[along], first[along] = cut, cut
            x = concat([slice(x, begin, sizes), slice(x, corner, first)], along)
    return x


def meshgrid(*args, indexing="xy") -> list[Tensor]:
    """For each of several rows of coordinates a tensor of all their combinations; the first two
    axes are exchanged unless `indexing` is "ij"."""
    if indexing not in ("xy", "ij"):
        raise InvalidArgumentError("meshgrid", f"indexing is {indexing!r}", 'use "xy" or "ij"')
    rows = [p.reshape(x, shape=(x.spec.count,)) for x in map(as_tensor, args)]
    places = list(range(len(rows)))
    if indexing == "xy" and len(rows) > 1:
        places[:2] = 1, 0
    whole = [0] * len(rows)
    for row, at in zip(rows, places):
        whole[at] = row.shape[0]
    return [p.broadcast_to(p.reshape(row, shape=tuple(
        row.shape[0] if i == at else 1 for i in range(len(rows)))), shape=tuple(whole))
        for row, at in zip(rows, places)]


def sequence_mask(lengths, maxlen=None, dtype=dtypes.bool_) -> Tensor:
    """Whether each of `maxlen` places (the largest length if None) is below the length."""
    lengths = as_tensor(lengths)
    if maxlen is None:
        maxlen = max([0, *p.reshape(lengths, shape=(lengths.spec.count,)).tolist()])
    places = p.iota(shape=(*lengths.shape, int(maxlen)), axis=lengths.ndim)
    below = p.less(places, p.reshape(math.cast(lengths, dtypes.int32), shape=(*lengths.shape, 1)))
    return math.cast(below, dtype)
