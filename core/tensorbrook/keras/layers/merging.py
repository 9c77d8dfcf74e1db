"""Layers that make one tensor of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from .layer import Layer, Shape


class _Merge(Layer):
    """Takes a list of tensors, as `Add()([x, y])`, or as `add([x, y])`."""

    least = 2

    def prepare_input(self, x: Any) -> list[Any]:
        if not isinstance(x, list | tuple) or len(x) < self.least:
            raise self.error(
                f"the input is {len(x)} tensor(s)" if isinstance(x, list | tuple) else
                f"the input is one tensor of shape {tuple(x.shape)}" if hasattr(x, "shape") else
                f"the input is {x!r}", f"it takes a list of {self.least} or more: [x, y]")
        return [super(_Merge, self).prepare_input(each) for each in x]

    def as_shape_list(self, input_shape: Any) -> list[Shape]:
        """The input's shapes as tuples."""
        if not input_shape or not all(isinstance(s, list | tuple) for s in input_shape):
            raise self.error(f"the input has shape {input_shape}",
                               "it takes a list of tensors, so give a list of shapes")
        return [tuple(s) for s in input_shape]


class _Elementwise(_Merge):
    """Element by element; sizes of 1 stretch."""

    def merge(self, tensors: list[Any]) -> Any:
        raise NotImplementedError

    def call(self, x: list[Any]) -> Any:
        self.compute_output_shape([t.shape for t in x])
        return self.merge(x)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        given = self.as_shape_list(input_shape)
        # An unknown size takes part as -1, which only stretches from 1 and agrees with itself.
        known = [tuple(-1 if n is None else n for n in s) for s in given]
        if len(set(map(len, known))) > 1:
            raise self.error(f"the inputs have shapes {', '.join(map(str, given))}",
                               "they must have as many axes each")
        try:
            whole = shapes.broadcast(self.display_name, *known)
        except InvalidArgumentError:
            raise self.error(f"the inputs have shapes {', '.join(map(str, given))}",
                               "along each axis they must have one size, or 1") from None
        return tuple(None if n == -1 else n for n in whole)


class Add(_Elementwise):
    """The sum of the tensors: a shortcut past other layers."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.add, tensors)


class Multiply(_Elementwise):
    """The product of the tensors."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.multiply, tensors)


class Maximum(_Elementwise):
    """The largest number at each place."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.maximum, tensors)


class Minimum(_Elementwise):
    """The smallest number at each place."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.minimum, tensors)


class Average(_Elementwise):
    """The mean of the tensors."""

    def merge(self, tensors: list[Any]) -> Any:
        return _reduce_pairwise(tf.add, tensors) * (1.0 / len(tensors))


class Subtract(_Elementwise):
    """The first of two tensors less the second."""

    def merge(self, tensors: list[Any]) -> Any:
        if len(tensors) != 2:
            raise self.error(f"{len(tensors)} tensors came", "it takes two: [x, y]")
        return tensors[0] - tensors[1]


def _reduce_pairwise(fold: Callable, tensors: list[Any]) -> Any:
    out = tensors[0]
    for t in tensors[1:]:
        out = fold(out, t)
    return out


class Concatenate(_Merge):
    """The tensors one after the other along an axis."""

    least = 1

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, x: list[Any]) -> Any:
        self.compute_output_shape([t.shape for t in x])
        return tf.concat(x, self.axis)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        given = self.as_shape_list(input_shape)
        axis = shapes.normalize_axis(self.display_name, self.axis, len(given[0]))
        beside = {tuple(n for i, n in enumerate(s) if i != axis) for s in given}
        if len({len(s) for s in given}) > 1 or len(beside) > 1:
            raise self.error(f"the inputs have shapes {', '.join(map(str, given))}",
                               f"they may differ along axis {self.axis} only")
        sizes = [s[axis] for s in given]
        whole = None if None in sizes else sum(n for n in sizes if n is not None)
        return (*given[0][:axis], whole, *given[0][axis + 1:])


def add(inputs: Any) -> Any:
    return Add()(inputs)


def subtract(inputs: Any) -> Any:
    return Subtract()(inputs)


def multiply(inputs: Any) -> Any:
    return Multiply()(inputs)


def average(inputs: Any) -> Any:
    return Average()(inputs)


def maximum(inputs: Any) -> Any:
    return Maximum()(inputs)


def minimum(inputs: Any) -> Any:
    return Minimum()(inputs)


def concatenate(inputs: Any, axis: int = -1) -> Any:
    return Concatenate(axis)(inputs)
