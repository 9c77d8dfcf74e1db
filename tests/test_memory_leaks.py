"""Memory leaks: memory of dropped tensors is freed at once, without the garbage collector.

A reference cycle that holds a tensor would keep its memory until the next collection, and a loop
with few but large tensors runs out of memory before that.
"""

import gc

import pytest

import backends
import tensorbrook as tf
from tensorbrook.eager import EAGER


@pytest.fixture(autouse=True)
def wasm_without_collector():
    with backends.on("wasm"):
        gc.collect()
        gc.disable()
        yield
        gc.enable()


def gradient(x):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.exp(x) * x)
    return tape.gradient(y, x)


def second_derivative(x):
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            y = tf.reduce_sum(x * x * x)
        g = inner.gradient(y, x)
    return outer.gradient(g, x)


STEPS = {
    "operation": lambda x: tf.exp(x) + 1.0,
    "compiled function": tf.function(lambda x: {"out": (x * 2.0, [x + 1.0])}),
    "compiled gradient": tf.function(gradient),
    "gradient": gradient,
    "second derivative": second_derivative,
    "conversion to Python": lambda x: (x * 1.0).tolist(),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_leaks_no_memory(name):
    x, step = tf.Variable(tf.ones((50, 40))), STEPS[name]
    step(x)
    step(x)
    memory = EAGER.backend.memory
    before = memory.in_use
    for _ in range(3):
        step(x)
    assert memory.in_use == before
