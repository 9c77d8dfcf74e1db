"""Keras attention against JAX: values, gradients, masks, weights and errors."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tensorbrook as tf
from tensorbrook.keras.layers import Attention, MultiHeadAttention
from tensorbrook.keras.ops import dot_product_attention

BATCH, T_Q, T_K, HEADS, D = 2, 7, 9, 4, 8


def floats(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype="f4")


def random_mask(*shape, seed=0):
    """A random mask with at least one True along the last axis."""
    mask = np.random.default_rng([seed, *shape]).random(shape) < 0.6
    mask[..., 0] = True
    return mask


QKV = floats(BATCH, T_Q, HEADS, D), floats(BATCH, T_K, HEADS, D, seed=1), \
    floats(BATCH, T_K, HEADS, D, seed=2)
OPTIONS = {
    "plain": {}, "scale": {"scale": 0.2}, "causal": {"is_causal": True},
    "mask": {"mask": random_mask(BATCH, HEADS, T_Q, T_K)},
    "mask over keys": {"mask": random_mask(BATCH, 1, 1, T_K)},
    "mask for all heads": {"mask": random_mask(T_Q, T_K), "is_causal": True},
    "bias": {"bias": floats(1, HEADS, T_Q, T_K, seed=3)},
    "bias, mask, causal": {"bias": floats(HEADS, 1, T_K, seed=4), "is_causal": True,
                           "mask": random_mask(BATCH, 1, T_Q, T_K)},
}


def jax_attention(q, k, v, bias=None, mask=None, **options):
    bias, mask = (None if x is None else jnp.reshape(x, (1,) * (4 - x.ndim) + x.shape)
                  for x in (bias, mask))
    return jax.nn.dot_product_attention(q, k, v, bias, mask, **options)


@functools.cache
def jax_attention_step(name: str):
    """The output, and the gradients of the sum of its cubes, by JAX."""
    def step(*xs):
        out, vjp = jax.vjp(lambda *xs: jax_attention(*xs, **OPTIONS[name]), *xs)
        return out, *vjp(3 * out * out)

    return jax.jit(step)(*QKV)


@pytest.mark.slow(on="webgpu")
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("flash", [None, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("name", OPTIONS)
def test_dot_product_attention(name, flash, compiled, backend):
    options = OPTIONS[name]

    def step(*xs):
        with tf.GradientTape() as tape:
            tape.watch(xs)
            out = dot_product_attention(*xs, **options, flash_attention=flash)
            total = tf.reduce_sum(out * out * out)
        return out, *tape.gradient(total, xs)

    actual = (tf.function(step) if compiled else step)(*map(tf.constant, QKV))
    for a, e in zip(actual, jax_attention_step(name), strict=True):
        np.testing.assert_allclose(a, e, atol=2e-5 * np.abs(e).max())


def test_grouped_query_attention():
    k, v = QKV[1][:, :, :2], QKV[2][:, :, :2]
    actual = dot_product_attention(QKV[0], k, v)
    np.testing.assert_allclose(actual, jax.nn.dot_product_attention(QKV[0], k, v), atol=1e-5)


def test_attention_logits_soft_cap():
    scores = np.tanh(np.einsum("bihd,bjhd->bhij", *QKV[:2]) / D ** 0.5 / 3) * 3
    expected = np.einsum("bhij,bjhd->bihd", jax.nn.softmax(scores), QKV[2])
    actual = dot_product_attention(*QKV, attn_logits_soft_cap=3.0)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("flash", [None, False])
@pytest.mark.parametrize("causal", [False, True])
def test_a_fully_masked_query_has_uniform_weights(causal, flash, backend):
    mask = np.ones((T_Q, T_K), bool)
    mask[3] = False
    xs = list(map(tf.constant, QKV))
    with tf.GradientTape() as tape:
        tape.watch(xs)
        out = dot_product_attention(*xs, mask=mask, is_causal=causal, flash_attention=flash)
        total = tf.reduce_sum(out[:, 3])
    visible = 4 if causal else T_K
    np.testing.assert_allclose(out[:, 3], QKV[2][:, :visible].mean(1), atol=1e-6)
    dq, dk, dv = tape.gradient(total, xs)
    assert not np.asarray(dq).any() and not np.asarray(dk).any()
    expected = np.where(np.arange(T_K) < visible, 1 / visible, 0)[None, :, None, None]
    np.testing.assert_allclose(dv, np.broadcast_to(expected, dv.shape), atol=1e-6)


def test_no_keys_give_zeros(backend):
    out = dot_product_attention(tf.ones((1, 3, 2, 4)), tf.ones((1, 0, 2, 4)), tf.ones((1, 0, 2, 5)))
    assert out.shape == (1, 3, 2, 5) and not np.asarray(out).any()


# ── layers ────────────────────────────────────────────────────────────────────────────────────


def jax_multi_head(weights, query, value, key, mask, causal):
    """MultiHeadAttention in JAX, with the weights in the order of Keras."""
    wq, bq, wk, bk, wv, bv, wo, bo = weights
    q, k, v = (jnp.einsum("btf,fhd->bthd", x, w) + b
               for x, w, b in ((query, wq, bq), (key, wk, bk), (value, wv, bv)))
    scores = jnp.einsum("bihd,bjhd->bhij", q, k) / wq.shape[2] ** 0.5
    scores = jnp.where(mask, scores, -1e30)
    if causal:
        scores = jnp.where(np.tri(*scores.shape[2:], dtype=bool), scores, -jnp.inf)
    out = jnp.einsum("bhij,bjhd->bihd", jax.nn.softmax(scores), v)
    return jnp.einsum("bihd,hdf->bif", out, wo) + bo


@functools.partial(jax.jit, static_argnames="causal")
def jax_multi_head_step(weights, query, value, key, mask, causal):
    """The output, and the gradients of the sum of its squares with respect to the weights."""
    out, vjp = jax.vjp(lambda w: jax_multi_head(w, query, value, key, mask, causal), weights)
    return out, *vjp(2 * out)[0]


@pytest.mark.slow(on="webgpu")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention(masked, causal, backend):
    tf.random.set_seed(3)
    layer = MultiHeadAttention(3, 5, value_dim=4, bias_initializer="uniform")
    query, value, key = floats(2, 6, 10), floats(2, 8, 11, seed=1), floats(2, 8, 12, seed=2)
    mask = random_mask(2, 6, 8) if masked else None

    @tf.function
    def step(query):
        with tf.GradientTape() as tape:
            out = layer(query, value, key, attention_mask=mask, use_causal_mask=causal)
            total = tf.reduce_sum(out * out)
        return out, *tape.gradient(total, layer.trainable_weights)

    actual = step(query)
    weights = [np.asarray(w) for w in layer.weights]
    assert [w.shape for w in weights] == [(10, 3, 5), (3, 5), (12, 3, 5), (3, 5), (11, 3, 4),
                                          (3, 4), (3, 4, 10), (10,)]
    assert [w.name for w in layer.weights] == ["kernel", "bias"] * 4
    head_mask = np.ones((1, 1, 1, 1), bool) if mask is None else mask[:, None]
    expected = jax_multi_head_step(weights, query, value, key, head_mask, causal)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, atol=3e-5 * max(1, np.abs(e).max()))


def test_multi_head_attention_with_token_masks_returns_scores():
    layer = MultiHeadAttention(2, 4)
    x, tokens = floats(2, 5, 6), random_mask(2, 5, seed=4)
    masked = layer(x, x, query_mask=tokens, value_mask=tokens)
    out, scores = layer(x, x, query_mask=tokens, value_mask=tokens, return_attention_scores=True)
    np.testing.assert_allclose(out, masked, atol=1e-6)
    assert scores.shape == (2, 2, 5, 5)
    np.testing.assert_allclose(np.asarray(scores).sum(-1), np.ones((2, 2, 5)), atol=1e-6)
    assert not np.asarray(scores)[~np.broadcast_to(
        (tokens[:, None, None] | ~tokens[:, None, :, None]), (2, 2, 5, 5))].any()
    combined = layer(x, x, attention_mask=tokens[:, :, None] & tokens[:, None, :])
    np.testing.assert_allclose(combined, masked, atol=1e-6)


def test_dropout_of_multi_head_attention_is_for_training():
    layer = MultiHeadAttention(2, 4, dropout=0.5, seed=1)
    x = floats(2, 5, 6)
    first, second = layer(x, x), layer(x, x)
    np.testing.assert_array_equal(first, second)
    assert np.abs(np.asarray(layer(x, x, training=True)) - np.asarray(first)).max() > 1e-3


def test_multi_head_attention_is_restored_from_its_config():
    layer = MultiHeadAttention(2, 4, value_dim=3, use_bias=False, output_shape=7)
    x = floats(2, 5, 6)
    assert layer(x, x).shape == (2, 5, 7) == layer.compute_output_shape(x.shape)
    other = MultiHeadAttention.from_config(layer.get_config())
    other(x, x)
    other.set_weights(layer.get_weights())
    np.testing.assert_array_equal(other(x, x), layer(x, x))
    assert len(layer.weights) == 4 and layer.count_params() == 2 * (6 * 4 * 2 + 6 * 3 + 3 * 7)


def test_attention():
    q, v, k = floats(2, 5, 6), floats(2, 7, 4, seed=1), floats(2, 7, 6, seed=2)
    value_mask, query_mask = random_mask(2, 7, seed=5), random_mask(2, 5, seed=6)
    scores = np.where(value_mask[:, None], q @ k.transpose(0, 2, 1), -1e30)
    expected = np.asarray(jax.nn.softmax(scores)) @ v * query_mask[:, :, None]
    actual = Attention()([q, v, k], mask=[query_mask, value_mask])
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    out, weights = Attention(use_scale=True)([q, v, k], return_attention_scores=True)
    np.testing.assert_allclose(weights, jax.nn.softmax(q @ k.transpose(0, 2, 1)), atol=1e-5)
    np.testing.assert_allclose(out, np.asarray(weights) @ v, atol=1e-5)
    causal = Attention()([q, q], use_causal_mask=True)
    np.testing.assert_allclose(causal[:, 0], q[:, 0], atol=1e-5)
    layer = Attention(use_scale=True)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer([q, v, k]) * v[:, :5])
    gradient = tape.gradient(total, layer.scale)
    np.testing.assert_allclose(gradient, finite_difference(q, v, k), rtol=1e-3)


def finite_difference(q, v, k):
    def total(scale):
        weights = np.exp(scale * q.astype("f8") @ k.transpose(0, 2, 1))
        return (weights / weights.sum(-1, keepdims=True) @ v * v[:, :5]).sum()
    return (total(1 + 1e-4) - total(1 - 1e-4)) / 2e-4


ERRORS = [
    (lambda: dot_product_attention(floats(2, 3, 4), floats(2, 3, 4), floats(2, 3, 4)),
     "dot_product_attention: the inputs have shapes (2, 3, 4), (2, 3, 4), (2, 3, 4); each must "
      "be "),
    (lambda: dot_product_attention(QKV[0], QKV[1], QKV[2][:, 1:]),
     "attention: queries (2, 7, 4, 8), keys (2, 9, 4, 8) and values (2, 8, 4, 8) do not match"),
    (lambda: dot_product_attention(*QKV, mask=np.ones((3, 9), bool)),
     "attention: the mask (1, 1, 3, 9) does not broadcast to the scores (2, 4, 7, 9)"),
    (lambda: dot_product_attention(*QKV, bias=np.ones((7, 9), "f4"), flash_attention=True),
     "dot_product_attention: flash_attention is True with a bias or a soft cap; omit it"),
    (lambda: MultiHeadAttention(0, 4), "num_heads is 0; it must be an integer of at least 1"),
    (lambda: MultiHeadAttention(2, 4)(floats(2, 4), floats(2, 4)),
     "the input has shape (2, 4); it must be (batch, time, features)"),
    (lambda: Attention()([floats(2, 3), floats(2, 3)]),
     "the input has shape (2, 3); it must be (batch, time, features)"),
    (lambda: Attention()(floats(2, 3, 4)), "it was not called on a list of two or three tensors"),
]


@pytest.mark.parametrize("call, message", ERRORS, ids=[message for _, message in ERRORS])
def test_errors(call, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        call()
    assert message in str(caught.value)
