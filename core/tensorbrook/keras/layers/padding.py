"""Padding, cropping and upsampling of images (batch, height, width, channels)."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from ...base.errors import InvalidArgumentError
from .. import argument_checks
from .conv2d import IMAGE_FORMAT
from .layer import Layer, Shape

Border = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))


class _BorderLayer(Layer):
    """Base class of padding and cropping, with a border on each side of the image."""

    input_rank, input_format = (4, 4), IMAGE_FORMAT
    border_argument = ""  # the constructor's name of the border

    def set_arguments(self, border: Any, data_format: str | None) -> None:
        """Check and set the arguments that both layers have."""
        self.data_format = self.check_data_format(data_format)
        self.border = self.parse_border(border)

    def parse_border(self, border: Any) -> Border:
        """The border from an integer, a pair (rows, columns), or ((top, bottom), (left, right))."""
        pair = (border, border) if hasattr(border, "__index__") else border
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise self._border_error(border)
        rows, columns = ((n, n) if hasattr(n, "__index__") else tuple(n) for n in pair)
        if len(rows) != 2 or len(columns) != 2:
            raise self._border_error(border)
        top, bottom, left, right = (
            argument_checks.require_int(self.display_name, self.border_argument, n, minimum=0)
            for n in (*rows, *columns))
        return (top, bottom), (left, right)

    def _border_error(self, border: Any) -> InvalidArgumentError:
        return self.error(f"{self.border_argument} is {border!r}",
                          "it must be an integer, a pair, or ((top, bottom), (left, right))")


class ZeroPadding2D(_BorderLayer):
    """Adds rows and columns of zeros: `ZeroPadding2D(1)`, or `((top, bottom), (left, right))`.

    >>> tf.keras.layers.ZeroPadding2D(((0, 1), (0, 1)))(tf.zeros((1, 4, 4, 3))).shape
    (1, 5, 5, 3)
    """

    border_argument = "padding"

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
    """Removes rows and columns: `Cropping2D(1)`, or `((top, bottom), (left, right))`.

    Raises InvalidArgumentError if nothing remains of the image.
    """

    border_argument = "cropping"

    def __init__(self, cropping: Any = (0, 0), data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.set_arguments(cropping, data_format)
        self.cropping = self.border

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.compute_output_shape(x.shape)
        (top, bottom), (left, right) = self.border
        return x[:, top:x.shape[1] - bottom, left:x.shape[2] - right]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *sizes, channels = self.checked_input_shape(input_shape)
        remaining = [None if n is None else n - sum(s) for n, s in zip(sizes, self.border)]
        if any(n is not None and n < 1 for n in remaining):
            raise self.error(f"the input has shape {tuple(input_shape)}, cropping is "
                             f"{self.border}, and no pixel remains", "crop less")
        return (batch, *remaining, channels)


class UpSampling2D(Layer):
    """Repeats each pixel `size` times along rows and columns (nearest-neighbour interpolation).

    Input (batch, height, width, channels), output (batch, height * rows, width * columns,
    channels); `size` is an integer or a pair (rows, columns).
    """

    input_rank, input_format = (4, 4), IMAGE_FORMAT

    def __init__(self, size: Any = (2, 2), data_format: str | None = None,
                 interpolation: str = "nearest", **kwargs: Any):
        super().__init__(**kwargs)
        self.size = argument_checks.require_pair(self.display_name, "size", size)
        self.data_format = self.check_data_format(data_format)
        self.interpolation = argument_checks.require_choice(
            self.display_name, "interpolation", interpolation, ("nearest",))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        (batch, height, width, channels), (rows, columns) = x.shape, self.size
        out = tf.reshape(x, (batch, height, 1, width, 1, channels))
        out = tf.broadcast_to(out, (batch, height, rows, width, columns, channels))
        return tf.reshape(out, (batch, height * rows, width * columns, channels))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *sizes, channels = self.checked_input_shape(input_shape)
        return (batch, *(None if n is None else n * k for n, k in zip(sizes, self.size)), channels)
