"""Attention: what each place of a sequence takes from the places of another, or of its own."""

from __future__ import annotations

from math import prod
from typing import Any

import tensorbrook as tf

from ...ops.attention import attention, attention_unfused
from .. import argument_checks, initializers
from .core import Dropout
from .layer import Layer, Shape


class _Heads(Layer):
    """The product of an input's last axes with a kernel of as many, and a bias: Keras's EinsumDense
    as MultiHeadAttention uses it, with its weights' names and shapes."""

    casts_to_float = True

    def __init__(self, summed: int, sizes: tuple[int, ...], use_bias: bool, kernel_initializer: Any,
                 bias_initializer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.summed, self.sizes, self.use_bias = summed, sizes, use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer

    def build(self, input_shape: Any = None) -> None:
        shape = (*tuple(input_shape)[-self.summed:], *self.sizes)
        self.kernel = self.add_weight(shape, self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(self.sizes, self.bias_initializer, name="bias") \
            if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        lead, summed = tuple(x.shape)[:-self.summed], tuple(x.shape)[-self.summed:]
        if summed != tuple(self.kernel.shape)[:self.summed]:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                               f"it was built for {self.kernel.shape[0]} features")
        kernel = tf.reshape(self.kernel, (prod(summed), prod(self.sizes)))
        out = tf.matmul(tf.reshape(x, (*lead, prod(summed))), kernel)
        out = out if self.bias is None else out + tf.reshape(self.bias, (prod(self.sizes),))
        return tf.reshape(out, (*lead, *self.sizes))


class MultiHeadAttention(Layer):
    """Attention by several heads (Vaswani et al., 2017, arXiv:1706.03762): queries (batch, t_q,
    features) look at values (batch, t_k, features), through keys if they are given.

    `attention_mask` (batch, t_q, t_k), or with an axis for the heads after the batch, is True where
    a query may look; `use_causal_mask` lets it look at no later place. No matrix of scores is ever
    written, but for dropout in training and with `return_attention_scores`, which need it.

    >>> layer = tf.keras.layers.MultiHeadAttention(num_heads=4, key_dim=8)
    >>> x = tf.ones((2, 10, 32))
    >>> layer(x, x, use_causal_mask=True).shape
    (2, 10, 32)
    """

    casts_to_float = True
    input_rank, input_format = (3, 3), "(batch, time, features)"

    def __init__(self, num_heads: int, key_dim: int, value_dim: int | None = None,
                 dropout: float = 0.0, use_bias: bool = True, output_shape: Any = None,
                 kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_heads = argument_checks.require_int(self.display_name, "num_heads", num_heads)
        self.key_dim = argument_checks.require_int(self.display_name, "key_dim", key_dim)
        self.value_dim = argument_checks.require_int(self.display_name, "value_dim", value_dim or key_dim)
        self.dropout = argument_checks.require_fraction(self.display_name, "dropout", dropout)
        self.use_bias, self.seed = use_bias, seed
        self.output_shape = (output_shape,) if isinstance(output_shape, int) else output_shape
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.query_dense = self._heads("query", 1, (num_heads, key_dim))
        self.key_dense = self._heads("key", 1, (num_heads, key_dim))
        self.value_dense = self._heads("value", 1, (num_heads, self.value_dim))
        self.output_dense: Any = None          # its size is that of the queries
        self.drop = Dropout(dropout, seed=seed, dtype=self.dtype_policy) if dropout else None

    def _heads(self, name: str, summed: int, sizes: tuple[int, ...]) -> _Heads:
        return _Heads(summed, sizes, self.use_bias, self.kernel_initializer, self.bias_initializer,
                      name=name, dtype=self.dtype_policy)

    def build(self, input_shape: Any = None) -> None:
        features = self.checked_input_shape(input_shape)[-1]
        self.output_dense = self._heads("attention_output", 2, self.output_shape or (features,))
        self.query_dense.build(input_shape)
        self.output_dense.build((self.num_heads, self.value_dim))

    def call(self, query: tf.Tensor, value: Any, key: Any = None, query_mask: Any = None,
             value_mask: Any = None, key_mask: Any = None, attention_mask: Any = None,
             return_attention_scores: bool = False, training: bool = False,
             use_causal_mask: bool = False) -> Any:
        value = self.to_compute_dtype(value)
        key = value if key is None else self.to_compute_dtype(key)
        q, k, v = self.query_dense(query), self.key_dense(key), self.value_dense(value)
        mask = _joined(attention_mask, query_mask, value_mask, key_mask)
        scale, drops = self.key_dim ** -0.5, self.drop is not None and training
        if drops or return_attention_scores:
            drop = self.drop if drops else None
            out, scores = attention_unfused(q, k, v, None, mask, use_causal_mask, scale, drop=drop)
        else:
            masks = () if mask is None else (mask,)
            out, scores = attention(q, k, v, *masks, scale=scale, causal=bool(use_causal_mask))
        out = self.output_dense(out)
        return (out, scores) if return_attention_scores else out

    def compute_output_shape(self, query_shape: Any, value_shape: Any = None,
                             key_shape: Any = None) -> Shape:
        shape = self.checked_input_shape(query_shape)
        return (*shape[:-1], *(self.output_shape or shape[-1:]))


class Attention(Layer):
    """Attention without weights of its own (Luong et al., 2015, arXiv:1508.04025): of the list
    [query (batch, t_q, d), value (batch, t_k, d_v), key (batch, t_k, d)], where the key may be left
    out. With `use_scale` the scores are multiplied by a number that is learnt.

    `mask` is a list of two: queries whose result is set to 0, and values that nobody sees.

    >>> x = tf.ones((2, 5, 8))
    >>> tf.keras.layers.Attention()([x, x]).shape
    (2, 5, 8)
    """

    casts_to_float = True
    input_rank, input_format = (3, 3), "(batch, time, features)"

    def __init__(self, use_scale: bool = False, dropout: float = 0.0, seed: int | None = None,
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.use_scale, self.seed = use_scale, seed
        self.dropout = argument_checks.require_fraction(self.display_name, "dropout", dropout)
        self.drop = Dropout(dropout, seed=seed, dtype=self.dtype_policy) if dropout else None

    def prepare_input(self, x: Any) -> Any:
        if not isinstance(x, list | tuple) or len(x) not in (2, 3):
            raise self.error("it was not called on a list of two or three tensors",
                               "pass [query, value] or [query, value, key]")
        return [super(Attention, self).prepare_input(each) for each in x]

    def build(self, input_shape: Any = None) -> None:
        self.scale = self.add_weight((), "ones", name="scale") if self.use_scale else None

    def call(self, inputs: Any, mask: Any = None, training: bool = False,
             return_attention_scores: bool = False, use_causal_mask: bool = False) -> Any:
        q, v, *rest = (tf.expand_dims(x, 2) for x in inputs)
        k = rest[0] if rest else v
        q = q if self.scale is None else q * self.scale
        of_query, of_value = mask or (None, None)
        mask = _joined(None, None, of_value, None)
        drop = self.drop if training else None
        if drop is not None or return_attention_scores:
            out, scores = attention_unfused(q, k, v, None, mask, use_causal_mask, 1.0, drop=drop)
        else:
            masks = () if mask is None else (mask,)
            out, scores = attention(q, k, v, *masks, scale=1.0, causal=bool(use_causal_mask))
        out = tf.reshape(out, (*out.shape[:2], out.shape[3]))
        if of_query is not None:
            out = out * tf.cast(tf.convert_to_tensor(of_query), out.dtype)[:, :, None]
        return (out, tf.reshape(scores, (scores.shape[0], *scores.shape[2:]))) \
            if return_attention_scores else out

    def compute_output_shape(self, input_shape: Any) -> Shape:
        query, value = input_shape[:2]
        return (*query[:-1], value[-1])


def _joined(scores: Any, query: Any, *values: Any) -> tf.Tensor | None:
    """One mask of four axes, (batch, heads, t_q, t_k) or 1, of those for scores, for queries
    (batch, t_q) and for values and keys (batch, t_k)."""
    masks = [] if scores is None else [_of_scores(_truth(scores))]
    masks += [] if query is None else [_truth(query)[:, None, :, None]]
    masks += [_truth(of)[:, None, None, :] for of in values if of is not None]
    joined = masks.pop() if masks else None
    for each in masks:
        joined = tf.math.logical_and(joined, each)
    return joined


def _of_scores(mask: tf.Tensor) -> tf.Tensor:
    """With an axis for the heads, and one for the batch if that is missing."""
    mask = mask if mask.ndim == 4 else tf.expand_dims(mask, -3)
    return tf.expand_dims(mask, 0) if mask.ndim == 3 else mask


def _truth(mask: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(mask), tf.bool)
