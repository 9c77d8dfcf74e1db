"""`tf.math`: elementwise functions, reductions, sorting and sums along the way."""
from .ops.math import (
    abs, add, add_n, argmax, argmin, ceil, cos, divide, equal, erf, exp, expm1, floor, floordiv,
    greater, greater_equal, is_finite, is_nan, less, less_equal, log, log1p, logical_and,
    logical_not, logical_or, logical_xor, maximum, minimum, mod, multiply, negative, not_equal, pow,
    reciprocal, reduce_all, reduce_any, reduce_logsumexp, reduce_max, reduce_mean, reduce_min,
    reduce_std, reduce_sum, reduce_variance, round, rsqrt, sigmoid, sign, sin, sqrt, square,
    subtract, tanh, truediv)
from .ops.sorting import in_top_k, top_k

__all__ = [
    "abs", "add", "add_n", "argmax", "argmin", "ceil", "cos", "divide", "equal", "erf", "exp",
    "expm1", "floor", "floordiv", "greater", "greater_equal", "in_top_k", "is_finite", "is_nan",
    "less", "less_equal", "log", "log1p", "logical_and", "logical_not", "logical_or",
    "logical_xor", "maximum", "minimum", "mod", "multiply", "negative", "not_equal", "pow",
    "reciprocal", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max", "reduce_mean",
    "reduce_min", "reduce_std", "reduce_sum", "reduce_variance", "round", "rsqrt", "sigmoid",
    "sign", "sin", "sqrt", "square", "subtract", "tanh", "top_k", "truediv"]
