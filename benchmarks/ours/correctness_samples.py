"""What is compared with the other contenders."""

import tensorbrook as tf

SAMPLES = 61       # as page/workload.ts takes them


def sample(tensor):
    """Some elements from everywhere in a large result."""
    return some_of(tf.reshape(tensor, (-1,)).tolist())


def samples(tensors):
    """Those of several results, one after the other."""
    return [element for tensor in tensors for element in sample(tensor)]


def some_of(flat):
    stride = max(1, len(flat) // SAMPLES)
    return flat[:len(flat) // stride * stride:stride]


def losses(step, x, y, count):
    """The losses of some first steps."""
    return [float(step(x, y)) for _ in range(count)]
