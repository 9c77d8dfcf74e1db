"""Dispatches, bytes and memory of a training step in mixed precision, relative to float32."""
from functools import cache
from types import SimpleNamespace

import pytest

import tensorbrook as tf
from backends import on
from tensorbrook.backends.webgpu import target_info
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.compiled_program import Commands, Dispatch
from tensorbrook.backends.webgpu.command_builder import compile_plan
from tensorbrook.eager import plan_for, simplify_for
from tensorbrook.ir import KernelCall, Graph
from tensorbrook.keras import Model, Sequential, layers, losses, mixed_precision, optimizers


def dense(*widths):
    """A multilayer perceptron with ReLU and layers of the given widths."""
    first, *inner, last = widths
    zeros = {"kernel_initializer": "zeros"}
    return Sequential([tf.keras.Input((first,)), *(
        layers.Dense(n, activation="relu", **zeros) for n in inner), layers.Dense(last, **zeros)])


def lenet():
    return Sequential([
        tf.keras.Input((28, 28, 1)), layers.Conv2D(6, 5, padding="same", activation="tanh"),
        layers.AveragePooling2D(2), layers.Conv2D(16, 5, activation="tanh"),
        layers.AveragePooling2D(2), layers.Flatten(), layers.Dense(120, activation="tanh"),
        layers.Dense(84, activation="tanh"), layers.Dense(10)])


class Block(layers.Layer):
    def __init__(self, width, heads):
        super().__init__()
        self.norms = layers.LayerNormalization(), layers.LayerNormalization()
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.up, self.down = layers.Dense(4 * width, activation="gelu"), layers.Dense(width)

    def call(self, x):
        normalized = self.norms[0](x)
        x = x + self.attention(normalized, normalized, use_causal_mask=True)
        return x + self.down(self.up(self.norms[1](x)))


class GPT(Model):
    """Two blocks of width 64, with a context of 64 tokens and a vocabulary of 96."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = layers.Embedding(96, 64), layers.Embedding(64, 64)
        self.blocks = [Block(64, 4), Block(64, 4)]
        self.norm, self.out = layers.LayerNormalization(), layers.Dense(96)

    def call(self, tokens):
        x = self.tokens(tokens) + self.positions(tf.range(64))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


def int_zeros(*shape):
    return tf.zeros(shape, tf.int32)


# name: (model, batch)
MODELS = {
    "mlp": (lambda: dense(784, 256, 128, 10), lambda: (tf.zeros((64, 784)), int_zeros(64))),
    "wide mlp": (lambda: dense(4096, 4096, 4096, 10),
                 lambda: (tf.zeros((256, 4096)), int_zeros(256))),
    "lenet": (lenet, lambda: (tf.zeros((64, 28, 28, 1)), int_zeros(64))),
    "gpt": (GPT, lambda: (int_zeros(4, 64), int_zeros(4, 64))),
}


def compile_step(name: str, buffers: int, policy: str):
    """(compiled program, plan) for a device with float16 and a limit on storage buffers."""
    device_info = DeviceInfo(f16=True, storage_buffers=buffers)
    device = SimpleNamespace(target=target_info(device_info))
    plan = plan_for(simplify_for(graph_of(name, policy), device), device)
    return compile_plan(plan, device_info), plan


@cache
def graph_of(name: str, policy: str) -> Graph:
    make, batch = MODELS[name]
    mixed_precision.set_global_policy(policy)
    try:
        with on("reference"):
            return trace_step(make(), policy, batch())
    finally:
        mixed_precision.set_global_policy("float32")


def trace_step(model, policy: str, batch) -> Graph:
    loss, optimizer = losses.SparseCategoricalCrossentropy(from_logits=True), optimizers.Adam()
    if policy == "mixed_float16":
        optimizer = optimizers.LossScaleOptimizer(optimizer)
    if not model.built:
        model(batch[0])

    def step(x, y):
        with tf.GradientTape() as tape:
            total = loss(y, model(x, training=True))
            scaled = optimizer.scale_loss(total)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(scaled, weights), weights))
        return total

    return tf.function(step).get_concrete_function(*batch).graph


# (model, storage buffers): upper bounds of the dispatches in float32 and in mixed precision, and of
# the bytes moved and the arena size of the mixed step relative to float32.
LIMITS = {
    ("mlp", 8): (15, 19, 0.985, 0.86), ("wide mlp", 8): (21, 25, 0.98, 0.81),
    ("lenet", 8): (34, 40, 0.62, 0.73), ("gpt", 8): (119, 133, 0.755, 0.61),
    ("gpt", 16): (99, 111, 0.72, 0.59),
}


@pytest.mark.parametrize("name, buffers", LIMITS)
def test_a_mixed_step_costs_less(name, buffers):
    (float32, _), (mixed, plan) = (compile_step(name, buffers, policy)
                                   for policy in ("float32", "mixed_float16"))
    max_float32, max_mixed, bytes_ratio, arena_ratio = LIMITS[name, buffers]
    float32_steps, mixed_steps = (
        Commands.from_bytes(each.commands).steps for each in (float32, mixed))
    assert all(isinstance(s, Dispatch) and len(s.bindings) <= buffers for s in mixed_steps)
    assert len(float32_steps) <= max_float32 and len(mixed_steps) <= max_mixed
    assert mixed.bytes_moved <= bytes_ratio * float32.bytes_moved
    assert mixed.arena_size <= arena_ratio * float32.arena_size
    casts = [s.kernel for s in plan.steps if all(e.prim.name == "cast" for e in s.kernel.eqns)]
    assert all(k.reads[0].spec.dtype is tf.int32 for k in casts), "a float cast is not fused"
    calls = [s.kernel for s in plan.steps if isinstance(s.kernel, KernelCall)]
    assert not any(v.spec.dtype is tf.float32 and v.spec.count >= 1 << 16
                   for k in calls for v in k.writes if v not in plan.outputs)
