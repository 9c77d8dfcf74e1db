"""Gather, scatter and sort."""

import tensorbrook as tf

from .correctness_samples import sample, samples


def embedding(arrays, api):
    f, inputs = tf.function(tf.gather), (arrays["table"], arrays["ids"])
    return f, inputs, lambda: sample(f(*inputs))


def scatter_add(arrays, api, rows):
    """The gradient of an embedding."""
    table = tf.Variable(tf.zeros((rows, arrays["updates"].shape[-1])))

    @tf.function
    def f(updates, ids):
        with tf.GradientTape() as tape:
            out = tf.gather(table, ids)
        return tape.gradient(out, table, output_gradients=updates)

    inputs = arrays["updates"], arrays["ids"]
    return f, inputs, lambda: sample(f(*inputs))


def sort(arrays, api):
    f = tf.function(tf.sort)
    return f, (arrays["x"],), lambda: sample(f(arrays["x"]))


def top_k(arrays, api, k):
    @tf.function
    def f(x):
        values, indices = tf.math.top_k(x, k)
        return values, indices

    return f, (arrays["x"],), lambda: samples(f(arrays["x"]))
