"""What is measured of each line of the table: value, gradient and curvature, natively or in a page.

The gradient is that of `loss`, the sum of the results' squares under random weights; the curvature
is that of the gradient along a random direction, through a second tape. Nothing here needs NumPy.
"""
from array import array

import tensorbrook as tf
from op_case import Case, Whole, elements, numbers
from op_cases import CASES
from tensorbrook.base import tree

MODES = ("eager", "function", "called")


def inputs(case: Case, variant: int, kind: str = "f") -> list[tf.Tensor]:
    """The arguments of a call; kinds "d" and "h" give the floats of "f" in double and half
    precision."""
    arguments = case.shapes[variant]
    return [tensor(*elements(case, a, kind, seed)) for seed, a in enumerate(arguments)]


def tensor(values, shape, dtype: str) -> tf.Tensor:
    return tf.constant(values, dtype, shape) if values else tf.zeros(shape, dtype)


def weights(shape, dtype, seed: int) -> tf.Tensor:
    """A direction for derivatives, away from 0 so that no error hides."""
    count = 1
    for n in shape:
        count *= n
    values = [w + 0.5 if w > 0 else w - 0.5 for w in numbers(count, -1, 1, seed)]
    return tf.constant(array("d", values), dtype, shape) if values else tf.zeros(shape, dtype)


def results(call, arguments) -> list[tf.Tensor]:
    return tree.flatten(call(*arguments))[0]


def loss(outs) -> tf.Tensor:
    """A number that every floating result takes part in, with a slope and a curvature."""
    total = None
    for i, out in enumerate(o for o in outs if o.dtype.is_floating):
        part = tf.reduce_sum(weights(out.shape, out.dtype, 100 + i) * out * out)
        total = part if total is None else total + part
    return total


def derivatives(call, *arguments) -> tuple[list, list, list]:
    """(results, gradients, curvatures): the last along a random direction, by a second tape."""
    with tf.GradientTape() as outer:
        outer.watch(floating(arguments))
        outs, grads = gradient(call, *arguments)
        slope = tf.add_n([tf.reduce_sum(g * weights(g.shape, g.dtype, 200 + i))
                          for i, g in enumerate(grads)])
    return outs, grads, outer.gradient(slope, floating(arguments), unconnected_gradients="zero")


def gradient(call, *arguments) -> tuple[list, list]:
    with tf.GradientTape() as tape:
        tape.watch(floating(arguments))
        outs = results(call, arguments)
        total = loss(outs)
    return outs, tape.gradient(total, floating(arguments), unconnected_gradients="zero")


def floating(arguments) -> list[tf.Tensor]:
    return [x for x in arguments if x.dtype.is_floating]


def differentiable(name: str) -> bool:
    case = CASES[name]
    floats = any(not isinstance(a, Whole) for a in case.shapes[0])
    return case.derivative and floats and "f" in case.kinds


def in_mode(mode: str, measured, call):
    """What is measured of a call: op by op, inside one tf.function, or around a tf.function."""
    if mode == "function":
        return tf.function(lambda *xs: measured(call, *xs))
    return lambda *xs: measured(tf.function(call) if mode == "called" else call, *xs)
