"""Layers that give the same numbers another shape."""

from __future__ import annotations

from math import prod
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from .. import argument_checks
from .layer import Layer, Shape


class Flatten(Layer):
    """All numbers of a sample in one row."""

    input_rank, input_format = (1, None), "(batch, ...)"

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = self.check_data_format(data_format)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (x.shape[0], prod(x.shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *rest = self.checked_input_shape(input_shape)
        known = [n for n in rest if n is not None]
        return (batch, prod(known) if len(known) == len(rest) else None)


class Reshape(Layer):
    """The numbers of a sample under another shape; one size may be -1."""

    input_rank, input_format = (1, None), "(batch, ...)"

    def __init__(self, target_shape: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = shapes.as_shape(self.display_name, target_shape, minimum=-1)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (x.shape[0], *self.resolved_target_shape(x.shape)))

    def resolved_target_shape(self, shape: Shape) -> tuple[int, ...]:
        """The target shape without -1, for inputs of that shape."""
        count = prod(n or 1 for n in shape[1:])
        try:
            return shapes.infer_reshape(self.display_name, self.target_shape, count)
        except InvalidArgumentError:
            raise self.error(
                f"{count} numbers of an input {tuple(shape)} do not fill {self.target_shape}",
                "the sizes must multiply to as many") from None

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.checked_input_shape(input_shape)
        if None in shape[1:]:
            return (shape[0], *(None if n == -1 else n for n in self.target_shape))
        return (shape[0], *self.resolved_target_shape(shape))


class Permute(Layer):
    """The axes of a sample in another order, counted from 1: `Permute((2, 1))`."""

    input_rank, input_format = (2, None), "(batch, ...)"

    def __init__(self, dims: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise self.error(f"dims is {dims!r}", "it takes each number from 1 on once: (2, 1)")

    def checked_input_shape(self, shape: Any) -> Shape:
        shape = super().checked_input_shape(shape)
        if len(shape) != len(self.dims) + 1:
            raise self.error(f"the input has shape {shape} and dims is {self.dims}",
                               f"it takes {len(self.dims)} axes after the batch")
        return shape

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.transpose(x, (0, *self.dims))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.checked_input_shape(input_shape)
        return (shape[0], *(shape[i] for i in self.dims))


class RepeatVector(Layer):
    """Each sample's row `n` times: (batch, features) becomes (batch, n, features)."""

    input_rank, input_format = (2, 2), "(batch, features)"

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = argument_checks.require_int(self.display_name, "n", n)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.tile(x[:, None], (1, self.n, 1))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, features = self.checked_input_shape(input_shape)
        return (batch, self.n, features)
