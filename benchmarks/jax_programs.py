"""The native workloads in JAX on the CPU, whose XLA compiles them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .numpy_programs import sample
from .ours.sampling import CHECKED_STEPS


def gemm(arrays, transpose_a, transpose_b):
    a, b = jnp.asarray(arrays["a"]), jnp.asarray(arrays["b"])
    product = jax.jit(lambda a, b: (a.T if transpose_a else a) @ (b.T if transpose_b else b))
    return lambda: product(a, b).block_until_ready(), lambda: sample(product(a, b))


def loss_of(parameters, x, y):
    *hidden, (w, b) = parameters
    for v, c in hidden:
        x = jax.nn.relu(x @ v + c)
    chosen = jnp.take_along_axis(jax.nn.log_softmax(x @ w + b), y[:, None], 1)
    return -chosen.mean()


@jax.jit
def advance(state, x, y):
    """One step of Adam."""
    parameters, means, squares, t = state
    loss, gradients = jax.value_and_grad(loss_of)(parameters, x, y)
    t = t + 1
    rate = 0.001 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
    means = jax.tree.map(lambda m, g: m + (g - m) * 0.1, means, gradients)
    squares = jax.tree.map(lambda v, g: v + (g * g - v) * 0.001, squares, gradients)
    parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7),
                              parameters, means, squares)
    return loss, (parameters, means, squares, t)


class Training:
    """A network under training: `step` returns the loss when it is there."""

    def __init__(self, arrays):
        count = len(arrays) // 2
        parameters = [(jnp.asarray(arrays[f"w{i}"]), jnp.asarray(arrays[f"b{i}"]))
                      for i in range(1, count)]
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        self.state = parameters, zeros, zeros, jnp.float32(0)
        self.x, self.y = jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"])

    def step(self):
        loss, self.state = advance(self.state, self.x, self.y)
        return loss.block_until_ready()


def mlp(arrays):
    training = Training(arrays)
    return training.step, lambda: [float(training.step()) for _ in range(CHECKED_STEPS)]


PROGRAMS = {"gemm": gemm, "mlp": mlp}
