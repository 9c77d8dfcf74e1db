"""What a Loop means, told by NumPy one value at a time: the reference for generated code."""
from math import prod

import numpy as np

from tensorbrook.ir import ElementwiseOp, IndexValue, Load, LoopKernel, ScalarConstant, ReduceOp

FUNCTIONS = {"select": np.where, "exp": np.exp, "tanh": np.tanh, "abs": np.abs, "sqrt": np.sqrt,
             "max": np.maximum, "min": np.minimum, "floor": np.floor, "sin": np.sin, "cos": np.cos,
             "log": np.log, "pow": np.power, "sign": np.sign, "isfinite": np.isfinite,
             "sigmoid": lambda x: 1 / (1 + np.exp(-x))}


def interpret(loop: LoopKernel, arrays: dict) -> dict:
    """The arrays of `loop.writes` afterwards; `arrays` holds those of every atom before."""
    after = {v: arrays[v].copy() for v in loop.writes}
    spaces = [loop.reduced_space if late else loop.iteration_space for _, late in loop.value_sites]
    values: list[np.ndarray] = []
    with np.errstate(all="ignore"):
        for value, space in zip(loop.values, spaces):
            values.append(_value(value, space, values, arrays, loop))
    for store in loop.stores:
        space = spaces[store.value]
        flat = after[store.target].reshape(-1)
        flat[_places(store.view, space)] = values[store.value]
    return after


def _value(value, space, values, arrays, loop):
    match value:
        case Load():
            return arrays[value.source].reshape(-1)[_places(value.view, space)]
        case ScalarConstant():
            return np.full(space, value.value, value.dtype.name)
        case IndexValue():
            counters = np.indices(space, np.int32)
            steps = np.array(value.strides, np.int32).reshape(-1, *[1] * len(space))
            return (value.offset + (counters * steps).sum(0, np.int32)).astype(np.int32)
        case ElementwiseOp():
            args = [np.broadcast_to(values[i], space) for i in value.args]
            return _apply(value.formula, args, value.dtype)
        case ReduceOp():
            return _fold(values[value.arg], value, loop.reduction_axes)


def _apply(formula, arguments, dtype):
    names = dict(zip("xyz", arguments)) | {"cast": lambda x: x.astype(dtype.name)}
    return np.asarray(eval(formula, FUNCTIONS | names)).astype(dtype.name)


def _fold(x, value, axes):
    """The fold of `x`, in float64 where it is float32."""
    start = value.reduction.init
    if start in ("lowest", "highest"):
        sign = -1 if start == "lowest" else 1
        ends = {-1: value.dtype.min, 1: value.dtype.max}
        start = sign * np.inf if value.dtype.is_floating else ends[sign]
    wide = np.float64 if value.dtype.is_floating else x.dtype
    kept = [i for i in range(x.ndim) if i not in axes]
    count = prod(x.shape[i] for i in axes)
    rows = x.astype(wide).transpose(*axes, *kept).reshape(count, *[x.shape[i] for i in kept])
    out = np.full(rows.shape[1:], start, wide)
    for row in rows:
        out = eval(value.reduction.combiner, FUNCTIONS | {"x": out, "y": row})
    return out.astype(x.dtype).reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def _places(view, space):
    """Where each index lies in a flat buffer."""
    assert tuple(view.shape) == tuple(space)
    places = np.full(space, view.offset, np.int64)
    for axis, step in enumerate(view.strides):
        shape = [-1 if i == axis else 1 for i in range(len(space))]
        places += (np.arange(space[axis]) * step).reshape(shape)
    return places
