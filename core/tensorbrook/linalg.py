"""`tf.linalg`: products, norms, diagonals and bands of matrices."""
from .ops.einsum import einsum
from .ops.linalg import matmul, tensordot
from .ops.creation import eye
from .ops.matrices import (
    band_part, diag, diag_part, global_norm, matrix_transpose, matvec, norm, trace)

__all__ = ["band_part", "diag", "diag_part", "einsum", "eye", "global_norm", "matmul",
           "matrix_transpose", "matvec", "norm", "tensordot", "trace"]
