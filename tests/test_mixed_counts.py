"""What a training step with Adam costs in mixed precision beside float32, counted."""
from functools import cache
from types import SimpleNamespace

import pytest

import tensorbrook as tf
from backends import on
from tensorbrook.backends.webgpu import target_info
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.backends.webgpu.compiled_program import Commands, Dispatch
from tensorbrook.backends.webgpu.command_builder import image_of
from tensorbrook.eager import plan_for, simplify_for
from tensorbrook.ir import KernelCall, Graph
from tensorbrook.keras import Model, Sequential, layers, losses, mixed_precision, optimizers


def dense(*widths):
    """Layers of so many outputs each, ReLU between them."""
    first, *inner, last = widths
    plain = {"kernel_initializer": "zeros"}
    return Sequential([tf.keras.Input((first,)), *(
        layers.Dense(n, activation="relu", **plain) for n in inner), layers.Dense(last, **plain)])


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
        self.attend = layers.MultiHeadAttention(heads, width // heads)
        self.up, self.down = layers.Dense(4 * width, activation="gelu"), layers.Dense(width)

    def call(self, x):
        n = self.norms[0](x)
        x = x + self.attend(n, n, use_causal_mask=True)
        return x + self.down(self.up(self.norms[1](x)))


class GPT(Model):
    """Two blocks of width 64, 64 words of 96."""

    def __init__(self):
        super().__init__()
        self.words, self.places = layers.Embedding(96, 64), layers.Embedding(64, 64)
        self.blocks = [Block(64, 4), Block(64, 4)]
        self.norm, self.out = layers.LayerNormalization(), layers.Dense(96)

    def call(self, words):
        x = self.words(words) + self.places(tf.range(64))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


def words(*shape):
    return tf.zeros(shape, tf.int32)


# A model, and a batch for it.
MODELS = {
    "mlp": (lambda: dense(784, 256, 128, 10), lambda: (tf.zeros((64, 784)), words(64))),
    "wide mlp": (lambda: dense(4096, 4096, 4096, 10),
                 lambda: (tf.zeros((256, 4096)), words(256))),
    "lenet": (lenet, lambda: (tf.zeros((64, 28, 28, 1)), words(64))),
    "gpt": (GPT, lambda: (words(4, 64), words(4, 64))),
}


def made(name: str, buffers: int, policy: str):
    """What a device with float16 that binds so many buffers carries out, and the plan of it."""
    device_info = DeviceInfo(f16=True, storage_buffers=buffers)
    device = SimpleNamespace(target=target_info(device_info))
    plan = plan_for(simplify_for(step_of(name, policy), device), device)
    return image_of(plan, device_info), plan


@cache
def step_of(name: str, policy: str) -> Graph:
    make, batch = MODELS[name]
    mixed_precision.set_global_policy(policy)
    try:
        with on("reference"):
            return traced(make(), policy, batch())
    finally:
        mixed_precision.set_global_policy("float32")


def traced(model, policy: str, batch) -> Graph:
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


# At most, by how many buffers a shader binds: dispatches in float32 and in mixed precision, and the
# mixed step's share of the float32 one's bytes and of its arena.
COSTS = {
    ("mlp", 8): (15, 19, 0.985, 0.86), ("wide mlp", 8): (21, 25, 0.98, 0.81),
    ("lenet", 8): (34, 40, 0.62, 0.73), ("gpt", 8): (119, 133, 0.75, 0.59),
    ("gpt", 16): (99, 111, 0.72, 0.59),
}


@pytest.mark.parametrize("name, buffers", COSTS)
def test_a_mixed_step_costs_less(name, buffers):
    (whole, _), (half, plan) = (made(name, buffers, policy)
                                for policy in ("float32", "mixed_float16"))
    most_whole, most, share, share_of_arena = COSTS[name, buffers]
    steps = [Commands.from_bytes(each.commands).steps for each in (whole, half)]
    assert all(isinstance(s, Dispatch) and len(s.bindings) <= buffers for s in steps[1])
    assert len(steps[0]) <= most_whole and len(steps[1]) <= most
    assert half.bytes_moved <= share * whole.bytes_moved
    assert half.arena_size <= share_of_arena * whole.arena_size
    casts = [s.kernel for s in plan.steps if all(e.prim.name == "cast" for e in s.kernel.eqns)]
    assert all(k.reads[0].spec.dtype is tf.int32 for k in casts), "a cast is a kernel of its own"
    products = [s.kernel for s in plan.steps if isinstance(s.kernel, KernelCall)]
    assert not any(v.spec.dtype is tf.float32 and v.spec.count >= 1 << 16
                   for k in products for v in k.writes if v not in plan.outputs)
