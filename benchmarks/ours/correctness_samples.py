"""Samples of the results, compared with those of the other implementations."""

import tensorbrook as tf

SAMPLES = 61       # the same number as in page/workload.ts


def sample(tensor):
    """Elements at a constant stride over the flat tensor."""
    return strided_sample(tf.reshape(tensor, (-1,)).tolist())


def samples(tensors):
    """The concatenated samples of several tensors."""
    return [element for tensor in tensors for element in sample(tensor)]


def strided_sample(flat):
    stride = max(1, len(flat) // SAMPLES)
    return flat[:len(flat) // stride * stride:stride]


def losses(step, x, y, count):
    """The losses of the first steps."""
    return [float(step(x, y)) for _ in range(count)]
