"""Matrix products."""

import tensorbrook as tf

from .correctness_samples import sample


def step(arrays, api, transpose_a, transpose_b):
    a, b = arrays["a"], arrays["b"]

    @tf.function
    def product(a, b):
        return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)

    return product, (a, b), lambda: sample(product(a, b))
