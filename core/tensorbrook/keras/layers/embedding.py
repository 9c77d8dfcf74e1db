"""Embedding layer: a trainable vector for each integer."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from .. import argument_checks, initializers
from .layer import Layer, Shape


class Embedding(Layer):
    """Looks up the rows of a trainable table (input_dim, output_dim) by index.

    Input (batch, ...) of integers in [0, input_dim), output (batch, ..., output_dim); an index
    outside of the range gives zeros. `weights` sets the table. Raises InvalidArgumentError for
    `mask_zero=True`, which is not supported.

    >>> tf.keras.layers.Embedding(1000, 64)(tf.constant([[4, 7, 1]])).shape
    (1, 3, 64)
    """

    input_rank, input_format = (1, None), "(batch, ...) of integers"
    autocast = False  # float16 cannot represent large indices; only the result is cast

    def __init__(self, input_dim: int, output_dim: int, embeddings_initializer: Any = "uniform",
                 mask_zero: bool = False, weights: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.input_dim = argument_checks.require_int(self.display_name, "input_dim", input_dim)
        self.output_dim = argument_checks.require_int(self.display_name, "output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        if mask_zero:
            raise self.error("mask_zero is True, but layers do not propagate masks",
                             "omit it, and pass a mask to the attention layer: tokens != 0")
        self.mask_zero = mask_zero
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, list | tuple) else [weights])

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = self.add_weight((self.input_dim, self.output_dim),
                                          self.embeddings_initializer, name="embeddings")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        rows = tf.nn.embedding_lookup(self.embeddings, tf.cast(x, tf.int32))
        return tf.cast(rows, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return (*self.checked_input_shape(input_shape), self.output_dim)

    def get_config(self) -> dict[str, Any]:
        return {k: v for k, v in super().get_config().items() if k != "weights"}
