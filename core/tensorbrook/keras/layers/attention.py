"""Attention layers: MultiHeadAttention, and Attention without projections."""

from __future__ import annotations

from math import prod
from typing import Any

import tensorbrook as tf

from ...ops.attention import attention, attention_unfused
from .. import argument_checks, initializers
from .core import Dropout
from .layer import Layer, Shape


class _HeadProjection(Layer):
    """Dense over several axes: contracts the last axes of the input with a kernel, adds a bias.

    Equivalent to Keras's EinsumDense in MultiHeadAttention, with the same weight names and shapes.
    """

    casts_to_float = True

    def __init__(self, num_contracted: int, output_sizes: tuple[int, ...], use_bias: bool,
                 kernel_initializer: Any, bias_initializer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_contracted, self.output_sizes = num_contracted, output_sizes
        self.use_bias = use_bias
        self.kernel_initializer, self.bias_initializer = kernel_initializer, bias_initializer

    def build(self, input_shape: Any = None) -> None:
        shape = (*tuple(input_shape)[-self.num_contracted:], *self.output_sizes)
        self.kernel = self.add_weight(shape, self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(self.output_sizes, self.bias_initializer, name="bias") \
            if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        shape, n = tuple(x.shape), self.num_contracted
        batch, contracted = shape[:-n], shape[-n:]
        if contracted != tuple(self.kernel.shape)[:n]:
            raise self.error(f"the input has shape {shape}",
                             f"the layer was built for {self.kernel.shape[0]} features")
        units = prod(self.output_sizes)
        kernel = tf.reshape(self.kernel, (prod(contracted), units))
        out = tf.matmul(tf.reshape(x, (*batch, prod(contracted))), kernel)
        out = out if self.bias is None else out + tf.reshape(self.bias, (units,))
        return tf.reshape(out, (*batch, *self.output_sizes))


class MultiHeadAttention(Layer):
    """Multi-head attention (Vaswani et al., 2017, arXiv:1706.03762).

    Called as `layer(query, value, key=value)` on (batch, t_q, features) and (batch, t_k, features);
    the result is (batch, t_q, features), or ends in `output_shape`. `attention_mask` (batch, t_q,
    t_k) or (batch, heads, t_q, t_k) is True where a query attends to a key; with `use_causal_mask`
    a query attends to no later position. The matrix of scores is not stored, except for dropout in
    training and for `return_attention_scores`, which returns (output, scores). Raises
    InvalidArgumentError for inputs that are not of rank 3.

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
        self.value_dim = argument_checks.require_int(
            self.display_name, "value_dim", value_dim or key_dim)
        self.dropout = argument_checks.require_fraction(self.display_name, "dropout", dropout)
        self.use_bias, self.seed = use_bias, seed
        self.output_shape = (output_shape,) if isinstance(output_shape, int) else output_shape
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.query_dense = self._projection("query", 1, (num_heads, key_dim))
        self.key_dense = self._projection("key", 1, (num_heads, key_dim))
        self.value_dense = self._projection("value", 1, (num_heads, self.value_dim))
        self.output_dense: Any = None  # created by `build`: by default it has the query's features
        self.dropout_layer = \
            Dropout(dropout, seed=seed, dtype=self.dtype_policy) if dropout else None

    def _projection(self, name: str, num_contracted: int,
                    output_sizes: tuple[int, ...]) -> _HeadProjection:
        return _HeadProjection(
            num_contracted, output_sizes, self.use_bias, self.kernel_initializer,
            self.bias_initializer, name=name, dtype=self.dtype_policy)

    def build(self, input_shape: Any = None) -> None:
        features = self.checked_input_shape(input_shape)[-1]
        self.output_dense = self._projection(
            "attention_output", 2, self.output_shape or (features,))
        self.query_dense.build(input_shape)
        self.output_dense.build((self.num_heads, self.value_dim))

    def call(self, query: tf.Tensor, value: Any, key: Any = None, query_mask: Any = None,
             value_mask: Any = None, key_mask: Any = None, attention_mask: Any = None,
             return_attention_scores: bool = False, training: bool = False,
             use_causal_mask: bool = False) -> Any:
        value = self.to_compute_dtype(value)
        key = value if key is None else self.to_compute_dtype(key)
        q, k, v = self.query_dense(query), self.key_dense(key), self.value_dense(value)
        mask = _combine_masks(attention_mask, query_mask, value_mask, key_mask)
        scale, drop = self.key_dim ** -0.5, self.dropout_layer if training else None
        if drop is not None or return_attention_scores:
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
    """Dot-product attention without projections (Luong et al., 2015, arXiv:1508.04025).

    Called on a list [query (batch, t_q, d), value (batch, t_k, d_v), key (batch, t_k, d)]; the key
    is the value by default. The result is (batch, t_q, d_v). With `use_scale` the scores are
    multiplied by a trainable scalar. `mask` is a list of two: (batch, t_q), False for queries whose
    result is set to 0, and (batch, t_k), False for values that are ignored; either may be None.
    Raises InvalidArgumentError unless it is called on two or three tensors of rank 3.

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
        self.dropout_layer = \
            Dropout(dropout, seed=seed, dtype=self.dtype_policy) if dropout else None

    def prepare_input(self, x: Any) -> Any:
        if not isinstance(x, list | tuple) or len(x) not in (2, 3):
            raise self.error("it was not called on a list of two or three tensors",
                             "pass [query, value] or [query, value, key]")
        return [super(Attention, self).prepare_input(tensor) for tensor in x]

    def build(self, input_shape: Any = None) -> None:
        self.scale = self.add_weight((), "ones", name="scale") if self.use_scale else None

    def call(self, inputs: Any, mask: Any = None, training: bool = False,
             return_attention_scores: bool = False, use_causal_mask: bool = False) -> Any:
        q, v, *keys = (tf.expand_dims(x, 2) for x in inputs)
        k = keys[0] if keys else v
        q = q if self.scale is None else q * self.scale
        query_mask, value_mask = mask or (None, None)
        mask = _combine_masks(None, None, value_mask, None)
        drop = self.dropout_layer if training else None
        if drop is not None or return_attention_scores:
            out, scores = attention_unfused(q, k, v, None, mask, use_causal_mask, 1.0, drop=drop)
        else:
            masks = () if mask is None else (mask,)
            out, scores = attention(q, k, v, *masks, scale=1.0, causal=bool(use_causal_mask))
        out = tf.reshape(out, (*out.shape[:2], out.shape[3]))
        if query_mask is not None:
            out = out * tf.cast(tf.convert_to_tensor(query_mask), out.dtype)[:, :, None]
        return (out, tf.reshape(scores, (scores.shape[0], *scores.shape[2:]))) \
            if return_attention_scores else out

    def compute_output_shape(self, input_shape: Any) -> Shape:
        query, value = input_shape[:2]
        return (*query[:-1], value[-1])


def _combine_masks(score_mask: Any, query_mask: Any, *key_masks: Any) -> tf.Tensor | None:
    """The conjunction of masks of scores, queries (batch, t_q), and values or keys (batch, t_k).

    It has rank 4 and broadcasts to (batch, heads, t_q, t_k); None if there is no mask.
    """
    masks = [] if score_mask is None else [_add_mask_axes(_to_bool(score_mask))]
    masks += [] if query_mask is None else [_to_bool(query_mask)[:, None, :, None]]
    masks += [_to_bool(mask)[:, None, None, :] for mask in key_masks if mask is not None]
    combined = masks.pop() if masks else None
    for mask in masks:
        combined = tf.math.logical_and(combined, mask)
    return combined


def _add_mask_axes(mask: tf.Tensor) -> tf.Tensor:
    """Add the axis of the heads and, if it is missing, the axis of the batch."""
    mask = mask if mask.ndim == 4 else tf.expand_dims(mask, -3)
    return tf.expand_dims(mask, 0) if mask.ndim == 3 else mask


def _to_bool(mask: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(mask), tf.bool)
