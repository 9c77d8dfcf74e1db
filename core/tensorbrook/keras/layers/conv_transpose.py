"""Transposed convolution: Conv2DTranspose, which enlarges images."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from .. import activations, argument_checks, initializers
from .conv2d import Windowed
from .layer import Shape


class Conv2DTranspose(Windowed):
    """Transposed 2-D convolution: activation(conv_transpose(x, kernel) + bias).

    Input (batch, height, width, channels), kernel (rows, columns, filters, channels). The output
    has the size from which a Conv2D with the same arguments makes the input's size: height *
    stride with padding "same", and max(rows - stride, 0) more with "valid". Raises
    InvalidArgumentError unless the sizes are positive integers.

    >>> tf.keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same")(
    ...     tf.zeros((1, 5, 5, 8))).shape
    (1, 10, 10, 4)
    """

    def __init__(self, filters: int, kernel_size: Any, strides: Any = (1, 1),
                 padding: str = "valid", data_format: str | None = None, activation: Any = None,
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
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: Any = None) -> None:
        self.channels = self.checked_input_shape(input_shape)[-1]
        shape = (*self.kernel_size, self.filters, self.channels)
        self.kernel = self.add_weight(shape, self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((self.filters,), self.bias_initializer, name="bias") \
            if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if x.shape[-1] != self.channels:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                             f"the layer was built for {self.channels} channels in the last axis")
        out = tf.nn.conv2d_transpose(x, self.kernel, self.compute_output_shape(x.shape),
                                     self.strides, self.padding.upper())
        return self.activation(out + self.bias if self.use_bias else out)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, *sizes, _ = self.checked_input_shape(input_shape)
        extra = (0, 0) if self.padding == "same" else tuple(
            max(k - s, 0) for k, s in zip(self.kernel_size, self.strides))
        return (batch, *(None if n is None else n * s + e
                         for n, s, e in zip(sizes, self.strides, extra)), self.filters)
