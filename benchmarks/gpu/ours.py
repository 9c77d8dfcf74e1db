"""Tensorbrook's programs on backend webgpu."""

from __future__ import annotations

import numpy as np

import tensorbrook as tf
from tensorbrook import backends

from ..native.numpy_programs import sample
from ..ours.step_runner import FAMILIES

OPERATIONS = {"add": lambda x, y: x + y, "relu": tf.nn.relu, "scale": lambda x: x * 3.0}


def products(arrays, api, count):
    @tf.function
    def power(x, w):
        for _ in range(count):
            x = x @ w
        return x

    return with_check(power, arrays)


def memory_bound(arrays, api, operation):
    return with_check(tf.function(OPERATIONS[operation]), arrays)


def with_check(f, arrays):
    inputs = tuple(arrays.values())
    return f, inputs, lambda: sample(np.asarray(f(*inputs)))


class Ours:
    """Tensorbrook on the GPU."""

    PROGRAMS = {**FAMILIES, "products": products, "memory_bound": memory_bound}

    def __init__(self):
        tf.config.set_backend("webgpu")
        self.host = backends.get_backend("webgpu").host
        self.fence = self.host.new(16)

    def program(self, family, arrays, options):
        """A step, and its check."""
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        step, arguments, check = self.PROGRAMS[family](tensors, "tf", **options)
        return lambda: step(*arguments), check

    def wait(self) -> None:
        """Wait until the device is idle: a read is served after all earlier commands."""
        self.host.read_many([(self.fence, 16)])
