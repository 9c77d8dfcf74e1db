"""`tf.math`: elementwise functions, reductions, cumulative and segment operations, top-k."""
from .ops.cumulative import cumprod, cumsum, cumulative_logsumexp, reduce_prod
from .ops.gather_scatter import (
    confusion_matrix, segment_mean, segment_sum, unsorted_segment_mean, unsorted_segment_sum)
from .ops.math import (
    abs, add, add_n, argmax, argmin, ceil, cos, divide, divide_no_nan, equal, erf, exp, expm1,
    floor, floordiv, greater, greater_equal, is_finite, is_nan, less, less_equal, log, log1p,
    logical_and, logical_not, logical_or, logical_xor, maximum, minimum, mod, multiply, negative,
    not_equal, pow, reciprocal, reduce_all, reduce_any, reduce_logsumexp, reduce_max, reduce_mean,
    reduce_min, reduce_std, reduce_sum, reduce_variance, round, rsqrt, sigmoid, sign, sin, sqrt,
    square, squared_difference, subtract, tanh, truediv)
from .ops.sorting import in_top_k, top_k

__all__ = [
    "abs", "add", "add_n", "argmax", "argmin", "ceil", "confusion_matrix", "cos", "cumprod",
    "cumsum", "cumulative_logsumexp", "divide", "divide_no_nan", "equal", "erf", "exp", "expm1",
    "floor", "floordiv", "greater", "greater_equal", "in_top_k", "is_finite", "is_nan", "less",
    "less_equal", "log", "log1p", "logical_and", "logical_not", "logical_or", "logical_xor",
    "maximum", "minimum", "mod", "multiply", "negative", "not_equal", "pow", "reciprocal",
    "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min",
    "reduce_prod", "reduce_std", "reduce_sum", "reduce_variance", "round", "rsqrt",
    "segment_mean", "segment_sum", "sigmoid", "sign", "sin", "sqrt", "square",
    "squared_difference", "subtract", "tanh", "top_k", "truediv", "unsorted_segment_mean",
    "unsorted_segment_sum"]
