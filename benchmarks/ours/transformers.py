"""A GPT to train (Radford et al., 2019) and a BERT for inference (Devlin et al., 2018)."""

import tensorbrook as tf

from .correctness_samples import sample
from .preset_weights import PresetLayers
from .training import training_step


def attention(q, k, v, heads, causal):
    """Multi-head attention of (batch, tokens, width) arrays; a head has width / heads columns."""
    batch, tokens, width = q.shape
    q, k, v = (tf.reshape(x, (batch, tokens, heads, width // heads)) for x in (q, k, v))
    context = tf.keras.ops.dot_product_attention(q, k, v, is_causal=causal)
    return tf.reshape(context, (batch, tokens, width))


def gelu_by_tanh(x):
    return tf.nn.gelu(x, approximate=True)


class Block(tf.keras.layers.Layer):
    """Pre-norm Transformer block: attention and an MLP, each with a norm before and a residual."""

    def __init__(self, preset, name, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = preset.layer_norm(f"{name}.ln1"), preset.layer_norm(f"{name}.ln2")
        self.qkv, self.out = preset.dense(f"{name}.qkv"), preset.dense(f"{name}.out")
        self.up, self.down = preset.dense(f"{name}.up", gelu_by_tanh), preset.dense(f"{name}.down")

    def call(self, x):
        q, k, v = tf.split(self.qkv(self.norm1(x)), 3, axis=-1)
        x = x + self.out(attention(q, k, v, self.heads, causal=True))
        return x + self.down(self.up(self.norm2(x)))


class GPT(tf.keras.Model):
    def __init__(self, preset, depth, heads):
        super().__init__()
        self.embed, self.positions = preset.embedding("embed"), preset.embedding("positions")
        self.blocks = [Block(preset, str(i), heads) for i in range(depth)]
        self.norm, self.head = preset.layer_norm("ln"), preset.dense("head")

    def call(self, tokens):
        x = self.embed(tokens) + self.positions(tf.range(tokens.shape[1])[None])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def gpt(arrays, api, checked_steps, depth, heads):
    model = GPT(PresetLayers(arrays), depth, heads)
    optimizer = tf.keras.optimizers.AdamW(0.001, weight_decay=0.004)
    return training_step(model, optimizer, arrays, api, checked_steps)


class Encoder(tf.keras.layers.Layer):
    """Post-norm Transformer block: attention and an MLP, each with a residual, then a norm."""

    def __init__(self, preset, name, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out, self.down = (
            preset.dense(f"{name}.{layer}") for layer in ("q", "k", "v", "out", "down"))
        self.up = preset.dense(f"{name}.up", "gelu")
        self.norm1, self.norm2 = preset.layer_norm(f"{name}.ln1"), preset.layer_norm(f"{name}.ln2")

    def call(self, x):
        context = attention(self.q(x), self.k(x), self.v(x), self.heads, causal=False)
        x = self.norm1(x + self.out(context))
        return self.norm2(x + self.down(self.up(x)))


class BERT(tf.keras.Model):
    def __init__(self, preset, depth, heads):
        super().__init__()
        self.embed, self.positions = preset.embedding("embed"), preset.embedding("positions")
        self.norm = preset.layer_norm("ln")
        self.encoders = [Encoder(preset, str(i), heads) for i in range(depth)]

    def call(self, tokens):
        x = self.norm(self.embed(tokens) + self.positions(tf.range(tokens.shape[1])[None]))
        for encoder in self.encoders:
            x = encoder(x)
        return x


def bert(arrays, api, depth, heads):
    model = BERT(PresetLayers(arrays), depth, heads)
    f = tf.function(lambda tokens: model(tokens, training=False))
    return f, (arrays["x"],), lambda: sample(f(arrays["x"]))
