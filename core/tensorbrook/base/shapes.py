"""Shape arithmetic: broadcasting, axis normalization and window sizes on plain tuples."""
from math import prod

from .errors import InvalidArgumentError

Shape = tuple[int, ...]


def num_elements(shape: Shape) -> int:
    """The product of the sizes; 1 for a scalar."""
    return prod(shape)


def broadcast(op: str, *shapes: Shape) -> Shape:
    """The shape that all `shapes` broadcast to, by NumPy's rules; `op` is named in errors."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    out = []
    for axis, sizes in enumerate(zip(*padded)):
        non_unit = sorted({n for n in sizes if n != 1})
        if len(non_unit) > 1:
            raise InvalidArgumentError(
                op,
                f"shapes {' and '.join(map(str, shapes))} do not broadcast at axis {axis - rank}",
                f"sizes {' and '.join(map(str, non_unit))} must be equal, or one of them must be 1")
        out.append(non_unit[0] if non_unit else 1)
    return tuple(out)


def broadcast_axes(shape: Shape, small: Shape) -> tuple[int, ...]:
    """The axes of `shape` along which a tensor of shape `small` is broadcast to it."""
    lead = len(shape) - len(small)
    return tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(small) if n == 1 and shape[lead + i] != 1)


def normalize_axes(op: str, axis, rank: int) -> tuple[int, ...]:
    """`axis` as a sorted tuple of non-negative ints; None selects all axes."""
    given = (
        range(rank) if axis is None else tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    )
    axes = sorted(normalize_axis(op, a, rank) for a in given)
    if len(set(axes)) < len(axes):
        raise InvalidArgumentError(
            op, f"axes {tuple(given)} contain a duplicate", "name each axis once"
        )
    return tuple(axes)


def normalize_axis(op: str, axis: int, rank: int) -> int:
    """`axis` as a non-negative int."""
    if not hasattr(axis, "__index__") or isinstance(axis, bool):
        raise InvalidArgumentError(op, f"axis {axis!r} is not an integer", "pass an int")
    axis = axis.__index__()
    if not -rank <= axis < rank:
        raise InvalidArgumentError(op, f"axis {axis} is out of range for a tensor of rank {rank}",
                                   f"use {-rank} to {rank - 1}" if rank else "a scalar has no axes")
    return axis % rank


def remove_axes(shape: Shape, axes) -> Shape:
    """The shape without `axes`."""
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def keepdims_shape(shape: Shape, axes) -> Shape:
    """The shape with size 1 along `axes`: the result of a reduction with keepdims=True."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def as_shape(op: str, shape, minimum: int = 0) -> Shape:
    """A shape from an int or a sequence of ints, each of which must be at least `minimum`."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    for n in shape:
        if not hasattr(n, "__index__") or n.__index__() < minimum:
            raise InvalidArgumentError(
                op, f"{n!r} in shape {shape} is not a size", "use ints of 0 or more"
            )
    return tuple(n.__index__() for n in shape)


def infer_reshape(op: str, shape: Shape, count: int) -> Shape:
    """Replace a -1 in `shape` by the size that results in `count` elements."""
    known = prod(n for n in shape if n != -1)
    if shape.count(-1) > 1:
        raise InvalidArgumentError(
            op, f"shape {shape} has more than one -1", "use -1 for one size only"
        )
    if -1 in shape and known and count % known == 0:
        return tuple(count // known if n == -1 else n for n in shape)
    if -1 in shape or known != count:
        raise InvalidArgumentError(op, f"cannot reshape {count} elements to {shape}",
                                   f"the product of the sizes must be {count}")
    return shape


def window_output_size(
    op: str, size_in: int, window: int, stride: int, dilation: int, padding: str
) -> tuple[int, int]:
    """(output size, leading padding) of a sliding window along one axis.

    `SAME` and `VALID` follow https://www.tensorflow.org/api_docs/python/tf/nn, notes on padding.
    """
    effective_window = (window - 1) * dilation + 1
    if padding == "VALID":
        if size_in < effective_window:
            raise InvalidArgumentError(
                op,
                f"a window of effective size {effective_window} exceeds the input size {size_in}",
                'use padding="SAME", a smaller window, or a larger input',
            )
        return (size_in - effective_window) // stride + 1, 0
    if padding == "SAME":
        out = -(-size_in // stride)
        return out, max((out - 1) * stride + effective_window - size_in, 0) // 2
    raise InvalidArgumentError(op, f"unknown padding {padding!r}", 'use "SAME" or "VALID"')
