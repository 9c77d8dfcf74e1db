"""Linear algebra: matrix products with broadcasting, diagonals, bands, norms and clipping."""
from math import inf, prod
from typing import Any

from ..base import dtypes, shapes
from ..base.errors import InvalidArgumentError
from ..tensor import PYTHON_OPERATORS, Tensor, as_tensor
from . import kernel_primitives as c
from . import math
from . import primitives as p

# ── products ──────────────────────────────────────────────────────────────────────────────────


def matmul(a, b, transpose_a=False, transpose_b=False) -> Tensor:
    """The matrix product of the last two axes; leading axes broadcast.

    >>> tf.matmul(tf.ones((2, 3)), tf.ones((4, 3)), transpose_b=True).shape
    (2, 4)
    """
    a, b = as_tensor(a), as_tensor(b)
    if (
        a.ndim > 2
        and b.ndim == 2
        and not transpose_a
        and a.shape[-1] == b.shape[-1 if transpose_b else 0]
    ):
        # All batches share one matrix b, so a single product of the flattened rows suffices.
        rows = p.reshape(a, shape=(prod(a.shape[:-1]), a.shape[-1]))
        out = c.matmul(rows, b, transpose_a=False, transpose_b=bool(transpose_b))
        return p.reshape(out, shape=(*a.shape[:-1], out.shape[-1]))
    if min(a.ndim, b.ndim) >= 2 and a.shape[:-2] != b.shape[:-2]:
        batch = _broadcast_batch(tuple(a.shape), tuple(b.shape))
        a = p.broadcast_to(a, shape=(*batch, *a.shape[-2:]))
        b = p.broadcast_to(b, shape=(*batch, *b.shape[-2:]))
    return c.matmul(a, b, transpose_a=bool(transpose_a), transpose_b=bool(transpose_b))


def _broadcast_batch(a: shapes.Shape, b: shapes.Shape) -> shapes.Shape:
    """The broadcast shape of all axes but the last two."""
    try:
        return shapes.broadcast("matmul", a[:-2], b[:-2])
    except InvalidArgumentError:
        raise InvalidArgumentError(
            "matmul",
            f"the batch axes of {a} @ {b} differ: {a[:-2]} and {b[:-2]}",
            "their sizes must be equal, or one of them must be 1",
        ) from None


def matvec(a, b, transpose_a=False) -> Tensor:
    """The product of matrices (..., m, n) and vectors (..., n)."""
    b = as_tensor(b)
    out = matmul(a, p.reshape(b, shape=(*b.shape, 1)), transpose_a=transpose_a)
    return p.reshape(out, shape=tuple(out.shape[:-1]))


def tensordot(a, b, axes) -> Tensor:
    """The contraction over pairs of axes (axes of a, axes of b).

    An int n contracts the last n axes of `a` with the first n axes of `b`.
    """
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(axes, int):
        axes_a, axes_b = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        axes_a, axes_b = ((axis,) if isinstance(axis, int) else tuple(axis) for axis in axes)
    axes_a = tuple(shapes.normalize_axis("tensordot", i, a.ndim) for i in axes_a)
    axes_b = tuple(shapes.normalize_axis("tensordot", i, b.ndim) for i in axes_b)
    if [a.shape[i] for i in axes_a] != [b.shape[i] for i in axes_b]:
        raise InvalidArgumentError(
            "tensordot", f"axes {axes_a} of {tuple(a.shape)} and {axes_b} of {tuple(b.shape)} "
            "differ in size", "contract axes of equal size")
    free_a = tuple(i for i in range(a.ndim) if i not in axes_a)
    free_b = tuple(i for i in range(b.ndim) if i not in axes_b)
    inner = prod(a.shape[i] for i in axes_a)
    left = p.reshape(
        p.transpose(a, perm=free_a + axes_a), shape=(prod(a.shape[i] for i in free_a), inner)
    )
    right = p.reshape(
        p.transpose(b, perm=axes_b + free_b), shape=(inner, prod(b.shape[i] for i in free_b))
    )
    out = c.matmul(left, right, transpose_a=False, transpose_b=False)
    return p.reshape(
        out, shape=tuple(a.shape[i] for i in free_a) + tuple(b.shape[i] for i in free_b)
    )


PYTHON_OPERATORS["matmul"] = matmul

# ── diagonals and bands ───────────────────────────────────────────────────────────────────────


def _require_matrices(op: str, x) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise InvalidArgumentError(op, f"the input has shape {tuple(x.shape)}",
                                   "it needs at least two axes: (..., rows, columns)")
    return x


def _row_and_column_indices(shape) -> tuple[Tensor, Tensor]:
    """The row index and the column index of every element of matrices, as int32."""
    rank = len(shape)
    return p.iota(shape=shape, axis=rank - 2), p.iota(shape=shape, axis=rank - 1)


def band_part(input, num_lower: int, num_upper: int) -> Tensor:
    """Matrices with zeros outside of a band of diagonals.

    The band has `num_lower` diagonals below and `num_upper` above the main diagonal; a negative
    value keeps all. (-1, 0) is the lower triangle.

    >>> tf.linalg.band_part(tf.ones((3, 3)), -1, 0).numpy()[0]
    array([1., 0., 0.], dtype=float32)
    """
    x = _require_matrices("band_part", input)
    row, column = _row_and_column_indices(tuple(x.shape))
    for distance, maximum in ((row - column, num_lower), (column - row, num_upper)):
        if maximum >= 0:
            x = math.where(p.less_equal(distance, int(maximum)), x, as_tensor(0, x.dtype))
    return x


def diag(diagonal) -> Tensor:
    """Square matrices with the last axis as their diagonal, and zeros elsewhere."""
    x = as_tensor(diagonal)
    if not x.ndim:
        raise InvalidArgumentError("diag", "the input is a scalar", "it needs at least one axis")
    n = x.shape[-1]
    row, column = _row_and_column_indices((*x.shape, n))
    by_row = p.reshape(x, shape=(*x.shape, 1))
    return math.where(p.equal(row, column), by_row, as_tensor(0, x.dtype))


def diag_part(input) -> Tensor:
    """The main diagonals of matrices."""
    x = _require_matrices("diag_part", input)
    rows, columns = x.shape[-2:]
    batch, n = tuple(x.shape[:-2]), min(rows, columns)
    flat = p.reshape(x, shape=(*batch, rows * columns))
    return p.strided_slice(flat, begin=(0,) * (len(batch) + 1), shape=(*batch, n),
                           steps=(1,) * len(batch) + (columns + 1,))


def trace(x) -> Tensor:
    """The sums of the main diagonals."""
    return math.reduce_sum(diag_part(x), -1)


def matrix_transpose(a) -> Tensor:
    """The last two axes exchanged."""
    x = _require_matrices("matrix_transpose", a)
    return p.transpose(x, perm=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


# ── norms and clipping ────────────────────────────────────────────────────────────────────────


@math.compute_in_float32
def norm(tensor, ord: Any = "euclidean", axis=None, keepdims=False) -> Tensor:
    """The norm of vectors along `axis` (None: of all elements), or of matrices along two axes.

    `ord` of a vector norm is "euclidean", 1, 2, inf, or any positive power; that of a matrix norm
    is "euclidean" or "fro" (Frobenius).

    >>> float(tf.norm(tf.constant([3.0, 4.0])))
    5.0
    """
    x = as_tensor(tensor)
    axes = shapes.normalize_axes("norm", axis, x.ndim)
    is_matrix_norm = isinstance(axis, list | tuple) and len(axes) == 2
    is_power = isinstance(ord, int | float) and not isinstance(ord, bool) and ord > 0
    if ord in ("euclidean", "fro") or ord == 2 and not is_matrix_norm:
        return p.sqrt(math.reduce_sum(x * x, axes, keepdims))
    if is_matrix_norm or not is_power:
        raise InvalidArgumentError("norm", f"ord is {ord!r} for axis {axis}",
                                   'use "euclidean", or 1, 2, inf or a power for one axis')
    if ord == inf:
        return math.reduce_max(p.abs_(x), axes, keepdims)
    if ord == 1:
        return math.reduce_sum(p.abs_(x), axes, keepdims)
    return p.pow_(math.reduce_sum(p.pow_(p.abs_(x), float(ord)), axes, keepdims), 1.0 / ord)


def global_norm(t_list) -> Tensor:
    """The Euclidean norm of all elements of several tensors; None entries are skipped."""
    tensors = [as_tensor(t) for t in t_list if t is not None]
    if not tensors:
        raise InvalidArgumentError("global_norm", "there are no tensors", "pass at least one")
    return math.cast(_global_norm_f32(tensors), tensors[0].dtype)


def _global_norm_f32(tensors: list[Tensor]) -> Tensor:
    """The global norm, in float32 for float16, in which the squares would overflow."""
    wide = [math.cast(t, dtypes.float32) if t.dtype is dtypes.float16 else t for t in tensors]
    return p.sqrt(math.add_n([math.reduce_sum(t * t) for t in wide]))


@math.compute_in_float32
def clip_by_norm(t, clip_norm, axes=None) -> Tensor:
    """`t` scaled down to the Euclidean norm `clip_norm` along `axes` where its norm is larger."""
    x = as_tensor(t)
    squares = math.reduce_sum(x * x, axes, keepdims=True)
    # The derivative of the square root at 0 is infinite.
    positive = p.greater(squares, 0.0)
    length = math.where(positive, p.sqrt(math.where(positive, squares, 1.0)), squares)
    return x * clip_norm / p.maximum(length, clip_norm)


def clip_by_global_norm(t_list, clip_norm, use_norm=None) -> tuple[list, Tensor]:
    """(tensors, global norm): scales all tensors by one factor if their global norm exceeds
    `clip_norm`. None entries stay None; `use_norm` is the global norm, if already computed."""
    tensors = [None if t is None else as_tensor(t) for t in t_list]
    present = [t for t in tensors if t is not None]
    norm_before = global_norm(t_list) if use_norm is None else as_tensor(use_norm)
    length = _global_norm_f32(present) if use_norm is None else norm_before
    factor = clip_norm / p.maximum(length, clip_norm)
    return [None if t is None else t * math.cast(factor, t.dtype) for t in tensors], norm_before
