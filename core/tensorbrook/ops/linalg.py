"""Matrix products with broadcasting, by TensorFlow's names."""
from math import prod

from ..base import shapes
from ..base.errors import InvalidArgumentError
from ..tensor import PYTHON_OPERATORS, Tensor, as_tensor
from . import kernel_primitives as c
from . import primitives as p


def matmul(a, b, transpose_a=False, transpose_b=False) -> Tensor:
    """The product of the last two axes; the axes before them broadcast.

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
        # Rows of every batch meet the same matrix: one product of all rows.
        rows = p.reshape(a, shape=(prod(a.shape[:-1]), a.shape[-1]))
        out = c.matmul(rows, b, transpose_a=False, transpose_b=bool(transpose_b))
        return p.reshape(out, shape=(*a.shape[:-1], out.shape[-1]))
    if min(a.ndim, b.ndim) >= 2 and a.shape[:-2] != b.shape[:-2]:
        batch = _batch(tuple(a.shape), tuple(b.shape))
        a = p.broadcast_to(a, shape=(*batch, *a.shape[-2:]))
        b = p.broadcast_to(b, shape=(*batch, *b.shape[-2:]))
    return c.matmul(a, b, transpose_a=bool(transpose_a), transpose_b=bool(transpose_b))


def _batch(a: shapes.Shape, b: shapes.Shape) -> shapes.Shape:
    """The axes before the matrices, broadcast."""
    try:
        return shapes.broadcast("matmul", a[:-2], b[:-2])
    except InvalidArgumentError:
        raise InvalidArgumentError(
            "matmul",
            f"the batch axes of {a} @ {b} differ: {a[:-2]} and {b[:-2]}",
            "their sizes must be equal, or one of them 1",
        ) from None


def tensordot(a, b, axes) -> Tensor:
    """The sum over pairs of axes: an int n takes a's last n with b's first n."""
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(axes, int):
        of_a, of_b = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        of_a, of_b = ((one,) if isinstance(one, int) else tuple(one) for one in axes)
    of_a = tuple(shapes.normalize_axis("tensordot", i, a.ndim) for i in of_a)
    of_b = tuple(shapes.normalize_axis("tensordot", i, b.ndim) for i in of_b)
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise InvalidArgumentError("tensordot", f"axes {of_a} of {tuple(a.shape)} and {of_b} of "
                                   f"{tuple(b.shape)} differ in size", "pair axes of equal size")
    free_a = tuple(i for i in range(a.ndim) if i not in of_a)
    free_b = tuple(i for i in range(b.ndim) if i not in of_b)
    inner = prod(a.shape[i] for i in of_a)
    left = p.reshape(
        p.transpose(a, perm=free_a + of_a), shape=(prod(a.shape[i] for i in free_a), inner)
    )
    right = p.reshape(
        p.transpose(b, perm=of_b + free_b), shape=(inner, prod(b.shape[i] for i in free_b))
    )
    out = c.matmul(left, right, transpose_a=False, transpose_b=False)
    return p.reshape(
        out, shape=tuple(a.shape[i] for i in free_a) + tuple(b.shape[i] for i in free_b)
    )


PYTHON_OPERATORS["matmul"] = matmul
