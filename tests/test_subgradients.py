"""Subgradients: gradients at kinks and at extreme arguments; networks often start with zeros."""
import numpy as np
import pytest

import tensorbrook as tf
from tensorbrook import keras

pytestmark = pytest.mark.usefixtures("backend")

POINTS = {
    # name: (function, point, derivative, second derivative or None if arbitrary in TensorFlow)
    "softplus": (tf.nn.softplus, 0.0, 0.5, 0.25),
    "softplus of a large number": (tf.nn.softplus, 500.0, 1.0, 0.0),
    "softplus of a large negative number": (tf.nn.softplus, -500.0, 0.0, 0.0),
    "sigmoid cross entropy of label 1": (lambda x: tf.nn.sigmoid_cross_entropy_with_logits(
        tf.ones(()), x), 0.0, -0.5, 0.25),
    "sigmoid cross entropy of label 0": (lambda x: tf.nn.sigmoid_cross_entropy_with_logits(
        tf.zeros(()), x), 0.0, 0.5, 0.25),
    "sigmoid": (tf.sigmoid, 0.0, 0.25, 0.0),
    "sigmoid of a large number": (tf.sigmoid, 500.0, 0.0, 0.0),
    "sigmoid of a large negative number": (tf.sigmoid, -500.0, 0.0, 0.0),
    "silu": (tf.nn.silu, 0.0, 0.5, 0.5),
    "gelu": (tf.nn.gelu, 0.0, 0.5, 0.7978846),
    "elu": (tf.nn.elu, 0.0, 1.0, None),
    "elu of a large number": (tf.nn.elu, 500.0, 1.0, 0.0),
    "relu": (tf.nn.relu, 0.0, 0.0, 0.0),
    "leaky_relu": (tf.nn.leaky_relu, 0.0, 0.2, 0.0),
    "abs": (tf.abs, 0.0, 0.0, 0.0),
    "square": (lambda x: x ** 2, 0.0, 0.0, 2.0),
    "cube": (lambda x: x ** 3.0, 0.0, 0.0, 0.0),
    "power of 2.5": (lambda x: x ** 2.5, 0.0, 0.0, 0.0),
    "power of 1": (lambda x: tf.pow(x, tf.ones(())), 0.0, 1.0, 0.0),
    "power of 0": (lambda x: x ** 0, 0.0, 0.0, 0.0),
    "clip": (lambda x: tf.clip_by_value(x, -1.0, 1.0), 1.0, 1.0, 0.0),
    "logsumexp of equal elements": (lambda x: tf.reduce_logsumexp(tf.stack([x, x])), 3.0, 1.0, 0.0),
    "maximum of equal elements": (lambda x: tf.reduce_max(tf.stack([x, x])), 3.0, 1.0, 0.0),
    "binary cross entropy": (lambda x: keras.losses.BinaryCrossentropy(from_logits=True)(
        tf.ones((1, 1)), tf.reshape(x, (1, 1))), 0.0, -0.5, 0.25),
}


@pytest.mark.parametrize("name", POINTS)
def test_first_and_second_derivative(name):
    f, point, derivative, second_derivative = POINTS[name]
    x = tf.constant(point)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = f(x)
        first = inner.gradient(y, x)
    second = outer.gradient(first, x, unconnected_gradients="zero")
    assert float(first) == pytest.approx(derivative, abs=1e-6)
    if second_derivative is not None:
        assert float(second) == pytest.approx(second_derivative, abs=1e-6)


def test_the_bias_gradient_of_a_network_of_zeros():
    """For logits 0, the gradient of the bias is the mean of 1/2 - label."""
    x, labels = tf.zeros((4, 3)), tf.constant([[1.0], [0.0], [1.0], [1.0]])
    w, b = tf.Variable(np.zeros((3, 1), "float32")), tf.Variable(np.zeros(1, "float32"))
    with tf.GradientTape() as tape:
        logits = tf.matmul(x, w) + b
        cost = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))
    dw, db = tape.gradient(cost, [w, b])
    assert dw.tolist() == [[0.0]] * 3 and db.tolist() == [-0.25]
