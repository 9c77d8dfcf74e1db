"""2-D convolution and pooling of images (batch, height, width, channels)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from .. import activations, argument_checks, initializers
from .layer import Layer, Shape

IMAGE_FORMAT = ("(batch, height, width, channels); add an axis for a single channel with "
                "x[..., None]")


class Windowed(Layer):
    """Base class of 2-D convolution and pooling."""

    casts_to_float = True
    input_rank, input_format = (4, 4), IMAGE_FORMAT
    dilation_rate = (1, 1)
    strides: tuple[int, int]
    padding: str

    def output_size(self, shape: Shape, window: tuple[int, int]) -> tuple[int | None, ...]:
        """The height and the width of the output for a window size; None where unknown."""
        counts = []
        for n, k, stride, dilation in zip(shape[1:3], window, self.strides, self.dilation_rate):
            try:
                count = None if n is None else shapes.window_output_size(
                    self.display_name, n, k, stride, dilation, self.padding.upper())[0]
            except InvalidArgumentError:
                rows, columns = ((k - 1) * d + 1 for k, d in zip(window, self.dilation_rate))
                raise self.error(
                    f"a window of {rows} x {columns} does not fit into an input of "
                    f"{shape[1]} x {shape[2]}",
                    "use padding=\"same\", a smaller window, or fewer layers before it") from None
            counts.append(count)
        return tuple(counts)


class Conv2D(Windowed):
    """2-D convolution of images: activation(conv(x, kernel) + bias).

    Input (batch, height, width, channels), output (batch, new_height, new_width, filters), kernel
    (rows, columns, channels / groups, filters). `padding` is "valid" or "same"; `kernel_size`,
    `strides` and `dilation_rate` are an integer or a pair (rows, columns). Raises
    InvalidArgumentError unless the sizes are positive integers and the channels and filters divide
    into `groups`.

    >>> tf.keras.layers.Conv2D(16, 3, activation="relu")(tf.zeros((2, 8, 8, 1))).shape
    (2, 6, 6, 16)
    """

    def __init__(self, filters: int, kernel_size: Any, strides: Any = (1, 1),
                 padding: str = "valid", data_format: str | None = None,
                 dilation_rate: Any = (1, 1), groups: int = 1, activation: Any = None,
                 use_bias: bool = True, kernel_initializer: Any = "glorot_uniform",
                 bias_initializer: Any = "zeros", **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = argument_checks.require_int(self.display_name, "filters", filters)
        self.kernel_size = argument_checks.require_pair(
            self.display_name, "kernel_size", kernel_size)
        self.strides = argument_checks.require_pair(self.display_name, "strides", strides)
        self.padding = argument_checks.require_choice(
            self.display_name, "padding", padding, ("valid", "same"))
        self.data_format = self.check_data_format(data_format)
        self.dilation_rate = argument_checks.require_pair(
            self.display_name, "dilation_rate", dilation_rate)
        self.groups = argument_checks.require_int(self.display_name, "groups", groups)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        if self.filters % self.groups:
            raise self.error(f"{self.filters} filters do not divide into {self.groups} groups",
                             f"use a multiple of {self.groups} filters")

    def kernel_shape(self, shape: Shape) -> tuple[int, ...]:
        channels = shape[-1]
        if channels is None or channels % self.groups:
            raise self.error(f"the input has shape {shape}, and groups is {self.groups}",
                             "the channels must be a known multiple of the number of groups")
        return (*self.kernel_size, channels // self.groups, self.filters)

    def build(self, input_shape: Any = None) -> None:
        shape = self.checked_input_shape(input_shape)
        self.output_size(shape, self.kernel_size)
        self.channels = shape[-1]
        self.kernel = self.add_weight(self.kernel_shape(shape), self.kernel_initializer,
                                      name="kernel")
        self.bias = self.add_weight((self.filters,), self.bias_initializer, name="bias") \
            if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if x.shape[-1] != self.channels:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                             f"the layer was built for {self.channels} channels in the last axis")
        self.output_size(x.shape, self.kernel_size)
        out = tf.nn.conv2d(x, self.kernel, self.strides, self.padding.upper(), self.dilation_rate)
        return self.activation(out + self.bias if self.use_bias else out)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.checked_input_shape(input_shape)
        self.kernel_shape(shape)
        return (shape[0], *self.output_size(shape, self.kernel_size), self.filters)


class _Pooling2D(Windowed):
    """Base class of 2-D pooling: (batch, height, width, channels) to fewer rows and columns."""

    pool: Callable

    def __init__(self, pool_size: Any = (2, 2), strides: Any = None, padding: str = "valid",
                 data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = argument_checks.require_pair(self.display_name, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None \
            else argument_checks.require_pair(self.display_name, "strides", strides)
        self.padding = argument_checks.require_choice(
            self.display_name, "padding", padding, ("valid", "same"))
        self.data_format = self.check_data_format(data_format)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.output_size(x.shape, self.pool_size)
        return type(self).pool(x, self.pool_size, self.strides, self.padding.upper())

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.checked_input_shape(input_shape)
        return (shape[0], *self.output_size(shape, self.pool_size), shape[-1])


class MaxPooling2D(_Pooling2D):
    """The maximum of each window; the stride is `pool_size` by default.

    >>> tf.keras.layers.MaxPooling2D(2)(tf.zeros((1, 8, 8, 3))).shape
    (1, 4, 4, 3)
    """

    pool = staticmethod(tf.nn.max_pool2d)


class AveragePooling2D(_Pooling2D):
    """The mean of each window without its padding; the stride is `pool_size` by default."""

    pool = staticmethod(tf.nn.avg_pool2d)


class GlobalPooling(Layer):
    """Base class of global pooling: reduces all axes but the batch and the channels."""

    casts_to_float = True
    reduce: Callable

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = self.check_data_format(data_format)
        self.keepdims = keepdims

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return type(self).reduce(x, tuple(range(1, x.ndim - 1)), self.keepdims)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *reduced, channels = self.checked_input_shape(input_shape)
        return (batch, *[1] * len(reduced) * self.keepdims, channels)


class GlobalAveragePooling2D(GlobalPooling):
    """The mean over all pixels: (batch, height, width, channels) to (batch, channels)."""

    input_rank, input_format = (4, 4), IMAGE_FORMAT
    reduce = staticmethod(tf.reduce_mean)


class GlobalMaxPooling2D(GlobalPooling):
    """The maximum over all pixels: (batch, height, width, channels) to (batch, channels)."""

    input_rank, input_format = (4, 4), IMAGE_FORMAT
    reduce = staticmethod(tf.reduce_max)
