"""Embedding: a row of numbers for each whole number."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from .. import argument_checks, initializers
from .layer import Layer, Shape


class Embedding(Layer):
    """The row of a learnt table that each whole number names: (batch, ...) becomes
    (batch, ..., output_dim). A number outside of the table gives zeros.

    >>> tf.keras.layers.Embedding(1000, 64)(tf.constant([[4, 7, 1]])).shape
    (1, 3, 64)
    """

    input_rank, input_format = (1, None), "(batch, ...) of whole numbers"
    autocast = False  # float16 would not hold the numbers; and of the table only what is looked up

    def __init__(self, input_dim: int, output_dim: int, embeddings_initializer: Any = "uniform",
                 mask_zero: bool = False, weights: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.input_dim = argument_checks.require_int(self.display_name, "input_dim", input_dim)
        self.output_dim = argument_checks.require_int(self.display_name, "output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        if mask_zero:
            raise self.error("mask_zero is True, and layers pass no masks on",
                               "leave it out, and give attention a mask: tokens != 0")
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
