"""Overhead of Python and of the runtime: steps and operations with almost no arithmetic."""

import time

import tensorbrook as tf


def measure(calls):
    """Microseconds of each kind of call, and the host calls of a captured step."""
    x, v = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.Variable([1.0, 2.0, 3.0, 4.0])
    step = tf.function(lambda x: v.assign_add(x * 0.5))
    taped = TapedOperations(x)
    return {"µs of a captured step": timed(lambda: step(x), calls),
            "host calls of a captured step": host_calls(lambda: step(x)),
            "host calls of train_on_batch, which reads the loss": host_calls(keras_step()),
            "µs of an eager op": timed(lambda: x + x, calls),
            "µs of an eager op on a tape": taped.microseconds(calls)}


def timed(call, calls, repeats=5):
    """Microseconds per call: the minimum over repeated loops."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / calls


def keras_step():
    """One training step of a small model, as a call."""
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(3)])
    model.compile(optimizer=tf.keras.optimizers.Adam(),
                  loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = tf.zeros((8, 4)), tf.zeros((8,), tf.int32)
    return lambda: model.train_on_batch(x, y)


def host_calls(step, steps=10):
    step()
    before = tf.config.get_counters()["host_calls"]
    for _ in range(steps):
        step()
    after = tf.config.get_counters()["host_calls"]
    return (after - before) / steps


class TapedOperations:
    """Operations on a watched tensor; a new tape after every few, so that no tape grows long."""

    OPERATIONS = 16

    def __init__(self, x):
        self.x = x

    def run_once(self):
        with tf.GradientTape() as tape:
            tape.watch(self.x)
            for _ in range(self.OPERATIONS):
                self.x + self.x

    def microseconds(self, calls):
        return timed(self.run_once, calls // self.OPERATIONS or 1) / self.OPERATIONS
