"""`tf.keras.ops`: functions that Keras has and TensorFlow has not."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from ..ops.attention import attention, attention_unfused


def dot_product_attention(query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None,
                          scale: float | None = None, is_causal: bool = False,
                          flash_attention: bool | None = None,
                          attn_logits_soft_cap: float | None = None) -> tf.Tensor:
    """softmax(query @ key^T * scale + bias) @ value for each head: (batch, t_q, heads, d) with
    (batch, t_k, heads, d) and (batch, t_k, heads, d_v) gives (batch, t_q, heads, d_v).

    `mask` is True where a query may look; it and `bias` broadcast to (batch, heads, t_q, t_k).
    `is_causal` hides keys after the query. Keys and values of fewer heads serve several heads of
    queries each. The scale is 1 / sqrt(d) if none is given. A kernel does it without ever writing
    the scores (see ops/attention.py); with a bias or a soft cap, or with `flash_attention=False`,
    plain operations do it.

    >>> x = tf.ones((1, 4, 2, 8))
    >>> tf.keras.ops.dot_product_attention(x, x, x, is_causal=True).shape
    (1, 4, 2, 8)
    """
    q, k, v = (tf.convert_to_tensor(x) for x in (query, key, value))
    if any(x.ndim != 4 for x in (q, k, v)):
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise InvalidArgumentError("dot_product_attention", f"the inputs have shapes {shapes}",
                                   "each is (batch, time, heads, features)")
    scale = q.shape[3] ** -0.5 if scale is None and q.shape[3] else float(scale or 1.0)
    k, v = (_for_heads(x, q.shape[2]) for x in (k, v))
    if mask is not None:
        mask = tf.cast(tf.convert_to_tensor(mask), tf.bool)
        mask = tf.reshape(mask, (1,) * (4 - mask.ndim) + tuple(mask.shape))
    plain = bias is not None or attn_logits_soft_cap is not None
    if plain and flash_attention:
        raise InvalidArgumentError("dot_product_attention", "flash_attention is True",
                                   "leave it out: a bias or a soft cap needs plain operations")
    if plain or flash_attention is False:
        bias = None if bias is None else tf.convert_to_tensor(bias)
        return attention_unfused(q, k, v, bias, mask, is_causal, scale, attn_logits_soft_cap)[0]
    masks = () if mask is None else (mask,)
    return attention(q, k, v, *masks, scale=scale, causal=bool(is_causal))[0]


def _for_heads(x: tf.Tensor, heads: int) -> tf.Tensor:
    """Keys or values of some heads, each repeated for as many heads of queries as share it."""
    batch, rows, own, features = x.shape
    if own == heads or not own or heads % own:
        return x
    each = tf.broadcast_to(x[:, :, :, None], (batch, rows, own, heads // own, features))
    return tf.reshape(each, (batch, rows, heads, features))


__all__ = ["dot_product_attention"]
