"""Cost model: which programs are estimated to be faster on a GPU; without measuring time."""
import pytest

import tensorbrook as tf
from tensorbrook import keras
from tensorbrook.compiler import optimize
from tensorbrook.compiler.cost_model import CPU_THREAD, GPU, prefers_gpu, estimate
from tensorbrook.ir import Graph
from tensorbrook.keras import layers


def training_step(model, x: tf.Tensor, y: tf.Tensor) -> Graph:
    """A training step with Adam."""
    model(x[:1])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam()
    weights = model.trainable_variables
    optimizer.build(weights)

    def step(x, y):
        with tf.GradientTape() as tape:
            out = loss(y, model(x, training=True))
        optimizer.apply_gradients(zip(tape.gradient(out, weights), weights))
        return out

    return optimize(tf.function(step).get_concrete_function(x, y).graph)


def int_zeros(*shape: int) -> tf.Tensor:
    return tf.zeros(shape, dtype=tf.int32)


def mlp(batch: int) -> Graph:
    model = keras.Sequential([layers.Dense(256, "relu"), layers.Dense(128, "relu"),
                              layers.Dense(10)])
    return training_step(model, tf.zeros((batch, 784)), int_zeros(batch))


def digits() -> Graph:
    model = keras.Sequential([
        layers.Conv2D(32, 3, activation="relu"), layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(10)])
    return training_step(model, tf.zeros((64, 8, 8, 1)), int_zeros(64))


class Residual(layers.Layer):
    """Two convolutions with a shortcut."""

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
    return training_step(model, tf.zeros((batch, 32, 32, 3)), int_zeros(batch))


class Block(layers.Layer):
    """Attention and an MLP, each with a preceding normalization and a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = [layers.LayerNormalization() for _ in range(2)]
        self.attention = layers.MultiHeadAttention(width // 64, 64)
        self.up, self.down = layers.Dense(4 * width, "gelu"), layers.Dense(width)

    def call(self, x):
        normalized = self.norms[0](x)
        x = x + self.attention(normalized, normalized, use_causal_mask=True)
        return x + self.down(self.up(self.norms[1](x)))


def gpt(blocks: int, width: int, context: int, batch: int) -> Graph:
    model = keras.Sequential([layers.Embedding(65, width), *(Block(width) for _ in range(blocks)),
                              layers.LayerNormalization(), layers.Dense(65)])
    return training_step(model, int_zeros(batch, context), int_zeros(batch, context))


def lstm() -> Graph:
    model = keras.Sequential([layers.LSTM(128), layers.Dense(10)])
    return training_step(model, tf.zeros((32, 64, 32)), int_zeros(32))


def graph_of(f, *shape: int) -> Graph:
    return optimize(tf.function(f).get_concrete_function(tf.zeros(shape)).graph)


# name: (graph, whether the GPU is preferred to 2 CPU threads, and to 8)
TABLE = {
    "MLP, batch 8": (lambda: mlp(8), False, False),
    "MLP, batch 128": (lambda: mlp(128), False, False),
    "MLP, batch 4096": (lambda: mlp(4096), True, True),
    "digits CNN, batch 64": (digits, False, False),
    "ResNet-20, batch 128": (lambda: resnet20(128), True, True),
    "GPT 6 x 384, 256 tokens, batch 32": (lambda: gpt(6, 384, 256, 32), True, True),
    "LSTM of 64 steps": (lstm, False, False),
    "matmul of 1024 x 1024": (lambda: graph_of(lambda x: x @ x, 1024, 1024), True, True),
    "sum of 4 M elements": (lambda: graph_of(lambda x: x + x, 2048, 2048), False, False),
    "identity": (lambda: graph_of(lambda x: x, 1), False, False),
}


@pytest.mark.parametrize("name", TABLE)
def test_which_programs_prefer_a_gpu(name):
    make_graph, *expected = TABLE[name]
    graph = make_graph()
    assert [prefers_gpu(graph, threads) for threads in (2, 8)] == expected


def test_work_of_a_matmul_with_its_epilogue():
    work = estimate(graph_of(lambda x: tf.nn.relu(x @ x), 64, 64))
    size = 4 * 64 * 64
    assert (work.operations, work.bytes) == (2 * 64 ** 3 + 64 * 64, 3 * size + 2 * size)
    assert work.kernels == 2


def test_a_scan_multiplies_by_its_iterations():
    once = estimate(graph_of(lambda x: x[0] @ x[0], 1, 32, 32))
    loop = estimate(graph_of(lambda x: tf.scan(lambda a, b: a @ b, x, x[0]), 50, 32, 32))
    assert loop.operations >= 50 * 2 * 32 ** 3 and loop.kernels >= 50 > once.kernels


def test_threads_divide_arithmetic_but_not_memory_traffic():
    matmul, add = (estimate(graph_of(f, 512, 512)) for f in (lambda x: x @ x, lambda x: x + 1.0))
    assert matmul.seconds(CPU_THREAD, 8) < matmul.seconds(CPU_THREAD, 1) / 4
    assert add.seconds(CPU_THREAD, 8) == add.seconds(CPU_THREAD, 2)
    assert add.seconds(GPU) > GPU.run + GPU.kernel
