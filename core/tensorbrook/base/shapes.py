"""Shape arithmetic on plain tuples; knows nothing of tensors."""
from math import prod

from .errors import InvalidArgumentError

Shape = tuple[int, ...]


def num_elements(shape: Shape) -> int:
    """How many elements a shape holds; 1 for a scalar."""
    return prod(shape)


def broadcast(op: str, *shapes: Shape) -> Shape:
    """The one shape that all `shapes` stretch to, aligned on the right (NumPy's rule)."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    out = []
    for axis, sizes in enumerate(zip(*padded)):
        wide = sorted({n for n in sizes if n != 1})
        if len(wide) > 1:
            raise InvalidArgumentError(
                op, f"shapes {' and '.join(map(str, shapes))} disagree on axis {axis - rank}",
                f"there the sizes {' and '.join(map(str, wide))} must be equal, or one of them 1")
        out.append(wide[0] if wide else 1)
    return tuple(out)


def broadcast_axes(shape: Shape, small: Shape) -> tuple[int, ...]:
    """The axes of `shape` along which `small` was repeated to fill it."""
    lead = len(shape) - len(small)
    return tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(small) if n == 1 and shape[lead + i] != 1)


def normalize_axes(op: str, axis, rank: int) -> tuple[int, ...]:
    """`axis` (None for all, an int, or several) as a sorted tuple of non-negative ints."""
    wanted = (
        range(rank) if axis is None else tuple(axis) if isinstance(axis, (list, tuple)) else (axis,)
    )
    axes = sorted(normalize_axis(op, a, rank) for a in wanted)
    if len(set(axes)) < len(axes):
        raise InvalidArgumentError(
            op, f"axes {tuple(wanted)} name one axis twice", "name each axis once"
        )
    return tuple(axes)


def normalize_axis(op: str, axis: int, rank: int) -> int:
    """One axis as a non-negative int."""
    if not hasattr(axis, "__index__") or isinstance(axis, bool):
        raise InvalidArgumentError(op, f"axis {axis!r} is not a whole number", "pass an int")
    axis = axis.__index__()
    if not -rank <= axis < rank:
        raise InvalidArgumentError(op, f"axis {axis} is out of range for a tensor of rank {rank}",
                                   f"use {-rank} to {rank - 1}" if rank else "a scalar has no axes")
    return axis % rank


def remove_axes(shape: Shape, axes) -> Shape:
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def keepdims_shape(shape: Shape, axes) -> Shape:
    """The shape with 1 along `axes`, as a reduction with keepdims leaves it."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def as_shape(op: str, shape, minimum: int = 0) -> Shape:
    """A shape from an int or a sequence of ints, none of which is below `least`."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    for n in shape:
        if not hasattr(n, "__index__") or n.__index__() < minimum:
            raise InvalidArgumentError(
                op, f"{n!r} in shape {shape} is not a size", "use ints of 0 or more"
            )
    return tuple(n.__index__() for n in shape)


def infer_reshape(op: str, shape: Shape, count: int) -> Shape:
    """`shape` with its -1 replaced so that it holds `count` elements."""
    known = prod(n for n in shape if n != -1)
    if shape.count(-1) > 1:
        raise InvalidArgumentError(
            op, f"shape {shape} has more than one -1", "leave only one size open"
        )
    if -1 in shape and known and count % known == 0:
        return tuple(count // known if n == -1 else n for n in shape)
    if -1 in shape or known != count:
        raise InvalidArgumentError(op, f"{count} elements do not fill shape {shape}",
                                   f"the sizes must multiply to {count}")
    return shape


def window_output_size(
    op: str, size_in: int, window: int, stride: int, dilation: int, padding: str
) -> tuple[int, int]:
    """(output size, padding before) of a sliding window along one axis, as TensorFlow defines
    `SAME` and `VALID` (https://www.tensorflow.org/api_docs/python/tf/nn, notes on padding)."""
    reach = (window - 1) * dilation + 1
    if padding == "VALID":
        if size_in < reach:
            raise InvalidArgumentError(
                op,
                f"a window that reaches over {reach} does not fit into {size_in}",
                'use padding="SAME", a smaller window, or a larger input',
            )
        return (size_in - reach) // stride + 1, 0
    if padding == "SAME":
        out = -(-size_in // stride)
        return out, max((out - 1) * stride + reach - size_in, 0) // 2
    raise InvalidArgumentError(op, f"padding {padding!r} is not known", "use \"SAME\" or \"VALID\"")
