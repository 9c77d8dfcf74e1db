"""What the table's operations are checked against: NumPy for values, JAX for derivatives too.

`Witness(np)` has the names of NumPy (or jax.numpy) and those functions here that it lacks.
"""
import functools
import math

import jax
import jax.numpy as jnp
import numpy
from jax import lax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)      # a program that runs once


class Witness:
    """A namespace to hand to a line's `theirs`."""

    def __init__(self, of):
        self.of = of

    def __getattr__(self, name: str):
        found = globals().get(name)
        if found is None:
            return getattr(self.of, name)
        return functools.partial(found, self.of)


def erf(np, x):
    return jax.scipy.special.erf(x) if np is jnp else numpy.vectorize(math.erf, [x.dtype])(x)


def floordiv(np, x, y):
    """Whole numbers divided by zero give 0 here, as no backend may trap."""
    return np.where(y == 0, 0, x // np.where(y == 0, 1, y)).astype(x.dtype)


def stop_gradient(np, x):
    return lax.stop_gradient(x) if np is jnp else x


def one_hot(np, i, depth):
    return (np.expand_dims(i, -1) == np.arange(depth)) * np.float64(1)


def segment_sum(np, x, i, count):
    inside = (np.expand_dims(np.arange(count), 1) == i).astype(x.dtype)
    return np.tensordot(inside, x, 1)


def placed(np, x, shape, at):
    out = np.zeros(shape, x.dtype)
    if np is jnp:
        return out.at[at].set(x)
    out[at] = x
    return out


# ── windows ───────────────────────────────────────────────────────────────────────────────────


def pair(n):
    return (n, n) if isinstance(n, int) else n


def conv2d(np, x, w, strides=1, padding="VALID", dilations=1, pads=None):
    x, w = jnp.asarray(x), jnp.asarray(w)
    if 0 in x.shape:
        rows, columns = (-(-n // s) if padding == "SAME" else (n - k) // s + 1
                         for n, k, s in zip(x.shape[1:3], w.shape, pair(strides)))
        return jnp.zeros((x.shape[0], rows, columns, w.shape[3]), x.dtype)
    return lax.conv_general_dilated(
        x, w, pair(strides), pads or padding, rhs_dilation=pair(dilations),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=x.shape[3] // w.shape[2])


def conv2d_shares(np, x, w, g):
    """The gradients of the convolution that cases.SLID describes, in its image and filter."""
    def slid(x, w):
        return conv2d(np, x, w, 2, pads=((1, 1), (0, 0)))
    return jax.vjp(slid, jnp.asarray(x), jnp.asarray(w))[1](jnp.asarray(g))


def conv2d_transpose(np, x, w, output_shape, strides):
    """The gradient in its image of a convolution with padding "SAME"."""
    image = jnp.zeros(output_shape, x.dtype)
    return jax.vjp(lambda image: conv2d(np, image, w, strides, "SAME"), image)[1](jnp.asarray(x))[0]


def windows(x, ksize, strides, padding):
    return {"window_dimensions": (1, *pair(ksize), 1), "padding": padding,
            "window_strides": (1, *pair(ksize if strides is None else strides), 1)}


def max_pool2d(np, x, ksize, strides=None, padding="VALID"):
    return lax.reduce_window(x, -numpy.inf, lax.max, **windows(x, ksize, strides, padding))


def avg_pool2d(np, x, ksize, strides=None, padding="VALID"):
    over = windows(x, ksize, strides, padding)
    total = lax.reduce_window(x, 0., lax.add, **over)
    return total / lax.reduce_window(jnp.ones_like(x), 0., lax.add, **over)


def cells(np, x, fill):
    """The windows of cases.WINDOWS: (2, 5, 4, 3) as (4 cells, 2, 3 rows, 2 columns, 3)."""
    whole = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=fill)
    cut = np.reshape(whole, (2, 3, 2, 2, 2, 3))
    return np.reshape(np.transpose(cut, (2, 4, 0, 1, 3, 5)), (4, 2, 3, 2, 3))


def max_pool_select(np, y, x):
    at = np.argmax(cells(np, x, -numpy.inf), 0)
    return np.take_along_axis(cells(np, y, 0), at[None], 0)[0]


def max_pool_scatter(np, g, x):
    at = np.argmax(cells(np, x, -numpy.inf), 0)
    spread = (np.expand_dims(np.arange(4), (1, 2, 3, 4)) == at) * g
    image = np.transpose(np.reshape(spread, (2, 2, 2, 3, 2, 3)), (2, 3, 0, 4, 1, 5))
    return np.reshape(image, (2, 6, 4, 3))[:, :5]


def avg_pool_share(np, g, image):
    x = jnp.zeros(image, g.dtype)
    return jax.vjp(lambda x: avg_pool2d(np, x, 2, padding="SAME"), x)[1](jnp.asarray(g))[0]


# ── attention: (batch, time, heads, d), scores (batch, heads, t_q, t_k) ────────────────────────


def scores(np, q, k, *mask, scale, causal):
    hidden = [np.tri(q.shape[1], k.shape[1], dtype=bool)] * causal + list(mask)
    out = np.einsum("bihd,bjhd->bhij", q, k) * scale
    for shown in hidden:
        out = np.where(shown, out, -numpy.inf)
    return out


def attention(np, q, k, v, *mask, scale, causal):
    of = scores(np, q, k, *mask, scale=scale, causal=causal)
    sums = np.exp(of).sum(-1, keepdims=True)
    out = np.einsum("bhij,bjhd->bihd", np.exp(of) / sums, v)
    return out, np.transpose(np.log(sums)[..., 0], (0, 2, 1))


def attention_shares(np, q, k, v, g, lse, delta, *mask, scale, causal):
    """What `attention_grad` is of numbers that need not come from one attention."""
    lse, delta = (np.expand_dims(np.transpose(x, (0, 2, 1)), 3) for x in (lse, delta))
    weights = np.exp(scores(np, q, k, *mask, scale=scale, causal=causal) - lse)
    slopes = weights * (np.einsum("bihd,bjhd->bhij", g, v) - delta) * scale
    return (np.einsum("bhij,bjhd->bihd", slopes, k), np.einsum("bhij,bihd->bjhd", slopes, q),
            np.einsum("bhij,bihd->bjhd", weights, g))


# ── random bits ───────────────────────────────────────────────────────────────────────────────


def philox(np, state, shape):
    """Philox 4x32-10 in Python's own whole numbers, a block of four words at a time."""
    key, counter = [int(n) % 2**32 for n in state[:2]], [int(n) % 2**32 for n in state[2:]]
    begin, words = counter[0] | counter[1] << 32, []
    while len(words) < math.prod(shape):
        now = (begin + len(words) // 4) % 2**64
        words += block([now % 2**32, now >> 32, 0, 0], *key)
    return numpy.array(words[:math.prod(shape)], "uint32").view("int32").reshape(shape)


def block(counter, key0, key1):
    """One block: ten rounds of two multiplications (Salmon et al., SC 2011, section 3.3)."""
    c0, c1, c2, c3 = counter
    for _ in range(10):
        left, right = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = ((right >> 32) ^ c1 ^ key0, right % 2**32,
                          (left >> 32) ^ c3 ^ key1, left % 2**32)
        key0, key1 = (key0 + 0x9E3779B9) % 2**32, (key1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


# ── sorting ───────────────────────────────────────────────────────────────────────────────────


def radix_keys(np, x):
    """(place, key) of every element, where the unsigned key orders as the number does."""
    rows, n = math.prod(x.shape[:-1]), x.shape[-1]
    items = numpy.zeros((rows, n, 2), "int32")
    for r, row in enumerate(numpy.reshape(x, (rows, n))):
        for i, number in enumerate(row):
            if x.dtype.kind == "f":
                bits = int(numpy.float32(number).view("uint32"))
                key = bits ^ 0x80000000 if bits < 2**31 else 2**32 - 1 - bits
            else:
                key = int(number) + 2**31
            items[r, i] = i, key - 2**32 if key >= 2**31 else key
    return items


def digits(items, digit):
    return numpy.array(items)[..., 1].view("uint32") // 256**digit % 256


def digit_counts(np, items, digit, parts):
    rows, n = items.shape[:2]
    counts = numpy.zeros((rows, parts, 256), "int32")
    for part in range(parts):
        begin, end = n * part // parts, n * (part + 1) // parts
        for r, row in enumerate(digits(items, digit)[:, begin:end]):
            for each in row:
                counts[r, part, each] += 1
    return counts


def by_digit(np, items, digit):
    rows = [sorted(zip(of, row.tolist()), key=lambda pair: pair[0])
            for of, row in zip(digits(items, digit).tolist(), items)]
    return numpy.array([[item for _, item in row] for row in rows], "int32").reshape(items.shape)
