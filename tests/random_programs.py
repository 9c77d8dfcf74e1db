"""Random programs: random operations on a few tensors and Variables, for differential testing.

A program depends only on its seed and length, so a failure can be reproduced. Its values are chosen
so that backends can differ only by rounding: floats stay small, and conditions depend on integers.
"""
from math import prod
from random import Random

import numpy as np

import tensorbrook as tf

SIZES = (1, 2, 3, 4, 5, 7, 12)


class RandomProgram:
    """A traceable function of Variables and inputs, with the initial `inputs` and `variables`.

    With `float16`, some steps cast between float32 and float16.
    """

    def __init__(self, seed: int, length: int, float16: bool = False):
        self.seed, self.length = seed, length
        self.steps = STEPS + (switch_float_dtype,) * 4 if float16 else STEPS
        draw, arrays = Random(seed), np.random.default_rng(seed)
        shapes = [tuple(draw.choice(SIZES) for _ in range(draw.randint(0, 3))) for _ in range(2)]
        if draw.random() < 0.1:
            shapes.append((0, draw.choice(SIZES)))
        self.inputs = [arrays.uniform(-1, 1, s).astype("float32") for s in shapes]
        self.inputs.append(arrays.integers(-5, 6, shapes[0]).astype("int32"))
        self.variables = [arrays.uniform(-1, 1, draw.choice(shapes)).astype("float32")
                          for _ in range(draw.randint(0, 3))]

    def __call__(self, variables, *inputs):
        draw = Random(self.seed + 1)
        tensors = [*inputs, *(v.value() for v in variables)]
        for _ in range(self.length):
            x = draw.choice(tensors)
            y = draw.choice(self.steps)(draw, x, tensors)
            if y is not None and y.spec.count <= 3000:
                tensors.append(y)
            if variables and draw.random() < 0.3:
                v = draw.choice(variables)
                v.assign(fit_to(draw, draw.choice(tensors), v))
                tensors.append(v.value())
        return [draw.choice(tensors) for _ in range(draw.randint(1, 3))] + tensors[-3:]


def fit_to(draw, x, v):
    """Compute a tensor with the shape and dtype of Variable `v` from `x`."""
    x = tf.cast(x, tf.float32)
    if x.shape == v.shape:
        return draw.choice((lambda: x, lambda: x + v, lambda: x * 0.5 - v[::-1] if v.ndim else x))()
    if prod(x.shape) == prod(v.shape):
        return tf.reshape(x, v.shape)
    return tf.reduce_mean(x) * 0.1 + v if prod(x.shape) else v * 0.5


# ── steps: (draw, a tensor, all tensors) -> a tensor, or None if the step does not apply ──────


def unary(draw, x, tensors):
    if not x.dtype.is_floating:
        return draw.choice((lambda: -x, lambda: tf.abs(x), lambda: x * 2 + 1,
                            lambda: tf.cast(x, tf.float32) * 0.25))()
    return draw.choice((lambda: -x, lambda: tf.tanh(x), lambda: x * 0.5 + 0.25, lambda: tf.abs(x),
                        lambda: tf.exp(-x * x), lambda: tf.maximum(x, 0.1)))()


def binary(draw, x, tensors):
    peers = [y for y in tensors if y.dtype == x.dtype and can_broadcast(x.shape, y.shape)]
    y = draw.choice(peers)
    op = draw.choice((tf.add, tf.subtract, tf.maximum, tf.minimum, tf.multiply))
    if op is tf.multiply:
        return tf.tanh(x * y) if x.dtype.is_floating else tf.minimum(tf.maximum(x * y, -99), 99)
    return op(x, y)


def can_broadcast(a, b) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b)))


def select(draw, x, tensors):
    conditions = [y for y in tensors if y.dtype == tf.int32 and can_broadcast(x.shape, y.shape)]
    if not conditions:
        return None
    c = draw.choice(conditions)
    return tf.where(c > draw.randint(-3, 3), x, tf.zeros((), x.dtype))


def reduce(draw, x, tensors):
    axes = sorted(draw.sample(range(x.ndim), draw.randint(0, x.ndim)))
    if 0 in x.shape or not axes:
        return tf.reduce_sum(x, axes)
    op = draw.choice((tf.reduce_sum, tf.reduce_max, tf.reduce_min, tf.reduce_mean))
    if not x.dtype.is_floating:
        op = tf.reduce_max
    return op(x, axes, keepdims=draw.random() < 0.5)


def softmax(draw, x, tensors):
    if not x.dtype.is_floating or not x.ndim:
        return None
    return tf.nn.softmax(x, draw.randrange(x.ndim))


def transpose(draw, x, tensors):
    return tf.transpose(x, draw.sample(range(x.ndim), x.ndim))


def reshape(draw, x, tensors):
    count, shape = prod(x.shape), []
    while count > 1 and len(shape) < 3:
        n = draw.choice([d for d in range(1, count + 1) if count % d == 0])
        shape.append(n)
        count //= n
    return tf.reshape(x, (*shape, count))


def strided_slice(draw, x, tensors):
    keys = []
    for n in x.shape:
        a, b = sorted((draw.randint(0, n), draw.randint(0, n)))
        step = draw.choice((1, 1, 2, -1))
        keys.append(slice(a, b, step) if step > 0 else slice(b - 1, a - 1 if a else None, step))
    return x[tuple(keys)] if all(k.start != -1 for k in keys) else None


def pad(draw, x, tensors):
    return tf.pad(x, [(draw.randint(0, 2), draw.randint(0, 2)) for _ in x.shape])


def concat(draw, x, tensors):
    if not x.ndim:
        return tf.stack([x, x + 1])
    axis = draw.randrange(x.ndim)
    return tf.concat([x, tf.reverse(x, (axis,)), x[:1] if axis == 0 else x], axis)


def broadcast(draw, x, tensors):
    return tf.broadcast_to(x, (draw.choice((1, 2, 3)), *x.shape)) if x.ndim < 3 else None


def matmul(draw, x, tensors):
    if x.ndim < 2 or not x.dtype.is_floating:
        return None
    a, b = draw.random() < 0.5, draw.random() < 0.5
    y = x if a != b else tf.transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))
    return tf.tanh(tf.matmul(x, y, transpose_a=a, transpose_b=b))


def gather(draw, x, tensors):
    if not x.ndim:
        return None
    axis = draw.randrange(x.ndim)
    return tf.gather(x, [draw.randint(-1, x.shape[axis]) for _ in range(draw.randint(1, 4))], axis)


def sort(draw, x, tensors):
    return tf.sort(x, draw.randrange(x.ndim)) if x.ndim else None


def cumsum(draw, x, tensors):
    if not x.ndim:
        return None
    sums = tf.cumsum(x, draw.randrange(x.ndim), draw.random() < 0.5, draw.random() < 0.5)
    return tf.tanh(sums) if x.dtype.is_floating else tf.minimum(tf.maximum(sums, -99), 99)


def conv2d(draw, x, tensors):
    """A convolution of many small images with padding, and an elementwise operation after it."""
    if not x.ndim or not x.dtype.is_floating or 0 in x.shape:
        return None
    batch, sides = prod(x.shape[:-1]), []
    for max_side in (12, 3):
        sides.append(draw.choice([n for n in range(1, max_side + 1) if batch % n == 0]))
        batch //= sides[-1]
    images = tf.reshape(x, (batch, *reversed(sides), x.shape[-1]))
    size = (draw.choice((1, 3)), draw.choice((1, 2, 3)), x.shape[-1], draw.choice((1, 4, 16, 17)))
    filters = tf.cast(tf.sin(tf.range(prod(size), dtype=tf.float32)), x.dtype)
    y = tf.nn.conv2d(images, tf.reshape(filters, size) * (1 / prod(size[:3])),
                     draw.choice((1, 1, 2)), "SAME")
    return draw.choice((tf.tanh, lambda y: tf.abs(y) ** 1.5, lambda y: y + 0.25, tf.nn.silu))(y)


def gradient(draw, x, tensors):
    """The gradient of a smooth function that contains one of the smooth steps."""
    if x.dtype != tf.float32 or 0 in x.shape:
        return None
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = draw.choice((conv2d, matmul, softmax, smooth_reduce, transpose, cumsum))(
            draw, tf.tanh(x), tensors)
        loss = tf.reduce_sum(tf.sin(tf.tanh(x) if y is None else y))
    return tf.tanh(tape.gradient(loss, x))


def smooth_reduce(draw, x, tensors):
    axes = draw.sample(range(x.ndim), draw.randint(0, x.ndim))
    return draw.choice((tf.reduce_logsumexp, tf.reduce_mean, tf.reduce_variance))(x, axes)


def add_range(draw, x, tensors):
    n = x.shape[-1] if x.ndim else 4
    return tf.range(n) if x.dtype == tf.int32 else x + tf.range(n, dtype=x.dtype) * 0.01


def switch_float_dtype(draw, x, tensors):
    if not x.dtype.is_floating:
        return None
    return tf.cast(x, tf.float16 if x.dtype == tf.float32 else tf.float32)


STEPS = (unary, unary, unary, binary, binary, binary, binary, select, reduce, reduce, softmax,
         transpose, reshape, strided_slice, pad, concat, broadcast, matmul, gather, add_range, sort,
         cumsum, conv2d, conv2d, gradient, gradient)
