"""Reshaping layers: Flatten, Reshape, Permute and RepeatVector."""

from __future__ import annotations

from math import prod
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from .. import argument_checks
from .layer import Layer, Shape


class Flatten(Layer):
    """Reshapes each sample to one axis: (batch, ...) to (batch, elements)."""

    input_rank, input_format = (1, None), "(batch, ...)"

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = self.check_data_format(data_format)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (x.shape[0], prod(x.shape[1:])))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *sizes = self.checked_input_shape(input_shape)
        known = [n for n in sizes if n is not None]
        return (batch, prod(known) if len(known) == len(sizes) else None)


class Reshape(Layer):
    """Reshapes each sample to `target_shape`, in which one size may be -1.

    Raises InvalidArgumentError if the number of elements differs.
    """

    input_rank, input_format = (1, None), "(batch, ...)"

    def __init__(self, target_shape: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = shapes.as_shape(self.display_name, target_shape, minimum=-1)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (x.shape[0], *self.resolved_target_shape(x.shape)))

    def resolved_target_shape(self, shape: Shape) -> tuple[int, ...]:
        """The target shape with -1 resolved, for an input shape."""
        count = prod(n or 1 for n in shape[1:])
        try:
            return shapes.infer_reshape(self.display_name, self.target_shape, count)
        except InvalidArgumentError:
            raise self.error(
                f"the input of shape {tuple(shape)} has {count} elements for each sample, which "
                f"do not fill {self.target_shape}",
                f"the product of the sizes must be {count}") from None

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.checked_input_shape(input_shape)
        if None in shape[1:]:
            return (shape[0], *(None if n == -1 else n for n in self.target_shape))
        return (shape[0], *self.resolved_target_shape(shape))


class Permute(Layer):
    """Permutes the axes of each sample, counted from 1: `Permute((2, 1))`.

    Raises InvalidArgumentError unless `dims` is a permutation of 1 to the number of axes.
    """

    input_rank, input_format = (2, None), "(batch, ...)"

    def __init__(self, dims: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise self.error(f"dims is {dims!r}",
                             "it must be a permutation of 1, 2, ..., such as (2, 1)")

    def checked_input_shape(self, shape: Any) -> Shape:
        shape = super().checked_input_shape(shape)
        if len(shape) != len(self.dims) + 1:
            raise self.error(f"the input has shape {shape} and dims is {self.dims}",
                             f"the input must have {len(self.dims)} axes after the batch")
        return shape

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.transpose(x, (0, *self.dims))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.checked_input_shape(input_shape)
        return (shape[0], *(shape[i] for i in self.dims))


class RepeatVector(Layer):
    """Repeats each sample `n` times: (batch, features) to (batch, n, features)."""

    input_rank, input_format = (2, 2), "(batch, features)"

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = argument_checks.require_int(self.display_name, "n", n)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.tile(x[:, None], (1, self.n, 1))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, features = self.checked_input_shape(input_shape)
        return (batch, self.n, features)
