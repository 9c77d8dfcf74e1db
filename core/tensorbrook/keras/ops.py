"""`tf.keras.ops`: functions of Keras that TensorFlow does not have."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from ..ops.attention import attention, attention_unfused


def dot_product_attention(query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None,
                          scale: float | None = None, is_causal: bool = False,
                          flash_attention: bool | None = None,
                          attn_logits_soft_cap: float | None = None) -> tf.Tensor:
    """Scaled dot-product attention: softmax(query @ key^T * scale + bias) @ value for each head.

    `query` has shape (batch, t_q, heads, d), `key` (batch, t_k, heads, d) and `value` (batch, t_k,
    heads, d_v); the result has shape (batch, t_q, heads, d_v). Key and value may have fewer heads
    (grouped-query attention), of which each serves several heads of the query. `mask` is True where
    a query attends to a key; `mask` and `bias` broadcast to (batch, heads, t_q, t_k). With
    `is_causal` a query attends to no later position. `scale` is 1 / sqrt(d) by default.

    One kernel computes the result without storing the scores (see ops/attention.py). With a bias, a
    soft cap or `flash_attention=False`, unfused operations compute it. Raises InvalidArgumentError
    for inputs that are not of rank 4, and for `flash_attention=True` with a bias or a soft cap.

    >>> x = tf.ones((1, 4, 2, 8))
    >>> tf.keras.ops.dot_product_attention(x, x, x, is_causal=True).shape
    (1, 4, 2, 8)
    """
    q, k, v = (tf.convert_to_tensor(x) for x in (query, key, value))
    if any(x.ndim != 4 for x in (q, k, v)):
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise InvalidArgumentError("dot_product_attention", f"the inputs have shapes {shapes}",
                                   "each must be (batch, time, heads, features)")
    scale = q.shape[3] ** -0.5 if scale is None and q.shape[3] else float(scale or 1.0)
    k, v = (_repeat_heads(x, q.shape[2]) for x in (k, v))
    if mask is not None:
        mask = tf.cast(tf.convert_to_tensor(mask), tf.bool)
        mask = tf.reshape(mask, (1,) * (4 - mask.ndim) + tuple(mask.shape))
    needs_scores = bias is not None or attn_logits_soft_cap is not None
    if needs_scores and flash_attention:
        raise InvalidArgumentError("dot_product_attention", "flash_attention is True with a bias "
                                   "or a soft cap", "omit it: the kernel supports neither")
    if needs_scores or flash_attention is False:
        bias = None if bias is None else tf.convert_to_tensor(bias)
        return attention_unfused(q, k, v, bias, mask, is_causal, scale, attn_logits_soft_cap)[0]
    masks = () if mask is None else (mask,)
    return attention(q, k, v, *masks, scale=scale, causal=bool(is_causal))[0]


def _repeat_heads(x: tf.Tensor, heads: int) -> tf.Tensor:
    """Repeat each head of keys or values until there are `heads`, if they divide evenly."""
    batch, time, groups, features = x.shape
    if groups == heads or not groups or heads % groups:
        return x
    repeated = tf.broadcast_to(x[:, :, :, None], (batch, time, groups, heads // groups, features))
    return tf.reshape(repeated, (batch, time, heads, features))


__all__ = ["dot_product_attention"]
