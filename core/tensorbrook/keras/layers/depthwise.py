"""Depthwise and separable convolution of images."""

from __future__ import annotations

from typing import Any

import tensorbrook as tf

from .. import activations, argument_checks, initializers
from .conv2d import Windowed
from .layer import Shape


class _Depthwise(Windowed):
    """Base class of depthwise and separable convolution."""

    def set_arguments(self, kernel_size: Any, strides: Any, padding: str, data_format: Any,
                      dilation_rate: Any, depth_multiplier: int, activation: Any, use_bias: bool,
                      depthwise_initializer: Any, bias_initializer: Any) -> None:
        """Check and set the arguments that both layers have."""
        self.kernel_size = argument_checks.require_pair(
            self.display_name, "kernel_size", kernel_size)
        self.strides = argument_checks.require_pair(self.display_name, "strides", strides)
        self.padding = argument_checks.require_choice(
            self.display_name, "padding", padding, ("valid", "same"))
        self.data_format = self.check_data_format(data_format)
        self.dilation_rate = argument_checks.require_pair(
            self.display_name, "dilation_rate", dilation_rate)
        self.depth_multiplier = argument_checks.require_int(
            self.display_name, "depth_multiplier", depth_multiplier)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def add_depthwise_kernel(self, input_shape: Any, name: str) -> tf.Variable:
        """Create the depthwise kernel: (rows, columns, channels, depth_multiplier)."""
        shape = self.checked_input_shape(input_shape)
        self.output_size(shape, self.kernel_size)
        channels = shape[-1]
        if channels is None:
            raise self.error(f"the input has shape {shape}", "its last size must be known")
        self.channels = channels
        return self.add_weight((*self.kernel_size, self.channels, self.depth_multiplier),
                               self.depthwise_initializer, name=name)

    def add_bias(self, channels: int) -> Any:
        return self.add_weight((channels,), self.bias_initializer, name="bias") \
            if self.use_bias else None

    def depthwise(self, x: tf.Tensor, kernel: tf.Variable) -> tf.Tensor:
        if x.shape[-1] != self.channels:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                             f"the layer was built for {self.channels} channels in the last axis")
        self.output_size(x.shape, self.kernel_size)
        return tf.nn.depthwise_conv2d(x, kernel, self.strides, self.padding.upper(),
                                      self.dilation_rate)

    def add_bias_and_activate(self, out: tf.Tensor, bias: Any) -> tf.Tensor:
        return self.activation(out + bias if self.use_bias else out)


class DepthwiseConv2D(_Depthwise):
    """Depthwise 2-D convolution: convolves each channel with `depth_multiplier` kernels.

    Input (batch, height, width, channels), output (batch, new_height, new_width, channels *
    depth_multiplier), kernel (rows, columns, channels, depth_multiplier). A bias and an activation
    follow. Raises InvalidArgumentError unless the sizes are positive integers.
    """

    def __init__(self, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid",
                 depth_multiplier: int = 1, data_format: str | None = None,
                 dilation_rate: Any = (1, 1), activation: Any = None, use_bias: bool = True,
                 depthwise_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.set_arguments(
            kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier,
            activation, use_bias, depthwise_initializer, bias_initializer)

    def build(self, input_shape: Any = None) -> None:
        self.kernel = self.add_depthwise_kernel(input_shape, "kernel")
        self.bias = self.add_bias(self.channels * self.depth_multiplier)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.add_bias_and_activate(self.depthwise(x, self.kernel), self.bias)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.checked_input_shape(input_shape)
        channels = shape[-1]
        return (shape[0], *self.output_size(shape, self.kernel_size),
                None if channels is None else channels * self.depth_multiplier)


class SeparableConv2D(_Depthwise):
    """Separable 2-D convolution: a depthwise convolution, then a 1 x 1 convolution.

    Input (batch, height, width, channels), output (batch, new_height, new_width, filters). A bias
    and an activation follow. Raises InvalidArgumentError unless the sizes are positive integers.
    """

    def __init__(self, filters: int, kernel_size: Any, strides: Any = (1, 1),
                 padding: str = "valid", data_format: str | None = None,
                 dilation_rate: Any = (1, 1), depth_multiplier: int = 1, activation: Any = None,
                 use_bias: bool = True, depthwise_initializer: Any = "glorot_uniform",
                 pointwise_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.set_arguments(
            kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier,
            activation, use_bias, depthwise_initializer, bias_initializer)
        self.filters = argument_checks.require_int(self.display_name, "filters", filters)
        self.pointwise_initializer = initializers.get(pointwise_initializer)

    def build(self, input_shape: Any = None) -> None:
        self.depthwise_kernel = self.add_depthwise_kernel(input_shape, "depthwise_kernel")
        self.pointwise_kernel = self.add_weight(
            (1, 1, self.channels * self.depth_multiplier, self.filters),
            self.pointwise_initializer, name="pointwise_kernel")
        self.bias = self.add_bias(self.filters)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        out = tf.nn.conv2d(self.depthwise(x, self.depthwise_kernel), self.pointwise_kernel)
        return self.add_bias_and_activate(out, self.bias)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shape = self.checked_input_shape(input_shape)
        return (shape[0], *self.output_size(shape, self.kernel_size), self.filters)
