"""ResNet-20, LSTM, GPT, MobileNetV2 and BERT in JAX, as functions of named parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .jax_training import cross_entropy, training
from .numpy_programs import sample

EPSILON = 1e-5


def parameters(arrays):
    return {name: jnp.asarray(array) for name, array in arrays.items() if name not in ("x", "y")}


def dense(p, name, x):
    return x @ p[f"{name}.w"] + p[f"{name}.b"]


def normalized(p, name, x, mean, variance):
    factor = jax.lax.rsqrt(variance + EPSILON) * p[f"{name}.gamma"]
    return (x - mean) * factor + p[f"{name}.beta"]


def layer_norm(p, name, x):
    return normalized(p, name, x, x.mean(-1, keepdims=True), x.var(-1, keepdims=True))


def conv_batch_norm(p, name, x, strides=1, use_moving=False):
    """A convolution and its batch norm, with the batch's statistics or the moving ones."""
    w = p[f"{name}.w"]
    depthwise = w.shape[3] == 1 and w.shape[2] > 1
    x = jax.lax.conv_general_dilated(
        x, w.reshape(*w.shape[:2], 1, -1) if depthwise else w, (strides, strides), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=w.shape[2] if depthwise else 1)
    if use_moving: return normalized(p, name, x, p[f"{name}.mean"], p[f"{name}.variance"])
    return normalized(p, name, x, x.mean((0, 1, 2)), x.var((0, 1, 2)))


def residual(p, name, x):
    changes_width = f"{name}.short.w" in p
    strides = 2 if changes_width else 1
    shortcut = conv_batch_norm(p, f"{name}.short", x, strides) if changes_width else x
    h = jax.nn.relu(conv_batch_norm(p, f"{name}.a", x, strides))
    return jax.nn.relu(conv_batch_norm(p, f"{name}.b", h) + shortcut)


def resnet(arrays, checked_steps):
    depth = sum(name.endswith(".a.w") for name in arrays)

    def loss(p, x, y):
        x = jax.nn.relu(conv_batch_norm(p, "stem", x))
        for i in range(depth):
            x = residual(p, str(i), x)
        return cross_entropy(dense(p, "head", x.mean((1, 2))), y)
    return training(loss, parameters(arrays), arrays["x"], arrays["y"], checked_steps)


def inverted_residual(p, name, x, strides):
    h = x
    if f"{name}.expand.w" in p:
        h = jax.nn.relu6(conv_batch_norm(p, f"{name}.expand", x, 1, True))
    h = jax.nn.relu6(conv_batch_norm(p, f"{name}.depthwise", h, strides, True))
    h = conv_batch_norm(p, f"{name}.project", h, 1, True)
    return h + x if h.shape == x.shape else h


def inference(f, arrays):
    p, x, compiled = parameters(arrays), jnp.asarray(arrays["x"]), jax.jit(f)
    return lambda: compiled(p, x).block_until_ready(), lambda: sample(compiled(p, x))


def mobilenet(arrays, strides):
    def f(p, x):
        x = jax.nn.relu6(conv_batch_norm(p, "stem", x, 2, True))
        for i, stride in enumerate(strides):
            x = inverted_residual(p, str(i), x, stride)
        return dense(p, "head", jax.nn.relu6(conv_batch_norm(p, "last", x, 1, True)).mean((1, 2)))
    return inference(f, arrays)


def lstm(arrays, checked_steps):
    def loss(p, x, y):
        inputs = (x @ p["kernel"] + p["bias"]).swapaxes(0, 1)
        zeros = jnp.zeros((len(x), p["recurrent"].shape[0]))

        def advance(state, gates):
            h, cell = state
            i, f, c, o = jnp.split(gates + h @ p["recurrent"], 4, -1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(c)
            return (jax.nn.sigmoid(o) * jnp.tanh(cell), cell), None
        (h, _), _ = jax.lax.scan(advance, (zeros, zeros), inputs)
        return cross_entropy(dense(p, "head", h), y)
    return training(loss, parameters(arrays), arrays["x"], arrays["y"], checked_steps)


def attention(q, k, v, heads, causal):
    """Multi-head attention of (batch, tokens, width) arrays; a head has width / heads columns."""
    per_head = (x.reshape(*x.shape[:2], heads, -1) for x in (q, k, v))
    return jax.nn.dot_product_attention(*per_head, is_causal=causal).reshape(q.shape)


def block(p, name, x, heads):
    q, k, v = jnp.split(dense(p, f"{name}.qkv", layer_norm(p, f"{name}.ln1", x)), 3, -1)
    x = x + dense(p, f"{name}.out", attention(q, k, v, heads, True))
    hidden = jax.nn.gelu(dense(p, f"{name}.up", layer_norm(p, f"{name}.ln2", x)))
    return x + dense(p, f"{name}.down", hidden)


def gpt(arrays, checked_steps, depth, heads):
    def loss(p, x, y):
        x = p["embed"][x] + p["positions"]
        for i in range(depth):
            x = block(p, str(i), x, heads)
        return cross_entropy(dense(p, "head", layer_norm(p, "ln", x)), y)
    return training(loss, parameters(arrays), arrays["x"], arrays["y"], checked_steps, 0.004)


def encoder(p, name, x, heads):
    q, k, v = (dense(p, f"{name}.{layer}", x) for layer in "qkv")
    x = layer_norm(p, f"{name}.ln1", x + dense(p, f"{name}.out", attention(q, k, v, heads, False)))
    hidden = jax.nn.gelu(dense(p, f"{name}.up", x), approximate=False)
    return layer_norm(p, f"{name}.ln2", x + dense(p, f"{name}.down", hidden))


def bert(arrays, depth, heads):
    def f(p, x):
        x = layer_norm(p, "ln", p["embed"][x] + p["positions"])
        for i in range(depth):
            x = encoder(p, str(i), x, heads)
        return x
    return inference(f, arrays)


PROGRAMS = {"resnet": resnet, "mobilenet": mobilenet, "lstm": lstm, "gpt": gpt, "bert": bert}
