"""Loop interpreter: runs a LoopKernel with NumPy, as the reference for generated code."""
from math import prod

import numpy as np

from tensorbrook.ir import ElementwiseOp, IndexValue, Load, LoopKernel, ScalarConstant, ReduceOp

FUNCTIONS = {"select": np.where, "exp": np.exp, "tanh": np.tanh, "abs": np.abs, "sqrt": np.sqrt,
             "max": np.maximum, "min": np.minimum, "floor": np.floor, "sin": np.sin, "cos": np.cos,
             "log": np.log, "pow": np.power, "sign": np.sign, "isfinite": np.isfinite,
             "sigmoid": lambda x: 1 / (1 + np.exp(-x))}


def interpret(loop: LoopKernel, arrays: dict) -> dict:
    """Return the new arrays of `loop.writes`; `arrays` holds the old array of every atom."""
    written = {v: arrays[v].copy() for v in loop.writes}
    spaces = [loop.reduced_space if in_post_reduce else loop.iteration_space
              for _, in_post_reduce in loop.value_sites]
    values: list[np.ndarray] = []
    with np.errstate(all="ignore"):
        for value, space in zip(loop.values, spaces):
            values.append(_evaluate(value, space, values, arrays, loop))
    for store in loop.stores:
        space = spaces[store.value]
        flat = written[store.target].reshape(-1)
        flat[_flat_indices(store.view, space)] = values[store.value]
    return written


def _evaluate(value, space, values, arrays, loop):
    match value:
        case Load():
            return arrays[value.source].reshape(-1)[_flat_indices(value.view, space)]
        case ScalarConstant():
            return np.full(space, value.value, value.dtype.name)
        case IndexValue():
            indices = np.indices(space, np.int32)
            strides = np.array(value.strides, np.int32).reshape(-1, *[1] * len(space))
            return (value.offset + (indices * strides).sum(0, np.int32)).astype(np.int32)
        case ElementwiseOp():
            args = [np.broadcast_to(values[i], space) for i in value.args]
            return _apply(value.expression.text, args, value.dtype)
        case ReduceOp():
            return _reduce(values[value.arg], value, loop.reduction_axes)


def _apply(expression, arguments, dtype):
    names = dict(zip("xyz", arguments)) | {"cast": lambda x: x.astype(dtype.name)}
    return np.asarray(eval(expression, FUNCTIONS | names)).astype(dtype.name)


def _reduce(x, value, axes):
    """The reduction of `x` with kept axes; float32 is accumulated in float64."""
    init = value.reduction.init
    if init in ("lowest", "highest"):
        sign = -1 if init == "lowest" else 1
        bounds = {-1: value.dtype.min, 1: value.dtype.max}
        init = sign * np.inf if value.dtype.is_floating else bounds[sign]
    accumulator_dtype = np.float64 if value.dtype.is_floating else x.dtype
    kept_axes = [i for i in range(x.ndim) if i not in axes]
    count = prod(x.shape[i] for i in axes)
    rows = x.astype(accumulator_dtype).transpose(*axes, *kept_axes)
    rows = rows.reshape(count, *[x.shape[i] for i in kept_axes])
    out = np.full(rows.shape[1:], init, accumulator_dtype)
    for row in rows:
        out = eval(value.reduction.combiner.text, FUNCTIONS | {"x": out, "y": row})
    return out.astype(x.dtype).reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def _flat_indices(view, space):
    """The index into a flat buffer of every element of a view."""
    assert tuple(view.shape) == tuple(space)
    indices = np.full(space, view.offset, np.int64)
    for axis, stride in enumerate(view.strides):
        shape = [-1 if i == axis else 1 for i in range(len(space))]
        indices += (np.arange(space[axis]) * stride).reshape(shape)
    return indices
