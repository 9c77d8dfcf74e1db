"""Tensorbrook: deep learning in a browser tab, in Python. `import tensorbrook as tf`.

Public names equal TensorFlow's; `tf.keras` is imported on first access.
"""
import importlib

from . import bitwise, config, errors, linalg, math
from .autodiff import GradientTape, UnconnectedGradients
from .base.dtypes import (
    DType, bool_ as bool, float16, float16 as half, float32, float64, int32, uint8)
from .base.tree import tree_map
from .devices import device
from .eager import init_scope
from .function import function
from .ops import nn, random
from .ops.array_ops import (
    broadcast_to, concat, constant, convert_to_tensor, expand_dims, fill, ones, ones_like, pad,
    range, rank, reshape, reverse, shape, size, slice, split, squeeze, stack, tile, transpose,
    unstack, zeros, zeros_like)
from .ops.control_flow import scan
from .ops.creation import eye, linspace, meshgrid, repeat, roll, sequence_mask
from .ops.cumulative import cumsum, reduce_prod
from .ops.einsum import einsum
from .ops.gather_scatter import gather_nd, scatter_nd, tensor_scatter_nd_add
from .ops.indexing import boolean_mask, gather, one_hot
from .ops.linalg import clip_by_global_norm, clip_by_norm, matmul, norm, tensordot
from .ops.math import (
    abs, add, add_n, argmax, argmin, cast, ceil, clip_by_value, cos, divide, equal, erf, exp,
    floor, greater, greater_equal, identity, less, less_equal, log, logical_and, logical_not,
    logical_or, maximum, minimum, multiply, negative, not_equal, pow, reduce_all, reduce_any,
    reduce_logsumexp, reduce_max, reduce_mean, reduce_min, reduce_std, reduce_sum, reduce_variance,
    round, rsqrt, sigmoid, sign, sin, sqrt, square, squared_difference, stop_gradient, subtract,
    tanh, truediv, where)
from .ops.sorting import argsort, sort
from .tensor import Tensor, TensorShape, Variable

__version__ = "0.1.0"
newaxis = None
_LAZY_MODULES = ("keras",)


def __getattr__(name: str):
    if name in _LAZY_MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"tensorbrook has no {name!r}; dir(tensorbrook) lists the public names")


def __dir__():
    return sorted([*globals(), *_LAZY_MODULES])


__all__ = [
    "DType", "GradientTape", "Tensor", "TensorShape", "UnconnectedGradients", "Variable", "abs",
    "add", "add_n", "argmax", "argmin", "argsort", "bitwise", "bool", "boolean_mask",
    "broadcast_to", "cast", "ceil", "clip_by_global_norm", "clip_by_norm", "clip_by_value",
    "concat", "config", "constant", "convert_to_tensor", "cos", "cumsum", "device", "divide",
    "einsum", "equal", "erf", "errors", "exp", "expand_dims", "eye", "fill", "float16", "float32",
    "float64", "floor", "function", "gather", "gather_nd", "greater", "greater_equal", "half",
    "identity", "init_scope", "int32", "keras", "less", "less_equal", "linalg", "linspace", "log",
    "logical_and", "logical_not", "logical_or", "math", "matmul", "maximum", "meshgrid", "minimum",
    "multiply", "negative", "newaxis", "nn", "norm", "not_equal", "one_hot", "ones", "ones_like",
    "pad", "pow", "random", "range", "rank", "reduce_all", "reduce_any", "reduce_logsumexp",
    "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_std", "reduce_sum",
    "reduce_variance", "repeat", "reshape", "reverse", "roll", "round", "rsqrt", "scan",
    "scatter_nd", "sequence_mask", "shape", "sigmoid", "sign", "sin", "size", "slice", "sort",
    "split", "sqrt", "square", "squared_difference", "squeeze", "stack", "stop_gradient",
    "subtract", "tanh", "tensor_scatter_nd_add", "tensordot", "tile", "transpose", "tree_map",
    "truediv", "uint8", "unstack", "where", "zeros", "zeros_like"]
