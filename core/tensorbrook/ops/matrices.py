"""What one does with matrices beside products: diagonals, bands, norms, by TensorFlow's names."""
from math import inf
from typing import Any

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import math
from . import primitives as p
from .linalg import matmul


def _require_matrices(op: str, x) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise InvalidArgumentError(op, f"the input has shape {tuple(x.shape)}",
                                   "it needs two axes or more: (..., rows, columns)")
    return x


def _row_and_column_indices(shape) -> tuple[Tensor, Tensor]:
    """The row and the column of every element of matrices."""
    rank = len(shape)
    return p.iota(shape=shape, axis=rank - 2), p.iota(shape=shape, axis=rank - 1)


def band_part(input, num_lower: int, num_upper: int) -> Tensor:
    """Matrices with zeros outside of a band: so many diagonals below the main one and above it;
    a negative number keeps all. (-1, 0) is the lower triangle.

    >>> tf.linalg.band_part(tf.ones((3, 3)), -1, 0).numpy()[0]
    array([1., 0., 0.], dtype=float32)
    """
    x = _require_matrices("band_part", input)
    row, column = _row_and_column_indices(tuple(x.shape))
    for far, most in ((row - column, num_lower), (column - row, num_upper)):
        if most >= 0:
            x = math.where(p.less_equal(far, int(most)), x, as_tensor(0, x.dtype))
    return x


def diag(diagonal) -> Tensor:
    """Matrices with the last axis on their diagonal, zeros elsewhere."""
    x = as_tensor(diagonal)
    if not x.ndim:
        raise InvalidArgumentError("diag", "the input is one number", "it needs an axis or more")
    n = x.shape[-1]
    row, column = _row_and_column_indices((*x.shape, n))
    wide = p.reshape(x, shape=(*x.shape, 1))
    return math.where(p.equal(row, column), wide, as_tensor(0, x.dtype))


def diag_part(input) -> Tensor:
    """The main diagonals of matrices."""
    x = _require_matrices("diag_part", input)
    rows, columns = x.shape[-2:]
    lead, n = tuple(x.shape[:-2]), min(rows, columns)
    flat = p.reshape(x, shape=(*lead, rows * columns))
    return p.strided_slice(flat, begin=(0,) * (len(lead) + 1), shape=(*lead, n),
                           steps=(1,) * len(lead) + (columns + 1,))


def trace(x) -> Tensor:
    """The sums of the main diagonals."""
    return math.reduce_sum(diag_part(x), -1)


def matrix_transpose(a) -> Tensor:
    """The last two axes exchanged."""
    x = _require_matrices("matrix_transpose", a)
    return p.transpose(x, perm=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def matvec(a, b, transpose_a=False) -> Tensor:
    """The product of matrices (..., m, n) and vectors (..., n)."""
    b = as_tensor(b)
    out = matmul(a, p.reshape(b, shape=(*b.shape, 1)), transpose_a=transpose_a)
    return p.reshape(out, shape=tuple(out.shape[:-1]))


@math.compute_in_float32
def norm(tensor, ord: Any = "euclidean", axis=None, keepdims=False) -> Tensor:
    """The length of vectors along `axis` (None: of all elements): by squares ("euclidean", 2), by
    sizes (1), the largest size (inf), or any other power; of matrices, for two axes, the root of
    all squares ("fro").

    >>> float(tf.norm(tf.constant([3.0, 4.0])))
    5.0
    """
    x = as_tensor(tensor)
    axes = shapes.normalize_axes("norm", axis, x.ndim)
    of_matrices = isinstance(axis, list | tuple) and len(axes) == 2
    power = isinstance(ord, int | float) and not isinstance(ord, bool) and ord > 0
    if ord in ("euclidean", "fro") or ord == 2 and not of_matrices:
        return p.sqrt(math.reduce_sum(x * x, axes, keepdims))
    if of_matrices or not power:
        raise InvalidArgumentError("norm", f"ord is {ord!r} for axis {axis}",
                                   'use "euclidean", or 1, 2, inf or a power for one axis')
    if ord == inf:
        return math.reduce_max(p.abs_(x), axes, keepdims)
    if ord == 1:
        return math.reduce_sum(p.abs_(x), axes, keepdims)
    return p.pow_(math.reduce_sum(p.pow_(p.abs_(x), float(ord)), axes, keepdims), 1.0 / ord)


def global_norm(t_list) -> Tensor:
    """The root of the squares of all elements of several tensors; None among them is nothing."""
    tensors = [as_tensor(t) for t in t_list if t is not None]
    if not tensors:
        raise InvalidArgumentError("global_norm", "there are no tensors", "give one or more")
    return math.cast(_global_norm_f32(tensors), tensors[0].dtype)


def _global_norm_f32(tensors: list[Tensor]) -> Tensor:
    """Their global norm; in float32 that of float16, which does not hold squares."""
    wide = [math.cast(t, dtypes.float32) if t.dtype is dtypes.float16 else t for t in tensors]
    return p.sqrt(math.add_n([math.reduce_sum(t * t) for t in wide]))


@math.compute_in_float32
def clip_by_norm(t, clip_norm, axes=None) -> Tensor:
    """`t`, shortened to the length `clip_norm` along `axes` where it is longer."""
    x = as_tensor(t)
    squares = math.reduce_sum(x * x, axes, keepdims=True)
    # The root of 0 has no slope.
    some = p.greater(squares, 0.0)
    length = math.where(some, p.sqrt(math.where(some, squares, 1.0)), squares)
    return x * clip_norm / p.maximum(length, clip_norm)


def clip_by_global_norm(t_list, clip_norm, use_norm=None) -> tuple[list, Tensor]:
    """(the tensors, shortened together to the length `clip_norm` if they are longer; what their
    length was)."""
    tensors = [None if t is None else as_tensor(t) for t in t_list]
    some = [t for t in tensors if t is not None]
    global_norm_value = global_norm(t_list) if use_norm is None else as_tensor(use_norm)
    length = _global_norm_f32(some) if use_norm is None else global_norm_value
    factor = clip_norm / p.maximum(length, clip_norm)
    return [None if t is None else t * math.cast(factor, t.dtype) for t in tensors], global_norm_value
