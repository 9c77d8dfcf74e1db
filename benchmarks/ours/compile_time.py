"""Compile time of a training step by the depth of the model: one row per depth.

Each row builds a model, and measures the first call of its compiled training step: tracing,
differentiation, compilation and one run on a small batch. Run natively with
`python -m benchmarks.ours.compile_time`; `python -m benchmarks --only "compile time"` runs it in
the page.
"""
import time

import tensorbrook as tf

from .transformers import attention, gelu_by_tanh

layers = tf.keras.layers
DENSE_LAYERS, GPT_BLOCKS = (20, 40, 80, 160), (4, 8, 12, 24)
LAST_BATCH = "GPT, 12 blocks, another batch size"


def measure(dense_layers=DENSE_LAYERS, gpt_blocks=GPT_BLOCKS):
    """Milliseconds of the first step of each model; smaller models warm up the compiler."""
    first_step(dense_model(2), *dense_batch())
    first_step(GPT(1), *gpt_batch(8))
    times = {f"MLP, {n} layers": first_step(dense_model(n), *dense_batch()) for n in dense_layers}
    for n in gpt_blocks:
        model = GPT(n)
        times[f"GPT, {n} blocks"] = first_step(model, *gpt_batch(8))
        if n == 12:
            times[LAST_BATCH] = time_step(model, *gpt_batch(5))
    return times


def first_step(model, x, y):
    model(x)                                               # creates the weights
    model.compile(tf.keras.optimizers.AdamW(0.001),
                  tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return time_step(model, x, y)


def time_step(model, x, y):
    start = time.perf_counter()
    model.train_on_batch(x, y)
    return 1000 * (time.perf_counter() - start)


def dense_model(depth, width=64):
    hidden = [layers.Dense(width, activation="relu") for _ in range(depth)]
    return tf.keras.Sequential([*hidden, layers.Dense(10)])


def dense_batch():
    return tf.ones((32, 64)), tf.zeros((32,), tf.int32)


def gpt_batch(batch, tokens=32):
    return tf.zeros((batch, tokens), tf.int32), tf.zeros((batch, tokens), tf.int32)


class Block(layers.Layer):
    """Pre-norm Transformer block."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = layers.LayerNormalization(), layers.LayerNormalization()
        self.qkv, self.out = layers.Dense(3 * width), layers.Dense(width)
        self.up, self.down = layers.Dense(4 * width, gelu_by_tanh), layers.Dense(width)

    def call(self, x):
        q, k, v = tf.split(self.qkv(self.norm1(x)), 3, axis=-1)
        x = x + self.out(attention(q, k, v, self.heads, causal=True))
        return x + self.down(self.up(self.norm2(x)))


class GPT(tf.keras.Model):
    def __init__(self, depth, width=64, heads=4, vocabulary=64, tokens=32):
        super().__init__()
        self.embed, self.positions = (layers.Embedding(n, width) for n in (vocabulary, tokens))
        self.blocks = [Block(width, heads) for _ in range(depth)]
        self.norm, self.head = layers.LayerNormalization(), layers.Dense(vocabulary)

    def call(self, tokens):
        x = self.embed(tokens) + self.positions(tf.range(tokens.shape[1])[None])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


if __name__ == "__main__":
    for name, ms in measure().items():
        print(f"{name:40} {ms:8.0f} ms", flush=True)
