"""Values, gradients and second derivatives of the op cases, natively and in a page.

The gradient is the gradient of `loss`, a randomly weighted sum of the squared results. The second
derivative is the gradient of the first gradient's component along a random direction, computed by
an outer tape. This module does not need NumPy.
"""
import functools
from array import array
from math import prod

import tensorbrook as tf
from op_case import Case, Indices, argument_data, uniform
from op_cases import CASES
from tensorbrook.base import tree

MODES = ("eager", "function", "around_function")


def inputs(case: Case, variant: int, kind: str = "f") -> list[tf.Tensor]:
    """The arguments of a call. Kinds "d" and "h" have the floats of "f" as float64 and float16."""
    arguments = case.shapes[variant]
    return [tensor(*argument_data(case, a, kind, seed)) for seed, a in enumerate(arguments)]


def tensor(values, shape, dtype: str) -> tf.Tensor:
    return tf.constant(values, dtype, shape) if values else tf.zeros(shape, dtype)


def weights(shape, dtype, seed: int) -> tf.Tensor:
    """Random weights of magnitude 0.5 to 1.5, so that every element contributes to a sum."""
    code = "f" if dtype == tf.float32 else "d"
    return tensor(weight_data(prod(shape), seed, code), shape, dtype)


@functools.cache
def weight_data(count: int, seed: int, code: str) -> array:
    """The elements of `weights`, as an array of type `code`."""
    values = uniform(count, -1, 1, seed)
    return array(code, (w + 0.5 if w > 0 else w - 0.5 for w in values))


def results(function, arguments) -> list[tf.Tensor]:
    return tree.flatten(function(*arguments))[0]


def loss(outs) -> tf.Tensor:
    """A scalar that depends quadratically on every floating-point result."""
    total = None
    for i, out in enumerate(o for o in outs if o.dtype.is_floating):
        term = tf.reduce_sum(weights(out.shape, out.dtype, 100 + i) * out * out)
        total = term if total is None else total + term
    return total


def derivatives(function, *arguments) -> tuple[list, list, list]:
    """Return (results, gradients, second derivatives along a random direction)."""
    with tf.GradientTape() as outer:
        outer.watch(float_tensors(arguments))
        outs, grads = gradient(function, *arguments)
        directional = tf.add_n([tf.reduce_sum(g * weights(g.shape, g.dtype, 200 + i))
                                for i, g in enumerate(grads)])
    seconds = outer.gradient(directional, float_tensors(arguments), unconnected_gradients="zero")
    return outs, grads, seconds


def gradient(function, *arguments) -> tuple[list, list]:
    """Return (results, gradients of their loss)."""
    with tf.GradientTape() as tape:
        tape.watch(float_tensors(arguments))
        outs = results(function, arguments)
        total = loss(outs)
    return outs, tape.gradient(total, float_tensors(arguments), unconnected_gradients="zero")


def float_tensors(arguments) -> list[tf.Tensor]:
    return [x for x in arguments if x.dtype.is_floating]


def is_differentiable(name: str) -> bool:
    case = CASES[name]
    floats = any(not isinstance(a, Indices) for a in case.shapes[0])
    return case.differentiable and floats and "f" in case.kinds


def in_mode(mode: str, measure, function):
    """`measure` applied to `function`: eagerly, inside a tf.function, or around a tf.function."""
    if mode == "function":
        return tf.function(lambda *xs: measure(function, *xs))
    compiled = tf.function(function) if mode == "around_function" else function
    return lambda *xs: measure(compiled, *xs)
