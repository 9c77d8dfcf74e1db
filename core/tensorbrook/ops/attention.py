"""Softmax attention as a primitive whose kernel never writes the matrix of scores.

Queries are (batch, t_q, heads, d), keys (batch, t_k, heads, d), values (batch, t_k, heads, d_v), as
a product with the weights of all heads leaves them: nothing is transposed. The engine makes the
softmax block by block (Milakov and Gimelshein 2018, arXiv:1805.02867) and keeps of it `lse`, the
logarithm of each query's sum of exponentials, from which the gradient makes it again (Dao et al.
2022, arXiv:2205.14135). A query from which the mask hides every key takes all alike.
"""
from math import inf, log, prod

from ..base import dtypes
from ..base.errors import DTypeError, InvalidArgumentError
from ..ir import Spec
from ..tensor import Tensor, as_tensor
from . import math
from . import primitives as p
from .contractions import matmul
from .define import primitive
from .nn import softmax

# What a hidden score is, as wasm/attention.h has it in units of log 2; an lse below the second
# tells that all scores of a query are hidden.
HIDDEN, ALL_HIDDEN = -2.3e38 * log(2), -1e37


def _sizes(q, k, v) -> tuple[int, ...]:
    (batch, t_q, heads, d), t_k, d_v = q.shape, k.shape[1], v.shape[3]
    return batch, heads, t_q, t_k, d, d_v


def _check(op: str, q: Spec, k: Spec, v: Spec, mask: Spec | None) -> None:
    dtype = dtypes.same(op, q.dtype, k.dtype, v.dtype)
    if not dtype.is_floating:
        raise DTypeError(op, f"it is not defined for {dtype}", "use tf.cast to float32")
    fits = len(q.shape) == len(k.shape) == len(v.shape) == 4 and k.shape[:3] == v.shape[:3] \
        and q.shape[::2] == k.shape[::2] and q.shape[3] == k.shape[3]
    if not fits:
        raise InvalidArgumentError(
            op, f"queries {q.shape}, keys {k.shape} and values {v.shape} do not fit",
            "they must be (batch, t_q, heads, d), (batch, t_k, heads, d), (batch, t_k, heads, d_v)")
    batch, heads, t_q, t_k, _, _ = _sizes(q, k, v)
    if mask is None:
        return
    if mask.dtype is not dtypes.bool_:
        raise DTypeError(op, f"the mask holds {mask.dtype}", "use tf.cast(mask, tf.bool)")
    of = batch, heads, t_q, t_k
    if len(mask.shape) != 4 or any(n not in (1, m) for n, m in zip(mask.shape, of)):
        raise InvalidArgumentError(op, f"the mask {mask.shape} does not fit scores {of}",
                                   "it has four axes, each of that size or 1")


def _call(name: str, products: int):
    """The kernel: attention makes two products with each score, its gradient five."""
    def call(specs, outs, scale, causal):
        mask = specs[-1] if specs[-1].dtype is dtypes.bool_ else None
        batch, heads, t_q, t_k, d, d_v = _sizes(*specs[:3])
        strides = () if mask is None else [
            0 if n == 1 else prod(mask.shape[i + 1:]) for i, n in enumerate(mask.shape)]
        work = products * batch * heads * t_q * t_k * (d + d_v) // (4 if causal else 2)
        return (name + "_masked" * (mask is not None),
                (batch, heads, t_q, t_k, d, d_v, int(causal), float(scale), *strides), work)
    return call


# ── what it means ─────────────────────────────────────────────────────────────────────────────


def _scores(np, q, k, mask, scale, causal):
    """(batch, heads, t_q, t_k)."""
    scores = np.matmul(q.transpose(0, 2, 1, 3), k.transpose(0, 2, 3, 1)) * scale
    for of in mask:
        scores = np.where(of, scores, HIDDEN)
    return np.where(_past(np, scores), scores, -inf) if causal else scores


def _past(np, scores):
    return np.tri(*scores.shape[2:], dtype=bool)


def _attention(np, q, k, v, *mask, scale, causal):
    scores = _scores(np, q, k, mask, scale, causal)
    top = scores.max(-1, initial=-inf, keepdims=True)
    e = np.exp(scores - top)
    total = e.sum(-1, keepdims=True)
    out = np.matmul(e / total, v.transpose(0, 2, 1, 3))
    return out.transpose(0, 2, 1, 3), (top + np.log(total))[..., 0].transpose(0, 2, 1)


def _attention_grad(np, q, k, v, g, lse, delta, *mask, scale, causal):
    lse, delta = (x.transpose(0, 2, 1)[..., None] for x in (lse, delta))
    scores = _scores(np, q, k, mask, scale, causal)
    moved = np.exp(scores - lse) * (lse >= ALL_HIDDEN)
    seen = _past(np, scores) if causal else np.ones_like(scores)
    alike = seen / seen.sum(-1, keepdims=True)
    weights = np.where(lse < ALL_HIDDEN, alike, moved) if mask else moved
    q, k, v, g = (x.transpose(0, 2, 1, 3) for x in (q, k, v, g))
    slopes = moved * (np.matmul(g, v.swapaxes(2, 3)) - delta) * scale
    grads = (np.matmul(slopes, k), np.matmul(slopes.swapaxes(2, 3), q),
             np.matmul(weights.swapaxes(2, 3), g))
    return tuple(x.transpose(0, 2, 1, 3) for x in grads)


# ── gradients ─────────────────────────────────────────────────────────────────────────────────


def _attention_spec(q: Spec, k: Spec, v: Spec, *mask: Spec, scale, causal):
    _check("attention", q, k, v, *mask or (None,))
    batch, heads, t_q, _, _, d_v = _sizes(q, k, v)
    return Spec((batch, t_q, heads, d_v), q.dtype), Spec((batch, t_q, heads), _statistics(q.dtype))


def _statistics(dtype: dtypes.DType) -> dtypes.DType:
    """What lse and delta are: float32 beside float16, which would leave them three digits."""
    return dtypes.float32 if dtype is dtypes.float16 else dtype


def _attention_shares(gs, outs, q, k, v, *mask, scale, causal):
    g, g_lse = gs
    delta = 0.0 if g is None else p.reduce_sum(_wide(g) * _wide(outs[0]), axes=(3,))
    delta = delta if g_lse is None else delta - g_lse
    g = outs[0] * 0.0 if g is None else g
    shares = attention_grad(q, k, v, g, outs[1], delta, *mask, scale=scale, causal=causal)
    return *shares, *[None] * len(mask)


def _wide(x: Tensor) -> Tensor:
    return math.cast(x, _statistics(x.dtype))


def _attention_grad_spec(q, k, v, g, lse, delta, *mask, scale, causal):
    out, of_lse = _attention_spec(q, k, v, *mask, scale=scale, causal=causal)
    assert (g, lse, delta) == (out, of_lse, of_lse), f"{g}, {lse}, {delta} for {out}, {of_lse}"
    return q, k, v


def _attention_grad_shares(gs, outs, q, k, v, g, lse, delta, *mask, scale, causal):
    """Of products with the matrices of scores written out: who asks for curvatures waits."""
    dtype = q.dtype
    dq, dk, dv = (_by_heads(_wide(x * 0.0 if of is None else of)) for of, x in zip(gs, (q, k, v)))
    q, k, v, g = map(_wide, (q, k, v, g))
    weights, moved = _weights(q, k, lse, mask, scale, causal)
    q, k, v, g = map(_by_heads, (q, k, v, g))
    beyond = (matmul(g, v, transpose_b=True) - _by_rows(delta)) * scale
    slopes = moved * beyond
    of_slopes = matmul(dq, k, transpose_b=True) + matmul(q, dk, transpose_b=True)
    of_products = of_slopes * moved * scale
    of_scores = moved * (of_slopes * beyond + matmul(g, dv, transpose_b=True))
    return *(math.cast(_by_heads(x), dtype) for x in (
        matmul(of_scores, k) * scale + matmul(slopes, dk),
        matmul(of_scores, q, transpose_a=True) * scale + matmul(slopes, dq, transpose_a=True),
        matmul(of_products, g, transpose_a=True),
        matmul(of_products, v) + matmul(weights, dv),
    )), -_row_sums(of_scores), -_row_sums(of_products), *[None] * len(mask)


def _past_keys(q: Tensor, k: Tensor) -> Tensor:
    """(t_q, t_k): whether the key does not come after the query."""
    t_q, t_k = q.shape[1], k.shape[1]
    return p.greater_equal(p.iota(shape=(t_q, 1), axis=0), p.iota(shape=(1, t_k), axis=1))


def _by_heads(x: Tensor) -> Tensor:
    return p.transpose(x, perm=(0, 2, 1, 3))


def _by_rows(x: Tensor) -> Tensor:
    """(batch, t_q, heads) as (batch, heads, t_q, 1)."""
    batch, rows, heads = x.shape
    return p.reshape(p.transpose(x, perm=(0, 2, 1)), shape=(batch, heads, rows, 1))


def _row_sums(x: Tensor) -> Tensor:
    """(batch, heads, t_q, t_k) as (batch, t_q, heads)."""
    return p.transpose(p.reduce_sum(x, axes=(3,)), perm=(0, 2, 1))


def _weights(q, k, lse, mask, scale, causal) -> tuple[Tensor, Tensor]:
    """The probabilities, and those among them that scores move."""
    lse = _by_rows(lse)
    beyond = matmul(_by_heads(q), _by_heads(k), transpose_b=True) * scale - lse
    for shown in [_past_keys(q, k)] * causal + list(mask):
        beyond = math.where(shown, beyond, -inf)
    if not mask:
        moved = p.exp(beyond)
        return moved, moved
    none = p.less(lse, ALL_HIDDEN)
    moved = p.exp(math.where(none, -inf, beyond))
    seen = math.cast(_past_keys(q, k), q.dtype) if causal else as_tensor(1, q.dtype)
    seen = p.broadcast_to(seen, shape=(q.shape[1], k.shape[1]))
    return math.where(none, seen / math.reduce_sum(seen, 1, keepdims=True), moved), moved


# (out, lse) of queries, keys, values and, where it is given, a mask: bool, of four axes that are
# (batch, heads, t_q, t_k) or 1; False hides a key. `causal` hides those after the query.
attention = primitive("attention", "call", _attention_spec, _attention_shares, _attention,
                      call=_call("attention", 2))

# The gradients of queries, keys and values, from that of out, lse, and the sums of out times its
# gradient, less the gradient of lse.
attention_grad = primitive("attention_grad", "call", _attention_grad_spec, _attention_grad_shares,
                           _attention_grad, call=_call("attention_grad", 5))


# ── for users ─────────────────────────────────────────────────────────────────────────────────


def composed(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None, causal,
             scale, cap=None, drop=None) -> tuple[Tensor, Tensor]:
    """(out, probabilities (batch, heads, t_q, t_k)) with every score written out: the same
    attention of plain operations, for what the kernel cannot do."""
    scores = _wide(matmul(_by_heads(q), _by_heads(k), transpose_b=True)) * scale
    scores = scores if cap is None else p.tanh(scores / cap) * cap
    scores = scores if bias is None else scores + _wide(bias)
    scores = scores if mask is None else math.where(mask, scores, HIDDEN)
    scores = math.where(_past_keys(q, k), scores, -inf) if causal else scores
    weights = math.cast(softmax(scores), v.dtype)
    dropped = weights if drop is None else drop(weights)
    return _by_heads(matmul(dropped, _by_heads(v))), weights
