"""Which programs are large enough for a GPU, by the estimate: no clock takes part."""
import pytest

import tensorbrook as tf
from tensorbrook import keras
from tensorbrook.compiler import simplify
from tensorbrook.compiler.cost_model import CPU_THREAD, GPU, prefers_gpu, estimate
from tensorbrook.ir import Graph
from tensorbrook.keras import layers


def step(model, x: tf.Tensor, y: tf.Tensor) -> Graph:
    """A training step with Adam."""
    model(x[:1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam()
    weights = model.trainable_variables
    optimizer.build(weights)

    def learn(x, y):
        with tf.GradientTape() as tape:
            out = loss(y, model(x, training=True))
        optimizer.apply_gradients(zip(tape.gradient(out, weights), weights))
        return out

    return simplify(tf.function(learn).get_concrete_function(x, y).graph)


def classes(*shape: int) -> tf.Tensor:
    return tf.zeros(shape, dtype=tf.int32)


def mlp(batch: int) -> Graph:
    model = keras.Sequential([layers.Dense(256, "relu"), layers.Dense(128, "relu"),
                              layers.Dense(10)])
    return step(model, tf.zeros((batch, 784)), classes(batch))


def digits() -> Graph:
    model = keras.Sequential([
        layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10)])
    return step(model, tf.zeros((64, 8, 8, 1)), classes(64))


class Residual(layers.Layer):
    """Two convolutions, and a way around them."""

    def __init__(self, width: int, strides: int):
        super().__init__()
        self.convolutions = [layers.Conv2D(width, 3, n, "same", use_bias=False)
                             for n in (strides, 1)]
        self.norms = [layers.BatchNormalization() for _ in range(2)]
        self.short = layers.Conv2D(width, 1, strides) if strides > 1 else None

    def call(self, x):
        out = tf.nn.relu(self.norms[0](self.convolutions[0](x)))
        out = self.norms[1](self.convolutions[1](out))
        return tf.nn.relu(out + (x if self.short is None else self.short(x)))


def resnet20(batch: int) -> Graph:
    blocks = [Residual(width, 2 if width > 16 and not n else 1)
              for width in (16, 32, 64) for n in range(3)]
    model = keras.Sequential([layers.Conv2D(16, 3, padding="same"), *blocks,
                              layers.GlobalAveragePooling2D(), layers.Dense(10)])
    return step(model, tf.zeros((batch, 32, 32, 3)), classes(batch))


class Block(layers.Layer):
    """Attention and an MLP, each after a norm and beside a way around."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = [layers.LayerNormalization() for _ in range(2)]
        self.attention = layers.MultiHeadAttention(width // 64, 64)
        self.up, self.down = layers.Dense(4 * width, "gelu"), layers.Dense(width)

    def call(self, x):
        seen = self.norms[0](x)
        x = x + self.attention(seen, seen, use_causal_mask=True)
        return x + self.down(self.up(self.norms[1](x)))


def gpt(blocks: int, width: int, context: int, batch: int) -> Graph:
    model = keras.Sequential([layers.Embedding(65, width), *(Block(width) for _ in range(blocks)),
                              layers.LayerNormalization(), layers.Dense(65)])
    return step(model, classes(batch, context), classes(batch, context))


def lstm() -> Graph:
    model = keras.Sequential([layers.LSTM(128), layers.Dense(10)])
    return step(model, tf.zeros((32, 64, 32)), classes(32))


def map_of(f, *shape: int) -> Graph:
    return simplify(tf.function(f).get_concrete_function(tf.zeros(shape)).graph)


# The program, and whether it goes to a GPU from a CPU with 2 threads and from one with 8.
TABLE = {
    "MLP, batch 8": (lambda: mlp(8), False, False),
    "MLP, batch 128": (lambda: mlp(128), False, False),
    "MLP, batch 4096": (lambda: mlp(4096), True, True),
    "digits CNN, batch 64": (digits, False, False),
    "ResNet-20, batch 128": (lambda: resnet20(128), True, True),
    "GPT 6 x 384, 256 tokens, batch 32": (lambda: gpt(6, 384, 256, 32), True, True),
    "LSTM of 64 steps": (lstm, False, False),
    "product of 1024": (lambda: map_of(lambda x: x @ x, 1024, 1024), True, True),
    "sum of 4 M elements": (lambda: map_of(lambda x: x + x, 2048, 2048), False, False),
    "nothing": (lambda: map_of(lambda x: x, 1), False, False),
}


@pytest.mark.parametrize("name", TABLE)
def test_who_goes_to_a_gpu(name):
    graph, of_two, of_eight = TABLE[name][0](), *TABLE[name][1:]
    assert [prefers_gpu(graph, threads) for threads in (2, 8)] == [of_two, of_eight]


def test_work_of_a_product_and_what_follows_it():
    found = estimate(map_of(lambda x: tf.nn.relu(x @ x), 64, 64))
    size = 4 * 64 * 64
    assert (found.operations, found.bytes) == (2 * 64 ** 3 + 64 * 64, 3 * size + 2 * size)
    assert found.kernels == 2


def test_a_loop_counts_its_turns():
    once = estimate(map_of(lambda x: x[0] @ x[0], 1, 32, 32))
    loop = estimate(map_of(lambda x: tf.scan(lambda a, b: a @ b, x, x[0]), 50, 32, 32))
    assert loop.operations >= 50 * 2 * 32 ** 3 and loop.kernels >= 50 > once.kernels


def test_threads_share_arithmetic_and_not_memory():
    products, copies = (estimate(map_of(f, 512, 512)) for f in (lambda x: x @ x, lambda x: x + 1.0))
    assert products.seconds(CPU_THREAD, 8) < products.seconds(CPU_THREAD, 1) / 4
    assert copies.seconds(CPU_THREAD, 8) == copies.seconds(CPU_THREAD, 2)
    assert copies.seconds(GPU) > GPU.run + GPU.kernel
