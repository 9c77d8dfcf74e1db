"""Convolutions, forward and both gradients, and pooling."""

import tensorbrook as tf

from .correctness_samples import sample, samples

POOLS = {"max": tf.nn.max_pool2d, "avg": tf.nn.avg_pool2d}


def convolution(arrays, api, direction, strides, dilations, depthwise):
    convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d

    @tf.function
    def forward(x, w, g):
        return convolve(x, w, strides=strides, padding="SAME", dilations=dilations)

    @tf.function
    def gradient(x, w, g):
        source = {"input": x, "filter": w}[direction]
        with tf.GradientTape() as tape:
            tape.watch(source)
            out = convolve(x, w, strides=strides, padding="SAME", dilations=dilations)
        return tape.gradient(out, source, output_gradients=g)

    step, inputs = forward if direction == "forward" else gradient, tuple(arrays.values())
    return step, inputs, lambda: sample(step(*inputs))


def pool(arrays, api, kind, gradient):
    pooled = POOLS[kind]

    @tf.function
    def forward(x):
        return pooled(x, 2, 2, "VALID")

    @tf.function
    def with_gradient(x, g):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = pooled(x, 2, 2, "VALID")
        return out, tape.gradient(out, x, output_gradients=g)

    inputs = tuple(arrays.values())
    if gradient: return with_gradient, inputs, lambda: samples(with_gradient(*inputs))
    return forward, inputs, lambda: sample(forward(*inputs))
