"""Fused scaled dot-product attention: a primitive that does not materialize the score matrix.

Queries are (batch, t_q, heads, d), keys (batch, t_k, heads, d) and values (batch, t_k, heads, d_v),
the layout that the projection to all heads produces, so nothing is transposed. The kernel uses the
online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867) and returns `lse`, the log-sum-exp of
the scores of each query, from which the gradient recomputes the probabilities (Dao et al. 2022,
arXiv:2205.14135). The probabilities of a query whose keys are all masked are uniform.
"""
from math import inf, log, prod

from ..base import dtypes
from ..base.errors import DTypeError, InvalidArgumentError
from ..ir import TensorSpec
from ..tensor import Tensor, as_tensor
from . import math
from . import primitives as p
from .kernel_primitives import matmul
from .nn import softmax
from .registration import primitive

# The score of a masked key, as in wasm/attention.h, which is in units of log 2. If `lse` is below
# the second value, all keys of the query are masked.
MASKED_SCORE, FULLY_MASKED_LSE = -2.3e38 * log(2), -1e37


def _sizes(q, k, v) -> tuple[int, ...]:
    (batch, t_q, heads, d), t_k, d_v = q.shape, k.shape[1], v.shape[3]
    return batch, heads, t_q, t_k, d, d_v


def _check_shapes(op: str, q: TensorSpec, k: TensorSpec, v: TensorSpec,
                  mask: TensorSpec | None) -> None:
    dtype = dtypes.require_same_dtype(op, q.dtype, k.dtype, v.dtype)
    if not dtype.is_floating:
        raise DTypeError(op, f"{dtype} is not supported", "use tf.cast to float32")
    fits = len(q.shape) == len(k.shape) == len(v.shape) == 4 and k.shape[:3] == v.shape[:3] \
        and q.shape[::2] == k.shape[::2] and q.shape[3] == k.shape[3]
    if not fits:
        raise InvalidArgumentError(
            op, f"queries {q.shape}, keys {k.shape} and values {v.shape} do not match",
            "they must be (batch, t_q, heads, d), (batch, t_k, heads, d), (batch, t_k, heads, d_v)")
    batch, heads, t_q, t_k, _, _ = _sizes(q, k, v)
    if mask is None:
        return
    if mask.dtype is not dtypes.bool_:
        raise DTypeError(op, f"the mask is {mask.dtype}", "use tf.cast(mask, tf.bool)")
    scores = batch, heads, t_q, t_k
    if len(mask.shape) != 4 or any(n not in (1, m) for n, m in zip(mask.shape, scores)):
        raise InvalidArgumentError(
            op, f"the mask {mask.shape} does not broadcast to the scores {scores}",
            "it must have four axes, each of the same size or 1")


def _kernel_call(name: str, products: int):
    """The kernel of attention, which computes two matrix products of the size of the scores, or of
    its gradient, which computes five."""
    def call(specs, outs, scale, causal):
        mask = specs[-1] if specs[-1].dtype is dtypes.bool_ else None
        batch, heads, t_q, t_k, d, d_v = _sizes(*specs[:3])
        strides = () if mask is None else [
            0 if n == 1 else prod(mask.shape[i + 1:]) for i, n in enumerate(mask.shape)]
        work = products * batch * heads * t_q * t_k * (d + d_v) // (4 if causal else 2)
        return (name + "_masked" * (mask is not None),
                (batch, heads, t_q, t_k, d, d_v, int(causal), float(scale), *strides), work)
    return call


# ── reference implementation ──────────────────────────────────────────────────────────────────


def _scores(np, q, k, mask, scale, causal):
    """(batch, heads, t_q, t_k)."""
    scores = np.matmul(q.transpose(0, 2, 1, 3), k.transpose(0, 2, 3, 1)) * scale
    for visible in mask:
        scores = np.where(visible, scores, MASKED_SCORE)
    return np.where(_causal_mask(np, scores), scores, -inf) if causal else scores


def _causal_mask(np, scores):
    return np.tri(*scores.shape[2:], dtype=bool)


def _attention(np, q, k, v, *mask, scale, causal):
    scores = _scores(np, q, k, mask, scale, causal)
    maximum = scores.max(-1, initial=-inf, keepdims=True)
    e = np.exp(scores - maximum)
    total = e.sum(-1, keepdims=True)
    out = np.matmul(e / total, v.transpose(0, 2, 1, 3))
    return out.transpose(0, 2, 1, 3), (maximum + np.log(total))[..., 0].transpose(0, 2, 1)


def _attention_grad(np, q, k, v, g, lse, delta, *mask, scale, causal):
    lse, delta = (x.transpose(0, 2, 1)[..., None] for x in (lse, delta))
    scores = _scores(np, q, k, mask, scale, causal)
    masked_probs = np.exp(scores - lse) * (lse >= FULLY_MASKED_LSE)
    visible = _causal_mask(np, scores) if causal else np.ones_like(scores)
    uniform = visible / visible.sum(-1, keepdims=True)
    probs = np.where(lse < FULLY_MASKED_LSE, uniform, masked_probs) if mask else masked_probs
    q, k, v, g = (x.transpose(0, 2, 1, 3) for x in (q, k, v, g))
    score_grads = masked_probs * (np.matmul(g, v.swapaxes(2, 3)) - delta) * scale
    grads = (np.matmul(score_grads, k), np.matmul(score_grads.swapaxes(2, 3), q),
             np.matmul(probs.swapaxes(2, 3), g))
    return tuple(x.transpose(0, 2, 1, 3) for x in grads)


# ── gradients ─────────────────────────────────────────────────────────────────────────────────


def _attention_spec(q: TensorSpec, k: TensorSpec, v: TensorSpec, *mask: TensorSpec, scale, causal):
    _check_shapes("attention", q, k, v, *mask or (None,))
    batch, heads, t_q, _, _, d_v = _sizes(q, k, v)
    lse = TensorSpec((batch, t_q, heads), _statistics_dtype(q.dtype))
    return TensorSpec((batch, t_q, heads, d_v), q.dtype), lse


def _statistics_dtype(dtype: dtypes.DType) -> dtypes.DType:
    """The dtype of lse and delta: float32 for float16, whose three digits are not enough."""
    return dtypes.float32 if dtype is dtypes.float16 else dtype


def _attention_vjp(gs, outs, q, k, v, *mask, scale, causal):
    g, g_lse = gs
    delta = 0.0 if g is None else p.reduce_sum(_to_float32(g) * _to_float32(outs[0]), axes=(3,))
    delta = delta if g_lse is None else delta - g_lse
    g = outs[0] * 0.0 if g is None else g
    grads = attention_grad(q, k, v, g, outs[1], delta, *mask, scale=scale, causal=causal)
    return *grads, *[None] * len(mask)


def _to_float32(x: Tensor) -> Tensor:
    return math.cast(x, _statistics_dtype(x.dtype))


def _attention_grad_spec(q, k, v, g, lse, delta, *mask, scale, causal):
    out, row_statistic = _attention_spec(q, k, v, *mask, scale=scale, causal=causal)
    assert (g, lse, delta) == (out, row_statistic, row_statistic), \
        f"{g}, {lse}, {delta} for {out}, {row_statistic}"
    return q, k, v


def _attention_grad_vjp(gs, outs, q, k, v, g, lse, delta, *mask, scale, causal):
    """Second-order gradients, with materialized score matrices: slow, but rarely needed."""
    dtype = q.dtype
    gq, gk, gv = (_heads_first(_to_float32(x * 0.0 if gx is None else gx))
                  for gx, x in zip(gs, (q, k, v)))
    q, k, v, g = map(_to_float32, (q, k, v, g))
    probs, masked_probs = _probabilities(q, k, lse, mask, scale, causal)
    q, k, v, g = map(_heads_first, (q, k, v, g))
    centered_prob_grads = (matmul(g, v, transpose_b=True) - _row_vector(delta)) * scale
    score_grads = masked_probs * centered_prob_grads
    # The cotangents of score_grads, of prob_grads = g v^T, and of the scores.
    g_score_grads = matmul(gq, k, transpose_b=True) + matmul(q, gk, transpose_b=True)
    g_prob_grads = g_score_grads * masked_probs * scale
    g_scores = masked_probs * (
        g_score_grads * centered_prob_grads + matmul(g, gv, transpose_b=True))
    return *(math.cast(_heads_first(x), dtype) for x in (
        matmul(g_scores, k) * scale + matmul(score_grads, gk),
        matmul(g_scores, q, transpose_a=True) * scale + matmul(score_grads, gq, transpose_a=True),
        matmul(g_prob_grads, g, transpose_a=True),
        matmul(g_prob_grads, v) + matmul(probs, gv),
    )), -_row_sums(g_scores), -_row_sums(g_prob_grads), *[None] * len(mask)


def _causal_mask_tensor(q: Tensor, k: Tensor) -> Tensor:
    """(t_q, t_k), bool: whether the position of the key is at most that of the query."""
    t_q, t_k = q.shape[1], k.shape[1]
    return p.greater_equal(p.iota(shape=(t_q, 1), axis=0), p.iota(shape=(1, t_k), axis=1))


def _heads_first(x: Tensor) -> Tensor:
    return p.transpose(x, perm=(0, 2, 1, 3))


def _row_vector(x: Tensor) -> Tensor:
    """Rearrange (batch, t_q, heads) to (batch, heads, t_q, 1)."""
    batch, rows, heads = x.shape
    return p.reshape(p.transpose(x, perm=(0, 2, 1)), shape=(batch, heads, rows, 1))


def _row_sums(x: Tensor) -> Tensor:
    """Reduce (batch, heads, t_q, t_k) to (batch, t_q, heads)."""
    return p.transpose(p.reduce_sum(x, axes=(3,)), perm=(0, 2, 1))


def _probabilities(q, k, lse, mask, scale, causal) -> tuple[Tensor, Tensor]:
    """(probabilities, the same with 0 for fully masked queries, in which they do not depend on the
    scores)."""
    lse = _row_vector(lse)
    log_probs = matmul(_heads_first(q), _heads_first(k), transpose_b=True) * scale - lse
    for visible in [_causal_mask_tensor(q, k)] * causal + list(mask):
        log_probs = math.where(visible, log_probs, -inf)
    if not mask:
        masked_probs = p.exp(log_probs)
        return masked_probs, masked_probs
    fully_masked = p.less(lse, FULLY_MASKED_LSE)
    masked_probs = p.exp(math.where(fully_masked, -inf, log_probs))
    visible = math.cast(_causal_mask_tensor(q, k), q.dtype) if causal else as_tensor(1, q.dtype)
    visible = p.broadcast_to(visible, shape=(q.shape[1], k.shape[1]))
    uniform = visible / math.reduce_sum(visible, 1, keepdims=True)
    return math.where(fully_masked, uniform, masked_probs), masked_probs


# attention(q, k, v[, mask]) -> (out, lse). The bool mask broadcasts to (batch, heads, t_q, t_k);
# False masks a key. `causal` masks the keys after the query.
attention = primitive("attention", "kernel", _attention_spec, _attention_vjp, _attention,
                      kernel_call=_kernel_call("attention", 2))

# attention_grad(q, k, v, g, lse, delta[, mask]) -> (dq, dk, dv). g is the cotangent of `out`, and
# delta is the sum of out * g over d_v, minus the cotangent of `lse`.
attention_grad = primitive("attention_grad", "kernel", _attention_grad_spec, _attention_grad_vjp,
                           _attention_grad, kernel_call=_kernel_call("attention_grad", 5))


# ── attention without the kernel ──────────────────────────────────────────────────────────────


def attention_unfused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None,
                      causal, scale, cap=None, drop=None) -> tuple[Tensor, Tensor]:
    """Return (out, probabilities (batch, heads, t_q, t_k)), composed of ordinary operations.

    Unlike the kernel, it supports a `bias` of the scores, a soft cap, dropout by function `drop`,
    and access to the probabilities.
    """
    scores = _to_float32(matmul(_heads_first(q), _heads_first(k), transpose_b=True)) * scale
    scores = scores if cap is None else p.tanh(scores / cap) * cap
    scores = scores if bias is None else scores + _to_float32(bias)
    scores = scores if mask is None else math.where(mask, scores, MASKED_SCORE)
    scores = math.where(_causal_mask_tensor(q, k), scores, -inf) if causal else scores
    probs = math.cast(softmax(scores), v.dtype)
    dropped_probs = probs if drop is None else drop(probs)
    return _heads_first(matmul(dropped_probs, _heads_first(v))), probs
