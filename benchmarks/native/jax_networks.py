"""ResNet-20, an LSTM, a GPT, MobileNetV2 and a BERT in JAX: functions of named parameters."""

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


def unit(p, name, x, strides=1, trained=False):
    """A convolution and its batch norm, of the batch or of what training has measured."""
    w = p[f"{name}.w"]
    depthwise = w.shape[3] == 1 and w.shape[2] > 1
    x = jax.lax.conv_general_dilated(
        x, w.reshape(*w.shape[:2], 1, -1) if depthwise else w, (strides, strides), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=w.shape[2] if depthwise else 1)
    if trained: return normalized(p, name, x, p[f"{name}.mean"], p[f"{name}.variance"])
    return normalized(p, name, x, x.mean((0, 1, 2)), x.var((0, 1, 2)))


def residual(p, name, x):
    changes = f"{name}.short.w" in p
    strides = 2 if changes else 1
    beside = unit(p, f"{name}.short", x, strides) if changes else x
    h = jax.nn.relu(unit(p, f"{name}.a", x, strides))
    return jax.nn.relu(unit(p, f"{name}.b", h) + beside)


def resnet(arrays, checked_steps):
    depth = sum(name.endswith(".a.w") for name in arrays)

    def loss(p, x, y):
        x = jax.nn.relu(unit(p, "stem", x))
        for i in range(depth):
            x = residual(p, str(i), x)
        return cross_entropy(dense(p, "head", x.mean((1, 2))), y)
    return training(loss, parameters(arrays), arrays["x"], arrays["y"], checked_steps)


def inverted(p, name, x, strides):
    h = jax.nn.relu6(unit(p, f"{name}.expand", x, 1, True)) if f"{name}.expand.w" in p else x
    h = jax.nn.relu6(unit(p, f"{name}.depthwise", h, strides, True))
    h = unit(p, f"{name}.project", h, 1, True)
    return h + x if h.shape == x.shape else h


def inference(f, arrays):
    p, x, compiled = parameters(arrays), jnp.asarray(arrays["x"]), jax.jit(f)
    return lambda: compiled(p, x).block_until_ready(), lambda: sample(compiled(p, x))


def mobilenet(arrays, strides):
    def f(p, x):
        x = jax.nn.relu6(unit(p, "stem", x, 2, True))
        for i, stride in enumerate(strides):
            x = inverted(p, str(i), x, stride)
        return dense(p, "head", jax.nn.relu6(unit(p, "last", x, 1, True)).mean((1, 2)))
    return inference(f, arrays)


def lstm(arrays, checked_steps):
    def loss(p, x, y):
        inputs = (x @ p["kernel"] + p["bias"]).swapaxes(0, 1)
        zeros = jnp.zeros((len(x), p["recurrent"].shape[0]))

        def advance(state, gates):
            h, cell = state
            enter, forget, fresh, leave = jnp.split(gates + h @ p["recurrent"], 4, -1)
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(fresh)
            return (jax.nn.sigmoid(leave) * jnp.tanh(cell), cell), None
        (h, _), _ = jax.lax.scan(advance, (zeros, zeros), inputs)
        return cross_entropy(dense(p, "head", h), y)
    return training(loss, parameters(arrays), arrays["x"], arrays["y"], checked_steps)


def attention(q, k, v, heads, causal):
    """Of (batch, words, width), each head its share of the width."""
    parted = (x.reshape(*x.shape[:2], heads, -1) for x in (q, k, v))
    return jax.nn.dot_product_attention(*parted, is_causal=causal).reshape(q.shape)


def block(p, name, x, heads):
    q, k, v = jnp.split(dense(p, f"{name}.qkv", layer_norm(p, f"{name}.ln1", x)), 3, -1)
    x = x + dense(p, f"{name}.out", attention(q, k, v, heads, True))
    wide = jax.nn.gelu(dense(p, f"{name}.up", layer_norm(p, f"{name}.ln2", x)))
    return x + dense(p, f"{name}.down", wide)


def gpt(arrays, checked_steps, depth, heads):
    def loss(p, x, y):
        x = p["embed"][x] + p["positions"]
        for i in range(depth):
            x = block(p, str(i), x, heads)
        return cross_entropy(dense(p, "head", layer_norm(p, "ln", x)), y)
    return training(loss, parameters(arrays), arrays["x"], arrays["y"], checked_steps, 0.004)


def encoder(p, name, x, heads):
    q, k, v = (dense(p, f"{name}.{part}", x) for part in "qkv")
    x = layer_norm(p, f"{name}.ln1", x + dense(p, f"{name}.out", attention(q, k, v, heads, False)))
    wide = jax.nn.gelu(dense(p, f"{name}.up", x), approximate=False)
    return layer_norm(p, f"{name}.ln2", x + dense(p, f"{name}.down", wide))


def bert(arrays, depth, heads):
    def f(p, x):
        x = layer_norm(p, "ln", p["embed"][x] + p["positions"])
        for i in range(depth):
            x = encoder(p, str(i), x, heads)
        return x
    return inference(f, arrays)


PROGRAMS = {"resnet": resnet, "mobilenet": mobilenet, "lstm": lstm, "gpt": gpt, "bert": bert}
