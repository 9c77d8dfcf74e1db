"""Layers that give the same numbers another shape."""

from __future__ import annotations

from math import prod
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from .. import checks
from .layer import Layer, Shape


class Flatten(Layer):
    """All numbers of a sample in one row."""

    ranks, expects = (1, None), "(batch, ...)"

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = checks.one_of(self.label, "data_format", data_format or "channels_last",
                                         ("channels_last",))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (x.shape[0], prod(x.shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *rest = self.fitting(input_shape)
        known = [n for n in rest if n is not None]
        return (batch, prod(known) if len(known) == len(rest) else None)


class Reshape(Layer):
    """The numbers of a sample under another shape; one size may be -1."""

    ranks, expects = (1, None), "(batch, ...)"

    def __init__(self, target_shape: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = shapes.as_shape(self.label, target_shape, least=-1)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (x.shape[0], *self.filled(x.shape)))

    def filled(self, shape: Shape) -> tuple[int, ...]:
        """The target shape without -1, for inputs of that shape."""
        count = prod(n or 1 for n in shape[1:])
        try:
            return shapes.filled_in(self.label, self.target_shape, count)
        except InvalidArgumentError:
            raise self.refusal(
                f"{count} numbers of an input {tuple(shape)} do not fill {self.target_shape}",
                "the sizes must multiply to as many") from None

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.fitting(input_shape)
        if None in shape[1:]:
            return (shape[0], *(None if n == -1 else n for n in self.target_shape))
        return (shape[0], *self.filled(shape))
