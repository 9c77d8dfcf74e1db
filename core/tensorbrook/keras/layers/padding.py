"""Layers that add a border to images, cut one off, or enlarge them."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from .. import argument_checks
from .layer import Layer, Shape
from .conv2d import IMAGE_FORMAT

Sides = tuple[tuple[int, int], tuple[int, int]]


class _BorderLayer(Layer):
    """What padding and cropping share: numbers of rows and columns on each side."""

    input_rank, input_format = (4, 4), IMAGE_FORMAT
    name_of_sides = ""

    def set_arguments(self, sides: Any, data_format: str | None) -> None:
        """Keep the arguments that both have."""
        self.data_format = self.check_data_format(data_format)
        self.border = self.parse_border(sides)

    def parse_border(self, sides: Any) -> Sides:
        """((above, below), (left, right)) of one number, of one for rows and one for columns, or of
        two for each."""
        both = (sides, sides) if hasattr(sides, "__index__") else sides
        if not isinstance(both, tuple | list) or len(both) != 2:
            raise self.error(f"{self.name_of_sides} is {sides!r}",
                               "it takes a number, two of them, or ((above, below), (left, right))")
        rows, columns = ((n, n) if hasattr(n, "__index__") else tuple(n) for n in both)
        if len(rows) != 2 or len(columns) != 2:
            raise self.error(f"{self.name_of_sides} is {sides!r}",
                               "it takes a number, two of them, or ((above, below), (left, right))")
        above, below, left, right = (argument_checks.require_int(self.display_name, self.name_of_sides, n, least=0)
                                     for n in (*rows, *columns))
        return (above, below), (left, right)


class ZeroPadding2D(_BorderLayer):
    """Rows and columns of zeros around images: `ZeroPadding2D(1)`, or `((0, 1), (0, 1))`."""

    name_of_sides = "padding"

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.set_arguments(padding, data_format)
        self.padding = self.border

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.pad(x, ((0, 0), *self.border, (0, 0)))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *sizes, channels = self.checked_input_shape(input_shape)
        return (batch, *(None if n is None else n + sum(s) for n, s in zip(sizes, self.border)),
                channels)


class Cropping2D(_BorderLayer):
    """Images without some rows and columns of their border."""

    name_of_sides = "cropping"

    def __init__(self, cropping: Any = (0, 0), data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.set_arguments(cropping, data_format)
        self.cropping = self.border

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.compute_output_shape(x.shape)
        (above, below), (left, right) = self.border
        return x[:, above:x.shape[1] - below, left:x.shape[2] - right]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *sizes, channels = self.checked_input_shape(input_shape)
        left = [None if n is None else n - sum(s) for n, s in zip(sizes, self.border)]
        if any(n is not None and n < 1 for n in left):
            raise self.error(f"the input has shape {tuple(input_shape)}, cropping is "
                               f"{self.border}", "nothing would be left; crop less")
        return (batch, *left, channels)


class UpSampling2D(Layer):
    """Each pixel repeated `size` times along rows and columns."""

    input_rank, input_format = (4, 4), IMAGE_FORMAT

    def __init__(self, size: Any = (2, 2), data_format: str | None = None,
                 interpolation: str = "nearest", **kwargs: Any):
        super().__init__(**kwargs)
        self.size = argument_checks.require_pair(self.display_name, "size", size)
        self.data_format = self.check_data_format(data_format)
        self.interpolation = argument_checks.require_choice(self.display_name, "interpolation", interpolation, ("nearest",))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        (batch, rows, columns, channels), (down, across) = x.shape, self.size
        thin = tf.reshape(x, (batch, rows, 1, columns, 1, channels))
        wide = tf.broadcast_to(thin, (batch, rows, down, columns, across, channels))
        return tf.reshape(wide, (batch, rows * down, columns * across, channels))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *sizes, channels = self.checked_input_shape(input_shape)
        return (batch, *(None if n is None else n * k for n, k in zip(sizes, self.size)), channels)
