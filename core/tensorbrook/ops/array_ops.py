"""Array operations: constants, reshaping, concatenation, slicing and padding."""
from ..base import dtypes, host_array, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import PYTHON_OPERATORS, Tensor, as_tensor, constant_from_host
from . import primitives as p


def constant(value, dtype=None, shape=None) -> Tensor:
    """A constant Tensor of a scalar, nested lists, or a buffer such as a NumPy array.

    `shape` broadcasts a single element, or reshapes the elements.

    >>> tf.constant([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    dtype = None if dtype is None else dtypes.as_dtype(dtype)
    out = (
        as_tensor(value, dtype)
        if isinstance(value, Tensor)
        else constant_from_host(host_array.from_python(value, dtype))
    )
    if shape is None:
        return out
    shape = shapes.as_shape("constant", shape)
    return (
        p.broadcast_to(p.reshape(out, shape=()), shape=shape)
        if out.spec.count == 1
        else reshape(out, shape)
    )


def convert_to_tensor(value, dtype=None) -> Tensor:
    return as_tensor(value, None if dtype is None else dtypes.as_dtype(dtype))


def fill(dims, value) -> Tensor:
    return p.broadcast_to(as_tensor(value), shape=shapes.as_shape("fill", dims))


def zeros(shape, dtype=dtypes.float32) -> Tensor:
    return fill(shape, as_tensor(0, dtypes.as_dtype(dtype)))


def ones(shape, dtype=dtypes.float32) -> Tensor:
    return fill(shape, as_tensor(1, dtypes.as_dtype(dtype)))


def zeros_like(input, dtype=None) -> Tensor:
    x = as_tensor(input)
    return zeros(tuple(x.shape), dtype or x.dtype)


def ones_like(input, dtype=None) -> Tensor:
    x = as_tensor(input)
    return ones(tuple(x.shape), dtype or x.dtype)


def range(start, limit=None, delta=1, dtype=None) -> Tensor:
    """The values start, start + delta, ..., up to but excluding `limit`."""
    if limit is None:
        start, limit = 0, start
    if delta == 0:
        raise InvalidArgumentError("range", "delta is 0", "use a delta other than 0")
    count = max(
        0,
        -int(-(limit - start) // delta)
        if isinstance(limit - start, int) and isinstance(delta, int)
        else -int(-((limit - start) / delta) // 1),
    )
    if dtype is None:
        has_float = any(isinstance(v, float) for v in (start, limit, delta))
        dtype = dtypes.float32 if has_float else dtypes.int32
    dtype = dtypes.as_dtype(dtype)
    steps = p.iota(shape=(count,), axis=0)
    steps = steps if dtype is dtypes.int32 else p.cast(steps, dtype=dtype)
    return steps * delta + start


def shape(input) -> Tensor:
    """The shape as an int32 Tensor; `x.shape` is the shape as a tuple."""
    return constant(list(as_tensor(input).shape), dtypes.int32)


def rank(input) -> Tensor:
    """The number of axes as an int32 Tensor; `x.ndim` is the number as an int."""
    return constant(as_tensor(input).ndim, dtypes.int32)


def size(input) -> Tensor:
    """The number of elements as an int32 Tensor."""
    return constant(as_tensor(input).spec.count, dtypes.int32)


def reshape(tensor, shape) -> Tensor:
    """The same elements, in row-major order, in another shape; one size may be -1."""
    x = as_tensor(tensor)
    shape = shapes.as_shape("reshape", shape, minimum=-1)
    return p.reshape(x, shape=shapes.infer_reshape("reshape", shape, x.spec.count))


def transpose(a, perm=None) -> Tensor:
    """Permute the axes; by default reverse them."""
    x = as_tensor(a)
    perm = tuple(reversed(tuple(_indices(x.ndim)))) if perm is None else tuple(
        shapes.normalize_axis("transpose", axis, x.ndim) for axis in perm)
    return p.transpose(x, perm=perm)


def _indices(n: int):
    # `range` is tf.range in this module.
    return tuple(i for i, _ in enumerate((None,) * n))


def expand_dims(input, axis) -> Tensor:
    """Insert an axis of size 1 at `axis`."""
    x = as_tensor(input)
    axis = shapes.normalize_axis("expand_dims", axis, x.ndim + 1)
    return p.reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(input, axis=None) -> Tensor:
    """Remove axes of size 1: all of them, or those in `axis`."""
    x = as_tensor(input)
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None \
        else shapes.normalize_axes("squeeze", axis, x.ndim)
    for axis in axes:
        if x.shape[axis] != 1:
            raise InvalidArgumentError("squeeze", f"axis {axis} of shape {tuple(x.shape)} has size "
                                       f"{x.shape[axis]}", "only an axis of size 1 can be removed")
    return p.reshape(x, shape=shapes.remove_axes(tuple(x.shape), axes))


def broadcast_to(input, shape) -> Tensor:
    return p.broadcast_to(as_tensor(input), shape=shapes.as_shape("broadcast_to", shape))


def tile(input, multiples) -> Tensor:
    """Repeat the tensor `multiples[i]` times along axis i."""
    x = as_tensor(input)
    multiples = shapes.as_shape("tile", multiples)
    if len(multiples) != x.ndim:
        raise InvalidArgumentError(
            "tile",
            f"multiples {multiples} do not match shape {tuple(x.shape)}",
            "pass one number per axis",
        )
    x_expanded = p.reshape(x, shape=tuple(m for n in x.shape for m in (1, n)))
    tiled_shape = tuple(v for n, m in zip(x.shape, multiples) for v in (m, n))
    tiled = p.broadcast_to(x_expanded, shape=tiled_shape)
    return p.reshape(tiled, shape=tuple(n * m for n, m in zip(x.shape, multiples)))


def concat(values, axis) -> Tensor:
    """Concatenate tensors along an axis."""
    values = [as_tensor(v) for v in values]
    if not values:
        raise InvalidArgumentError("concat", "there are no tensors", "pass at least one tensor")
    axis = shapes.normalize_axis("concat", axis, values[0].ndim)
    return values[0] if len(values) == 1 else p.concat(*values, axis=axis)


def stack(values, axis=0) -> Tensor:
    """Concatenate tensors of the same shape along a new axis."""
    values = [as_tensor(v) for v in values]
    if not values:
        raise InvalidArgumentError("stack", "there are no tensors", "pass at least one tensor")
    for v in values:
        if v.shape != values[0].shape:
            raise InvalidArgumentError(
                "stack",
                f"shapes {tuple(values[0].shape)} and {tuple(v.shape)} differ",
                "all tensors must have the same shape",
            )
    axis = shapes.normalize_axis("stack", axis, values[0].ndim + 1)
    return concat([expand_dims(v, axis) for v in values], axis)


def unstack(value, num=None, axis=0) -> list[Tensor]:
    """The slices along `axis`, without that axis; `num`, if given, must be their number.

    >>> [x.tolist() for x in tf.unstack(tf.constant([[1, 2], [3, 4]]))]
    [[1, 2], [3, 4]]
    """
    x = as_tensor(value)
    axis = shapes.normalize_axis("unstack", axis, x.ndim)
    n = x.shape[axis]
    if num is not None and num != n:
        raise InvalidArgumentError("unstack", f"num is {num!r}, but axis {axis} has size {n}",
                                   f"use num={n}, or omit it")
    return [squeeze(part, axis) for part in split(x, [1] * n, axis)]


def split(value, num_or_size_splits, axis=0) -> list[Tensor]:
    """Split along `axis` into n equal parts, or into parts of the listed sizes (one may be -1)."""
    x = as_tensor(value)
    axis = shapes.normalize_axis("split", axis, x.ndim)
    n = x.shape[axis]
    sizes = num_or_size_splits
    if isinstance(sizes, int):
        if sizes < 1 or n % sizes:
            raise InvalidArgumentError(
                "split",
                f"axis {axis} of size {n} does not divide into {sizes} equal parts",
                "use a divisor, or a list of sizes",
            )
        sizes = [n // sizes] * sizes
    if list(sizes).count(-1) == 1:
        sizes = [n - (sum(sizes) + 1) if size == -1 else size for size in sizes]
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise InvalidArgumentError(
            "split", f"sizes {list(sizes)} do not add up to {n}", f"axis {axis} has size {n}"
        )
    parts, offset = [], 0
    for size in sizes:
        begin = tuple(offset if i == axis else 0 for i in _indices(x.ndim))
        parts.append(
            slice(x, begin, tuple(size if i == axis else m for i, m in enumerate(x.shape)))
        )
        offset += size
    return parts


def slice(input_, begin, size) -> Tensor:
    """The `size[i]` elements of axis i from `begin[i]`; size -1 extends to the end."""
    x = as_tensor(input_)
    begin, size = tuple(begin), tuple(size)
    size = tuple(n - b if s == -1 else s for b, s, n in zip(begin, size, x.shape))
    in_bounds = len(begin) == len(size) == x.ndim and all(
        0 <= b and 0 <= s and b + s <= n for b, s, n in zip(begin, size, x.shape))
    if not in_bounds:
        raise InvalidArgumentError(
            "slice",
            f"begin {begin} and size {size} exceed shape {tuple(x.shape)}",
            "begin[i] + size[i] may be at most the size of axis i",
        )
    return p.strided_slice(x, begin=begin, shape=size, steps=(1,) * x.ndim)


def reverse(tensor, axis) -> Tensor:
    """Reverse the order of the elements along one or several axes."""
    x = as_tensor(tensor)
    axes = shapes.normalize_axes("reverse", axis, x.ndim)
    return p.strided_slice(
        x,
        begin=tuple(n - 1 if i in axes else 0 for i, n in enumerate(x.shape)),
        shape=tuple(x.shape),
        steps=tuple(-1 if i in axes else 1 for i in _indices(x.ndim)),
    )


def pad(tensor, paddings, mode="CONSTANT", constant_values=0) -> Tensor:
    """Pad axis i with `paddings[i] = (before, after)` elements of value `constant_values`."""
    x = as_tensor(tensor)
    paddings = [tuple(pair) for pair in as_tensor(paddings).tolist()] if x.ndim else []
    fill = as_tensor(constant_values, None if isinstance(constant_values, Tensor) else x.dtype)
    if fill.dtype is not x.dtype or fill.shape:
        raise InvalidArgumentError(
            "pad", f"constant_values is {fill.spec}, the tensor {x.dtype}",
            "pass a scalar of the same dtype")
    if mode != "CONSTANT":
        raise InvalidArgumentError("pad", f"unsupported mode {mode!r}", 'use mode="CONSTANT"')
    if len(paddings) != x.ndim or any(len(pair) != 2 or min(pair) < 0 for pair in paddings):
        raise InvalidArgumentError(
            "pad", f"paddings {paddings} do not match shape {tuple(x.shape)}",
            "pass a pair of non-negative ints for each axis")
    padded_shape = tuple(b + n + a for n, (b, a) in zip(x.shape, paddings))
    return p.pad_strided(
        x,
        begin=tuple(b for b, _ in paddings),
        shape=padded_shape,
        steps=(1,) * x.ndim,
        fill=fill.item(),
    )


PYTHON_OPERATORS["stack"] = stack
