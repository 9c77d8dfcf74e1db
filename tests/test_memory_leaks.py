"""Steps of a loop keep no memory: what a user drops goes back at once, without Python's collector.

A reference cycle that holds a tensor would keep its block of the linear memory until Python next
looks for cycles, which a loop of few but large tensors may never live to see.
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


def taped(x):
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.exp(x) * x)
    return tape.gradient(y, x)


def twice_taped(x):
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            y = tf.reduce_sum(x * x * x)
        g = inner.gradient(y, x)
    return outer.gradient(g, x)


STEPS = {
    "an operation": lambda x: tf.exp(x) + 1.0,
    "a captured function": tf.function(lambda x: {"out": (x * 2.0, [x + 1.0])}),
    "a captured step": tf.function(taped),
    "a tape": taped,
    "a tape in a tape": twice_taped,
    "reading": lambda x: (x * 1.0).tolist(),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_keeps_nothing(name):
    x, step = tf.Variable(tf.ones((50, 40))), STEPS[name]
    step(x)
    step(x)
    memory = EAGER.backend.memory
    before = memory.in_use
    for _ in range(3):
        step(x)
    assert memory.in_use == before
