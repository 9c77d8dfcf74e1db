"""Our programs on backend webgpu."""

from __future__ import annotations

import numpy as np

import tensorbrook as tf
from tensorbrook import backends

from ..native.numpy_programs import sample
from ..ours.step_runner import FAMILIES

OPERATIONS = {"add": lambda x, y: x + y, "relu": tf.nn.relu, "scale": lambda x: x * 3.0}


def products(arrays, flavour, count):
    @tf.function
    def power(x, w):
        for _ in range(count):
            x = x @ w
        return x

    return checked(power, arrays)


def stream(arrays, flavour, operation):
    return checked(tf.function(OPERATIONS[operation]), arrays)


def checked(f, arrays):
    inputs = tuple(arrays.values())
    return f, inputs, lambda: sample(np.asarray(f(*inputs)))


class Ours:
    """This package on the GPU."""

    PROGRAMS = {**FAMILIES, "products": products, "stream": stream}

    def __init__(self):
        tf.config.set_backend("webgpu")
        self.host = backends.get_backend("webgpu").host
        self.behind = self.host.new(16)

    def program(self, family, arrays, options):
        """A step, and what it computes."""
        tensors = {name: tf.constant(array) for name, array in arrays.items()}
        step, arguments, check = self.PROGRAMS[family](tensors, "tf", **options)
        return lambda: step(*arguments), check

    def wait(self) -> None:
        """Until the device has done everything: a read waits for all before it."""
        self.host.read_many([(self.behind, 16)])
