"""1-D convolution and pooling of sequences (batch, steps, channels).

The layers use the 2-D operations on images of height 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from .. import activations, argument_checks, initializers
from .conv2d import GlobalPooling
from .layer import Layer, Shape

SEQUENCE_FORMAT = "(batch, steps, channels); add an axis for a single channel with x[..., None]"


class _Windowed1D(Layer):
    """Base class of 1-D convolution and pooling."""

    casts_to_float = True
    input_rank, input_format = (3, 3), SEQUENCE_FORMAT
    dilation_rate = 1
    strides: int
    padding: str

    def output_steps(self, n: int | None, window: int) -> int | None:
        """The number of output steps for n input steps; None if n is unknown."""
        if n is None:
            return None
        padding = "SAME" if self.padding == "causal" else self.padding.upper()
        try:
            return shapes.window_output_size(
                self.display_name, n, window, self.strides, self.dilation_rate, padding)[0]
        except InvalidArgumentError:
            extent = (window - 1) * self.dilation_rate + 1
            raise self.error(
                f"a window of {extent} steps does not fit into {n} steps",
                "use padding=\"same\", a smaller window, or a longer input") from None


class Conv1D(_Windowed1D):
    """1-D convolution of sequences: activation(conv(x, kernel) + bias).

    Input (batch, steps, channels), output (batch, new_steps, filters). `padding` is "valid", "same"
    or "causal", with which an output step depends on no later input step. Raises
    InvalidArgumentError unless the sizes are positive integers and the channels divide into
    `groups`.

    >>> tf.keras.layers.Conv1D(8, 3, padding="causal")(tf.zeros((2, 10, 4))).shape
    (2, 10, 8)
    """

    def __init__(self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
                 data_format: str | None = None, dilation_rate: Any = 1, groups: int = 1,
                 activation: Any = None, use_bias: bool = True,
                 kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = argument_checks.require_int(self.display_name, "filters", filters)
        self.kernel_size = require_single_int(self.display_name, "kernel_size", kernel_size)
        self.strides = require_single_int(self.display_name, "strides", strides)
        self.padding = argument_checks.require_choice(
            self.display_name, "padding", padding, ("valid", "same", "causal"))
        self.data_format = self.check_data_format(data_format)
        self.dilation_rate = require_single_int(self.display_name, "dilation_rate", dilation_rate)
        self.groups = argument_checks.require_int(self.display_name, "groups", groups)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: Any = None) -> None:
        _, n, channels = self.checked_input_shape(input_shape)
        self.output_steps(n, self.kernel_size)
        if channels is None or channels % self.groups or self.filters % self.groups:
            raise self.error(
                f"there are {channels} channels and {self.filters} filters for {self.groups} "
                "groups", "both must be known multiples of the number of groups")
        self.channels = channels
        shape = (self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self.add_weight(shape, self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((self.filters,), self.bias_initializer, name="bias") \
            if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if x.shape[-1] != self.channels:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                             f"the layer was built for {self.channels} channels in the last axis")
        steps = self.output_steps(x.shape[1], self.kernel_size)
        padding = "VALID" if self.padding == "causal" else self.padding.upper()
        if self.padding == "causal":
            x = tf.pad(x, ((0, 0), ((self.kernel_size - 1) * self.dilation_rate, 0), (0, 0)))
        out = tf.nn.conv2d(x[:, None], self.kernel[None], (1, self.strides), padding,
                           (1, self.dilation_rate))
        out = tf.reshape(out, (x.shape[0], steps, self.filters))
        return self.activation(out + self.bias if self.use_bias else out)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, n, _ = self.checked_input_shape(input_shape)
        return (batch, self.output_steps(n, self.kernel_size), self.filters)


class _Pooling1D(_Windowed1D):
    """Base class of 1-D pooling: (batch, steps, channels) to (batch, new_steps, channels)."""

    pool: Callable

    def __init__(self, pool_size: Any = 2, strides: Any = None, padding: str = "valid",
                 data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = require_single_int(self.display_name, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None \
            else require_single_int(self.display_name, "strides", strides)
        self.padding = argument_checks.require_choice(
            self.display_name, "padding", padding, ("valid", "same"))
        self.data_format = self.check_data_format(data_format)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        steps = self.output_steps(x.shape[1], self.pool_size)
        out = type(self).pool(x[:, None], (1, self.pool_size), (1, self.strides),
                              self.padding.upper())
        return tf.reshape(out, (x.shape[0], steps, x.shape[2]))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, n, channels = self.checked_input_shape(input_shape)
        return (batch, self.output_steps(n, self.pool_size), channels)


class MaxPooling1D(_Pooling1D):
    """The maximum of each window; the stride is `pool_size` by default."""

    pool = staticmethod(tf.nn.max_pool2d)


class AveragePooling1D(_Pooling1D):
    """The mean of each window without its padding; the stride is `pool_size` by default."""

    pool = staticmethod(tf.nn.avg_pool2d)


class GlobalAveragePooling1D(GlobalPooling):
    """The mean over all steps: (batch, steps, channels) to (batch, channels)."""

    input_rank, input_format = (3, 3), SEQUENCE_FORMAT
    reduce = staticmethod(tf.reduce_mean)


class GlobalMaxPooling1D(GlobalPooling):
    """The maximum over all steps: (batch, steps, channels) to (batch, channels)."""

    input_rank, input_format = (3, 3), SEQUENCE_FORMAT
    reduce = staticmethod(tf.reduce_max)


def require_single_int(op: str, name: str, value: Any) -> int:
    """A positive integer, also from a tuple or a list of one element."""
    is_sequence = isinstance(value, tuple | list) and len(value) == 1
    return argument_checks.require_int(op, name, value[0] if is_sequence else value)
