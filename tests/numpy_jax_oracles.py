"""Oracles of the op cases: NumPy for values, JAX for values and derivatives.

`OracleNamespace(numpy)` has the names of NumPy (or jax.numpy) and, in addition, the functions of
this module.
"""
import functools
import math

import jax
import jax.numpy as jnp
import numpy
from jax import lax


class OracleNamespace:
    """The namespace that is passed to the oracle of a case."""

    def __init__(self, numpy_module):
        self.numpy_module = numpy_module

    def __getattr__(self, name: str):
        function = globals().get(name)
        if function is None:
            return getattr(self.numpy_module, name)
        return functools.partial(function, self.numpy_module)


def erf(np, x):
    return jax.scipy.special.erf(x) if np is jnp else numpy.vectorize(math.erf, [x.dtype])(x)


def floordiv(np, x, y):
    """Integer division by 0 gives 0, because no backend may trap."""
    return np.where(y == 0, 0, x // np.where(y == 0, 1, y)).astype(x.dtype)


def mod_or_0(np, x, y):
    """The remainder with the sign of y; modulo 0 it is 0 for integers, because no backend traps."""
    is_zero = (y == 0) & (x.dtype.kind != "f")
    return np.where(is_zero, 0, x % np.where(is_zero, 1, y)).astype(x.dtype)


def stop_gradient(np, x):
    return lax.stop_gradient(x) if np is jnp else x


def one_hot(np, i, depth):
    return (np.expand_dims(i, -1) == np.arange(depth)) * np.float64(1)


def segment_sum(np, x, i, count):
    is_member = (np.expand_dims(np.arange(count), 1) == i).astype(x.dtype)
    return np.tensordot(is_member, x, 1)


def embed(np, x, shape, slices):
    """Zeros of `shape`, with `x` at `slices`."""
    out = np.zeros(shape, x.dtype)
    if np is jnp:
        return out.at[slices].set(x)
    out[slices] = x
    return out


# ── convolution and pooling ───────────────────────────────────────────────────────────────────


def as_pair(n):
    return (n, n) if isinstance(n, int) else n


def conv2d(np, x, w, strides=1, padding="VALID", dilations=1, pads=None):
    x, w = jnp.asarray(x), jnp.asarray(w)
    if 0 in x.shape:
        rows, columns = (-(-n // s) if padding == "SAME" else (n - k) // s + 1
                         for n, k, s in zip(x.shape[1:3], w.shape, as_pair(strides)))
        return jnp.zeros((x.shape[0], rows, columns, w.shape[3]), x.dtype)
    return lax.conv_general_dilated(
        x, w, as_pair(strides), pads or padding, rhs_dilation=as_pair(dilations),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x.shape[3] // w.shape[2])


def conv2d_vjp(np, x, w, g):
    """The input and filter gradients of the convolution of op_cases.CONV_ATTRS."""
    def convolve(x, w):
        return conv2d(np, x, w, 2, pads=((1, 1), (0, 0)))
    return jax.vjp(convolve, jnp.asarray(x), jnp.asarray(w))[1](jnp.asarray(g))


def conv2d_transpose(np, x, w, output_shape, strides):
    """The input gradient of a convolution with padding "SAME"."""
    image = jnp.zeros(output_shape, x.dtype)
    return jax.vjp(lambda image: conv2d(np, image, w, strides, "SAME"), image)[1](jnp.asarray(x))[0]


def reduce_window_options(ksize, strides, padding):
    return {"window_dimensions": (1, *as_pair(ksize), 1), "padding": padding,
            "window_strides": (1, *as_pair(ksize if strides is None else strides), 1)}


def max_pool2d(np, x, ksize, strides=None, padding="VALID"):
    options = reduce_window_options(ksize, strides, padding)
    return lax.reduce_window(x, -numpy.inf, lax.max, **options)


def avg_pool2d(np, x, ksize, strides=None, padding="VALID"):
    options = reduce_window_options(ksize, strides, padding)
    total = lax.reduce_window(x, 0., lax.add, **options)
    return total / lax.reduce_window(jnp.ones_like(x), 0., lax.add, **options)


def pool_windows(np, x, fill):
    """The windows of op_cases.POOL_ATTRS: (2, 5, 4, 3) as (4 elements, 2, 3 rows, 2 columns, 3)."""
    padded = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=fill)
    split = np.reshape(padded, (2, 3, 2, 2, 2, 3))
    return np.reshape(np.transpose(split, (2, 4, 0, 1, 3, 5)), (4, 2, 3, 2, 3))


def max_pool_select(np, y, x):
    index = np.argmax(pool_windows(np, x, -numpy.inf), 0)
    return np.take_along_axis(pool_windows(np, y, 0), index[None], 0)[0]


def max_pool_scatter(np, g, x):
    index = np.argmax(pool_windows(np, x, -numpy.inf), 0)
    windows = (np.expand_dims(np.arange(4), (1, 2, 3, 4)) == index) * g
    image = np.transpose(np.reshape(windows, (2, 2, 2, 3, 2, 3)), (2, 3, 0, 4, 1, 5))
    return np.reshape(image, (2, 6, 4, 3))[:, :5]


def avg_pool_vjp(np, g, image):
    x = jnp.zeros(image, g.dtype)
    return jax.vjp(lambda x: avg_pool2d(np, x, 2, padding="SAME"), x)[1](jnp.asarray(g))[0]


# ── attention: (batch, time, heads, d), scores (batch, heads, t_q, t_k) ────────────────────────


def scores(np, q, k, *mask, scale, causal):
    masks = [np.tri(q.shape[1], k.shape[1], dtype=bool)] * causal + list(mask)
    out = np.einsum("bihd,bjhd->bhij", q, k) * scale
    for is_visible in masks:
        out = np.where(is_visible, out, -numpy.inf)
    return out


def attention(np, q, k, v, *mask, scale, causal):
    exps = np.exp(scores(np, q, k, *mask, scale=scale, causal=causal))
    sums = exps.sum(-1, keepdims=True)
    out = np.einsum("bhij,bjhd->bihd", exps / sums, v)
    return out, np.transpose(np.log(sums)[..., 0], (0, 2, 1))


def attention_vjp(np, q, k, v, g, lse, delta, *mask, scale, causal):
    """`attention_grad`; lse and delta do not have to belong to the same attention."""
    lse, delta = (np.expand_dims(np.transpose(x, (0, 2, 1)), 3) for x in (lse, delta))
    probs = np.exp(scores(np, q, k, *mask, scale=scale, causal=causal) - lse)
    score_grads = probs * (np.einsum("bihd,bjhd->bhij", g, v) - delta) * scale
    return (np.einsum("bhij,bjhd->bihd", score_grads, k),
            np.einsum("bhij,bihd->bjhd", score_grads, q),
            np.einsum("bhij,bihd->bjhd", probs, g))


# ── random bits ───────────────────────────────────────────────────────────────────────────────


def philox(np, state, shape):
    """Philox 4x32-10 with Python integers, a block of four words at a time."""
    key, counter = [int(n) % 2**32 for n in state[:2]], [int(n) % 2**32 for n in state[2:]]
    begin, words = counter[0] | counter[1] << 32, []
    while len(words) < math.prod(shape):
        count = (begin + len(words) // 4) % 2**64
        words += philox_block([count % 2**32, count >> 32, 0, 0], *key)
    return numpy.array(words[:math.prod(shape)], "uint32").view("int32").reshape(shape)


def philox_block(counter, key0, key1):
    """Four words: ten rounds of two multiplications (Salmon et al., SC 2011, section 3.3)."""
    c0, c1, c2, c3 = counter
    for _ in range(10):
        left, right = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = ((right >> 32) ^ c1 ^ key0, right % 2**32,
                          (left >> 32) ^ c3 ^ key1, left % 2**32)
        key0, key1 = (key0 + 0x9E3779B9) % 2**32, (key1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


# ── sorting ───────────────────────────────────────────────────────────────────────────────────


def radix_keys(np, x):
    """(index, key) of every element; the unsigned keys have the order of the elements."""
    rows, n = math.prod(x.shape[:-1]), x.shape[-1]
    items = numpy.zeros((rows, n, 2), "int32")
    for r, row in enumerate(numpy.reshape(x, (rows, n))):
        for i, value in enumerate(row):
            if x.dtype.kind == "f":
                bits = int(numpy.float32(value).view("uint32"))
                key = bits ^ 0x80000000 if bits < 2**31 else 2**32 - 1 - bits
            else:
                key = int(value) + 2**31
            items[r, i] = i, key - 2**32 if key >= 2**31 else key
    return items


def radix_digits(items, digit):
    return numpy.array(items)[..., 1].view("uint32") // 256**digit % 256


def radix_histogram(np, items, digit, chunks):
    rows, n = items.shape[:2]
    counts = numpy.zeros((rows, chunks, 256), "int32")
    for chunk in range(chunks):
        begin, end = n * chunk // chunks, n * (chunk + 1) // chunks
        for r, row in enumerate(radix_digits(items, digit)[:, begin:end]):
            for value in row:
                counts[r, chunk, value] += 1
    return counts


def radix_scatter(np, items, digit):
    rows = [sorted(zip(digits, row.tolist()), key=lambda pair: pair[0])
            for digits, row in zip(radix_digits(items, digit).tolist(), items)]
    return numpy.array([[item for _, item in row] for row in rows], "int32").reshape(items.shape)
