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
from ..ir import TensorSpec
from ..tensor import Tensor, as_tensor
from . import math
from . import primitives as p
from .kernel_primitives import matmul
from .registration import primitive
from .nn import softmax

# What a hidden score is, as wasm/attention.h has it in units of log 2; an lse below the second
# tells that all scores of a query are hidden.
HIDDEN, ALL_HIDDEN = -2.3e38 * log(2), -1e37


def _sizes(q, k, v) -> tuple[int, ...]:
    (batch, t_q, heads, d), t_k, d_v = q.shape, k.shape[1], v.shape[3]
    return batch, heads, t_q, t_k, d, d_v


def _check_shapes(op: str, q: TensorSpec, k: TensorSpec, v: TensorSpec, mask: TensorSpec | None) -> None:
    dtype = dtypes.require_same_dtype(op, q.dtype, k.dtype, v.dtype)
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


def _kernel_call(name: str, products: int):
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
    return np.where(_causal_mask(np, scores), scores, -inf) if causal else scores


def _causal_mask(np, scores):
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
    masked_probs = np.exp(scores - lse) * (lse >= ALL_HIDDEN)
    seen = _causal_mask(np, scores) if causal else np.ones_like(scores)
    alike = seen / seen.sum(-1, keepdims=True)
    probs = np.where(lse < ALL_HIDDEN, alike, masked_probs) if mask else masked_probs
    q, k, v, g = (x.transpose(0, 2, 1, 3) for x in (q, k, v, g))
    score_grads = masked_probs * (np.matmul(g, v.swapaxes(2, 3)) - delta) * scale
    grads = (np.matmul(score_grads, k), np.matmul(score_grads.swapaxes(2, 3), q),
             np.matmul(probs.swapaxes(2, 3), g))
    return tuple(x.transpose(0, 2, 1, 3) for x in grads)


# ── gradients ─────────────────────────────────────────────────────────────────────────────────


def _attention_spec(q: TensorSpec, k: TensorSpec, v: TensorSpec, *mask: TensorSpec, scale, causal):
    _check_shapes("attention", q, k, v, *mask or (None,))
    batch, heads, t_q, _, _, d_v = _sizes(q, k, v)
    return TensorSpec((batch, t_q, heads, d_v), q.dtype), TensorSpec((batch, t_q, heads), _statistics_dtype(q.dtype))


def _statistics_dtype(dtype: dtypes.DType) -> dtypes.DType:
    """What lse and delta are: float32 beside float16, which would leave them three digits."""
    return dtypes.float32 if dtype is dtypes.float16 else dtype


def _attention_vjp(gs, outs, q, k, v, *mask, scale, causal):
    g, g_lse = gs
    delta = 0.0 if g is None else p.reduce_sum(_to_float32(g) * _to_float32(outs[0]), axes=(3,))
    delta = delta if g_lse is None else delta - g_lse
    g = outs[0] * 0.0 if g is None else g
    shares = attention_grad(q, k, v, g, outs[1], delta, *mask, scale=scale, causal=causal)
    return *shares, *[None] * len(mask)


def _to_float32(x: Tensor) -> Tensor:
    return math.cast(x, _statistics_dtype(x.dtype))


def _attention_grad_spec(q, k, v, g, lse, delta, *mask, scale, causal):
    out, of_lse = _attention_spec(q, k, v, *mask, scale=scale, causal=causal)
    assert (g, lse, delta) == (out, of_lse, of_lse), f"{g}, {lse}, {delta} for {out}, {of_lse}"
    return q, k, v


def _attention_grad_vjp(gs, outs, q, k, v, g, lse, delta, *mask, scale, causal):
    """Of products with the matrices of scores written out: who asks for curvatures waits."""
    dtype = q.dtype
    dq, dk, dv = (_heads_first(_to_float32(x * 0.0 if of is None else of)) for of, x in zip(gs, (q, k, v)))
    q, k, v, g = map(_to_float32, (q, k, v, g))
    probs, masked_probs = _weights(q, k, lse, mask, scale, causal)
    q, k, v, g = map(_heads_first, (q, k, v, g))
    log_probs = (matmul(g, v, transpose_b=True) - _row_vector(delta)) * scale
    score_grads = masked_probs * log_probs
    of_slopes = matmul(dq, k, transpose_b=True) + matmul(q, dk, transpose_b=True)
    of_products = of_slopes * masked_probs * scale
    of_scores = masked_probs * (of_slopes * log_probs + matmul(g, dv, transpose_b=True))
    return *(math.cast(_heads_first(x), dtype) for x in (
        matmul(of_scores, k) * scale + matmul(score_grads, dk),
        matmul(of_scores, q, transpose_a=True) * scale + matmul(score_grads, dq, transpose_a=True),
        matmul(of_products, g, transpose_a=True),
        matmul(of_products, v) + matmul(probs, dv),
    )), -_row_sums(of_scores), -_row_sums(of_products), *[None] * len(mask)


def _causal_mask_tensor(q: Tensor, k: Tensor) -> Tensor:
    """(t_q, t_k): whether the key does not come after the query."""
    t_q, t_k = q.shape[1], k.shape[1]
    return p.greater_equal(p.iota(shape=(t_q, 1), axis=0), p.iota(shape=(1, t_k), axis=1))


def _heads_first(x: Tensor) -> Tensor:
    return p.transpose(x, perm=(0, 2, 1, 3))


def _row_vector(x: Tensor) -> Tensor:
    """(batch, t_q, heads) as (batch, heads, t_q, 1)."""
    batch, rows, heads = x.shape
    return p.reshape(p.transpose(x, perm=(0, 2, 1)), shape=(batch, heads, rows, 1))


def _row_sums(x: Tensor) -> Tensor:
    """(batch, heads, t_q, t_k) as (batch, t_q, heads)."""
    return p.transpose(p.reduce_sum(x, axes=(3,)), perm=(0, 2, 1))


def _weights(q, k, lse, mask, scale, causal) -> tuple[Tensor, Tensor]:
    """The probabilities, and those among them that scores move."""
    lse = _row_vector(lse)
    log_probs = matmul(_heads_first(q), _heads_first(k), transpose_b=True) * scale - lse
    for shown in [_causal_mask_tensor(q, k)] * causal + list(mask):
        log_probs = math.where(shown, log_probs, -inf)
    if not mask:
        masked_probs = p.exp(log_probs)
        return masked_probs, masked_probs
    none = p.less(lse, ALL_HIDDEN)
    masked_probs = p.exp(math.where(none, -inf, log_probs))
    seen = math.cast(_causal_mask_tensor(q, k), q.dtype) if causal else as_tensor(1, q.dtype)
    seen = p.broadcast_to(seen, shape=(q.shape[1], k.shape[1]))
    return math.where(none, seen / math.reduce_sum(seen, 1, keepdims=True), masked_probs), masked_probs


# (out, lse) of queries, keys, values and, where it is given, a mask: bool, of four axes that are
# (batch, heads, t_q, t_k) or 1; False hides a key. `causal` hides those after the query.
attention = primitive("attention", "kernel", _attention_spec, _attention_vjp, _attention,
                      kernel_call=_kernel_call("attention", 2))

# The gradients of queries, keys and values, from that of out, lse, and the sums of out times its
# gradient, less the gradient of lse.
attention_grad = primitive("attention_grad", "kernel", _attention_grad_spec, _attention_grad_vjp,
                           _attention_grad, kernel_call=_kernel_call("attention_grad", 5))


# ── for users ─────────────────────────────────────────────────────────────────────────────────


def attention_unfused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None, causal,
             scale, cap=None, drop=None) -> tuple[Tensor, Tensor]:
    """(out, probabilities (batch, heads, t_q, t_k)) with every score written out: the same
    attention of plain operations, for what the kernel cannot do."""
    scores = _to_float32(matmul(_heads_first(q), _heads_first(k), transpose_b=True)) * scale
    scores = scores if cap is None else p.tanh(scores / cap) * cap
    scores = scores if bias is None else scores + _to_float32(bias)
    scores = scores if mask is None else math.where(mask, scores, HIDDEN)
    scores = math.where(_causal_mask_tensor(q, k), scores, -inf) if causal else scores
    weights = math.cast(softmax(scores), v.dtype)
    dropped = weights if drop is None else drop(weights)
    return _heads_first(matmul(dropped, _heads_first(v))), weights
