"""A GPT (Radford et al., 2019) under training and a BERT (Devlin et al., 2018), of layers."""

import tensorbrook as tf

from .preset_weights import Given
from .correctness_samples import sample
from .training import trained


def attention(q, k, v, heads, causal):
    """Of (batch, words, width), each head its share of the width."""
    batch, words, width = q.shape
    q, k, v = (tf.reshape(x, (batch, words, heads, width // heads)) for x in (q, k, v))
    mixed = tf.keras.ops.dot_product_attention(q, k, v, is_causal=causal)
    return tf.reshape(mixed, (batch, words, width))


def gelu_by_tanh(x):
    return tf.nn.gelu(x, approximate=True)


class Block(tf.keras.layers.Layer):
    """Attention and an MLP, each after a norm and beside a way around."""

    def __init__(self, given, name, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = given.layer_norm(f"{name}.ln1"), given.layer_norm(f"{name}.ln2")
        self.qkv, self.out = given.dense(f"{name}.qkv"), given.dense(f"{name}.out")
        self.up, self.down = given.dense(f"{name}.up", gelu_by_tanh), given.dense(f"{name}.down")

    def call(self, x):
        q, k, v = tf.split(self.qkv(self.norm1(x)), 3, axis=-1)
        x = x + self.out(attention(q, k, v, self.heads, causal=True))
        return x + self.down(self.up(self.norm2(x)))


class GPT(tf.keras.Model):
    def __init__(self, given, depth, heads):
        super().__init__()
        self.embed, self.positions = given.embedding("embed"), given.embedding("positions")
        self.blocks = [Block(given, str(i), heads) for i in range(depth)]
        self.norm, self.head = given.layer_norm("ln"), given.dense("head")

    def call(self, words):
        x = self.embed(words) + self.positions(tf.range(words.shape[1])[None])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def gpt(arrays, flavour, checked_steps, depth, heads):
    optimizer = tf.keras.optimizers.AdamW(0.001, weight_decay=0.004)
    return trained(GPT(Given(arrays), depth, heads), optimizer, arrays, flavour, checked_steps)


class Encoder(tf.keras.layers.Layer):
    """Attention and an MLP, each before a norm of its sum with what came in."""

    def __init__(self, given, name, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out, self.down = (
            given.dense(f"{name}.{part}") for part in ("q", "k", "v", "out", "down"))
        self.up = given.dense(f"{name}.up", "gelu")
        self.norm1, self.norm2 = given.layer_norm(f"{name}.ln1"), given.layer_norm(f"{name}.ln2")

    def call(self, x):
        mixed = attention(self.q(x), self.k(x), self.v(x), self.heads, causal=False)
        x = self.norm1(x + self.out(mixed))
        return self.norm2(x + self.down(self.up(x)))


class BERT(tf.keras.Model):
    def __init__(self, given, depth, heads):
        super().__init__()
        self.embed, self.positions = given.embedding("embed"), given.embedding("positions")
        self.norm = given.layer_norm("ln")
        self.encoders = [Encoder(given, str(i), heads) for i in range(depth)]

    def call(self, words):
        x = self.norm(self.embed(words) + self.positions(tf.range(words.shape[1])[None]))
        for encoder in self.encoders:
            x = encoder(x)
        return x


def bert(arrays, flavour, depth, heads):
    model = BERT(Given(arrays), depth, heads)
    f = tf.function(lambda words: model(words, training=False))
    return f, (arrays["x"],), lambda: sample(f(arrays["x"]))
