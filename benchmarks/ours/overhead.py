"""What Python and the runtime add: steps and operations that compute next to nothing."""

import time

import tensorbrook as tf


def measure(calls):
    """Microseconds of each kind of call, and the host calls that a captured step makes."""
    x, v = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.Variable([1.0, 2.0, 3.0, 4.0])
    inner = tf.function(lambda x: v.assign_add(x * 0.5))
    taped = Taped(x)
    return {"µs of a captured step": timed(lambda: inner(x), calls),
            "host calls of a captured step": host_calls(lambda: inner(x)),
            "µs of an eager op": timed(lambda: x + x, calls),
            "µs of an eager op on a tape": taped.microseconds(calls)}


def timed(call, calls, repeats=5):
    """The middle of some repeated loops, in microseconds a call."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append(time.perf_counter() - start)
    return 1e6 * sorted(times[1:])[repeats // 2] / calls


def host_calls(step, steps=10):
    before = tf.config.get_counters()["host_calls"]
    for _ in range(steps):
        step()
    after = tf.config.get_counters()["host_calls"]
    return (after - before) / steps


class Taped:
    """Operations on a watched tensor; the tape begins anew now and then, lest it grow for ever."""

    OPERATIONS = 16

    def __init__(self, x):
        self.x = x

    def once(self):
        with tf.GradientTape() as tape:
            tape.watch(self.x)
            for _ in range(self.OPERATIONS):
                self.x + self.x

    def microseconds(self, calls):
        return timed(self.once, calls // self.OPERATIONS or 1) / self.OPERATIONS
