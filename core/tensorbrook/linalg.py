"""`tf.linalg`: matrix products, norms, diagonals and bands."""
from .ops.creation import eye
from .ops.einsum import einsum
from .ops.linalg import (
    band_part, diag, diag_part, global_norm, matmul, matrix_transpose, matvec, norm, tensordot,
    trace)

__all__ = ["band_part", "diag", "diag_part", "einsum", "eye", "global_norm", "matmul",
           "matrix_transpose", "matvec", "norm", "tensordot", "trace"]
