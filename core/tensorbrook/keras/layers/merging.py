"""Merging layers: combine several tensors into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from .layer import Layer, Shape


class _Merge(Layer):
    """Base class of layers that are called on a list of tensors: `Add()([x, y])`."""

    min_inputs = 2

    def prepare_input(self, x: Any) -> list[Any]:
        if not isinstance(x, list | tuple) or len(x) < self.min_inputs:
            raise self.error(
                f"the input is a list of {len(x)}" if isinstance(x, list | tuple) else
                f"the input is one tensor of shape {tuple(x.shape)}" if hasattr(x, "shape") else
                f"the input is {x!r}",
                f"it must be a list of at least {self.min_inputs} tensors, such as [x, y]")
        return [super(_Merge, self).prepare_input(tensor) for tensor in x]

    def as_shape_list(self, input_shape: Any) -> list[Shape]:
        """The input's shapes as tuples."""
        if not input_shape or not all(isinstance(s, list | tuple) for s in input_shape):
            raise self.error(f"the input shape is {input_shape}",
                             "it must be a list of shapes, one for each input")
        return [tuple(s) for s in input_shape]


class _Elementwise(_Merge):
    """Base class of elementwise merging layers; axes of size 1 are broadcast.

    Raises InvalidArgumentError unless the inputs have the same rank and their shapes broadcast.
    """

    def merge(self, tensors: list[Any]) -> Any:
        raise NotImplementedError

    def call(self, x: list[Any]) -> Any:
        self.compute_output_shape([t.shape for t in x])
        return self.merge(x)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        input_shapes = self.as_shape_list(input_shape)
        # -1 is an unknown size, which broadcasts only with another unknown size and with 1.
        known = [tuple(-1 if n is None else n for n in s) for s in input_shapes]
        if len(set(map(len, known))) > 1:
            raise self.error(f"the inputs have shapes {', '.join(map(str, input_shapes))}",
                             "they must have the same rank")
        try:
            out = shapes.broadcast(self.display_name, *known)
        except InvalidArgumentError:
            raise self.error(f"the inputs have shapes {', '.join(map(str, input_shapes))}",
                             "along each axis the sizes must be equal or 1") from None
        return tuple(None if n == -1 else n for n in out)


class Add(_Elementwise):
    """The sum of the inputs, as of a residual connection.

    >>> x = tf.ones((2, 3))
    >>> tf.keras.layers.Add()([x, x]).shape
    (2, 3)
    """

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.add, tensors)


class Multiply(_Elementwise):
    """The elementwise product of the inputs."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.multiply, tensors)


class Maximum(_Elementwise):
    """The elementwise maximum of the inputs."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.maximum, tensors)


class Minimum(_Elementwise):
    """The elementwise minimum of the inputs."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.minimum, tensors)


class Average(_Elementwise):
    """The elementwise mean of the inputs."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.add, tensors) * (1.0 / len(tensors))


class Subtract(_Elementwise):
    """The first of two inputs minus the second."""

    def merge(self, tensors: list[Any]) -> Any:
        if len(tensors) != 2:
            raise self.error(f"the input is a list of {len(tensors)}",
                             "it must be two tensors: [x, y]")
        return tensors[0] - tensors[1]


def _reduce_pairwise(function: Callable, tensors: list[Any]) -> Any:
    out = tensors[0]
    for t in tensors[1:]:
        out = function(out, t)
    return out


class Concatenate(_Merge):
    """Concatenates the inputs along `axis`.

    Raises InvalidArgumentError if the shapes differ along another axis.
    """

    min_inputs = 1

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, x: list[Any]) -> Any:
        self.compute_output_shape([t.shape for t in x])
        return tf.concat(x, self.axis)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        input_shapes = self.as_shape_list(input_shape)
        first = input_shapes[0]
        axis = shapes.normalize_axis(self.display_name, self.axis, len(first))
        other_sizes = {tuple(n for i, n in enumerate(s) if i != axis) for s in input_shapes}
        if len({len(s) for s in input_shapes}) > 1 or len(other_sizes) > 1:
            raise self.error(f"the inputs have shapes {', '.join(map(str, input_shapes))}",
                             f"they may differ along axis {self.axis} only")
        sizes = [s[axis] for s in input_shapes]
        total = None if None in sizes else sum(n for n in sizes if n is not None)
        return (*first[:axis], total, *first[axis + 1:])


def add(inputs: Any) -> Any:
    """The sum of a list of tensors."""
    return Add()(inputs)


def subtract(inputs: Any) -> Any:
    """The first of two tensors minus the second."""
    return Subtract()(inputs)


def multiply(inputs: Any) -> Any:
    """The elementwise product of a list of tensors."""
    return Multiply()(inputs)


def average(inputs: Any) -> Any:
    """The elementwise mean of a list of tensors."""
    return Average()(inputs)


def maximum(inputs: Any) -> Any:
    """The elementwise maximum of a list of tensors."""
    return Maximum()(inputs)


def minimum(inputs: Any) -> Any:
    """The elementwise minimum of a list of tensors."""
    return Minimum()(inputs)


def concatenate(inputs: Any, axis: int = -1) -> Any:
    """Concatenate a list of tensors along an axis."""
    return Concatenate(axis)(inputs)
