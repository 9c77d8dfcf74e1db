"""The native workloads in JAX, compiled by XLA for the CPU."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from . import jax_networks
from .jax_training import cross_entropy, initial_state, training, update
from .numpy_programs import sample


def pure(f, *inputs):
    """A pure function; its check samples each result."""
    compiled = jax.jit(f)
    arrays = [jnp.asarray(x) for x in inputs]
    return (lambda: jax.block_until_ready(compiled(*arrays)),
            lambda: [each for out in jax.tree.leaves(compiled(*arrays)) for each in sample(out)])


def gemm(arrays, transpose_a, transpose_b):
    def product(a, b):
        return (a.mT if transpose_a else a) @ (b.mT if transpose_b else b)
    return pure(product, arrays["a"], arrays["b"])


OPERATIONS = {"add": jnp.add, "gelu": jax.nn.gelu, "softmax": jax.nn.softmax}


def elementwise(arrays, operation):
    return pure(OPERATIONS[operation], *arrays.values())


def cross_entropy_gradient(arrays):
    return pure(jax.value_and_grad(cross_entropy), arrays["logits"], arrays["labels"])


def adamw(arrays):
    g = jnp.asarray(arrays["g"])
    state = [initial_state(jnp.asarray(arrays["p"]))]

    def step():
        state[0] = update(state[0], g, 0.004)
        jax.block_until_ready(state[0])

    def check():
        step()
        step()
        return sample(state[0].parameters)
    return step, check


def dense(layers, x):
    *hidden, (w, b) = layers
    for v, c in hidden:
        x = jax.nn.relu(x @ v + c)
    return x @ w + b


def pairs(arrays):
    return [(jnp.asarray(arrays[f"w{i}"]), jnp.asarray(arrays[f"b{i}"]))
            for i in range(1, len(arrays) // 2)]


def mlp(arrays, checked_steps):
    def loss(layers, x, y):
        return cross_entropy(dense(layers, x), y)
    return training(loss, pairs(arrays), arrays["x"], arrays["y"], checked_steps)


def convolve(x, w, strides=1, padding="SAME", groups=1):
    return jax.lax.conv_general_dilated(
        x, w, (strides, strides), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups)


def lenet(arrays, checked_steps):
    def loss(layers, x, y):
        for w, b in layers[:2]:
            x = jax.nn.relu(convolve(x, w, padding="VALID") + b)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        return cross_entropy(dense(layers[2:], x.reshape(len(x), -1)), y)
    return training(loss, pairs(arrays), arrays["x"], arrays["y"], checked_steps)


PROGRAMS = {"gemm": gemm, "elementwise": elementwise, "cross_entropy": cross_entropy_gradient,
            "adamw": adamw, "mlp": mlp, "lenet": lenet, **jax_networks.PROGRAMS}
