"""Layers that slide a window along sequences: (batch, steps, channels). They are those for images,
one row high."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from .. import activations, argument_checks, initializers
from .layer import Layer, Shape
from .conv2d import GlobalPooling

SEQUENCE_FORMAT = "(batch, steps, channels); a row of single numbers has one channel: x[..., None]"


class _Windowed1D(Layer):
    """What convolution and pooling along steps share."""

    casts_to_float = True
    input_rank, input_format = (3, 3), SEQUENCE_FORMAT
    dilation_rate = 1
    strides: int
    padding: str

    def steps(self, n: int | None, window: int) -> int | None:
        """How many windows fit along the steps."""
        if n is None:
            return None
        padding = "SAME" if self.padding == "causal" else self.padding.upper()
        try:
            return shapes.window_output_size(self.display_name, n, window, self.strides, self.dilation_rate,
                                     padding)[0]
        except InvalidArgumentError:
            raise self.error(
                f"a window over {(window - 1) * self.dilation_rate + 1} steps does not fit into "
                f"{n}", "use padding=\"same\", a smaller window, or a longer input") from None


class Conv1D(_Windowed1D):
    """activation(convolution of the sequences with `filters` small kernels + bias). With padding
    "causal" no step sees a later one."""

    def __init__(self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
                 data_format: str | None = None, dilation_rate: Any = 1, groups: int = 1,
                 activation: Any = None, use_bias: bool = True,
                 kernel_initializer: Any = "glorot_uniform", bias_initializer: Any = "zeros",
                 **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = argument_checks.require_int(self.display_name, "filters", filters)
        self.kernel_size = require_single_int(self.display_name, "kernel_size", kernel_size)
        self.strides = require_single_int(self.display_name, "strides", strides)
        self.padding = argument_checks.require_choice(self.display_name, "padding", padding, ("valid", "same", "causal"))
        self.data_format = self.check_data_format(data_format)
        self.dilation_rate = require_single_int(self.display_name, "dilation_rate", dilation_rate)
        self.groups = argument_checks.require_int(self.display_name, "groups", groups)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: Any = None) -> None:
        _, n, channels = self.checked_input_shape(input_shape)
        self.steps(n, self.kernel_size)
        if channels is None or channels % self.groups or self.filters % self.groups:
            raise self.error(f"{channels} channels and {self.filters} filters in {self.groups} "
                               "groups", "both must be known and divide into the groups")
        self.channels = channels
        shape = (self.kernel_size, channels // self.groups, self.filters)
        self.kernel = self.add_weight(shape, self.kernel_initializer, name="kernel")
        self.bias = self.add_weight((self.filters,), self.bias_initializer, name="bias") \
            if self.use_bias else None

    def call(self, x: tf.Tensor) -> tf.Tensor:
        if x.shape[-1] != self.channels:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                               f"it was built for {self.channels} channels in the last axis")
        count = self.steps(x.shape[1], self.kernel_size)
        padding = "VALID" if self.padding == "causal" else self.padding.upper()
        if self.padding == "causal":
            x = tf.pad(x, ((0, 0), ((self.kernel_size - 1) * self.dilation_rate, 0), (0, 0)))
        out = tf.nn.conv2d(x[:, None], self.kernel[None], (1, self.strides), padding,
                           (1, self.dilation_rate))
        out = tf.reshape(out, (x.shape[0], count, self.filters))
        return self.activation(out + self.bias if self.use_bias else out)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, n, _ = self.checked_input_shape(input_shape)
        return (batch, self.steps(n, self.kernel_size), self.filters)


class _Pooling1D(_Windowed1D):
    """One number for each window of each channel."""

    pool: Callable

    def __init__(self, pool_size: Any = 2, strides: Any = None, padding: str = "valid",
                 data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.pool_size = require_single_int(self.display_name, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else require_single_int(self.display_name, "strides", strides)
        self.padding = argument_checks.require_choice(self.display_name, "padding", padding, ("valid", "same"))
        self.data_format = self.check_data_format(data_format)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        count = self.steps(x.shape[1], self.pool_size)
        out = type(self).pool(x[:, None], (1, self.pool_size), (1, self.strides),
                              self.padding.upper())
        return tf.reshape(out, (x.shape[0], count, x.shape[2]))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        batch, n, channels = self.checked_input_shape(input_shape)
        return (batch, self.steps(n, self.pool_size), channels)


class MaxPooling1D(_Pooling1D):
    """The largest number of each window."""

    pool = staticmethod(tf.nn.max_pool2d)


class AveragePooling1D(_Pooling1D):
    """The mean of each window; padding is not counted."""

    pool = staticmethod(tf.nn.avg_pool2d)


class GlobalAveragePooling1D(GlobalPooling):
    """The mean of each channel of each sequence."""

    input_rank, input_format = (3, 3), SEQUENCE_FORMAT
    fold = staticmethod(tf.reduce_mean)


class GlobalMaxPooling1D(GlobalPooling):
    """The largest number of each channel of each sequence."""

    input_rank, input_format = (3, 3), SEQUENCE_FORMAT
    fold = staticmethod(tf.reduce_max)


def require_single_int(op: str, name: str, value: Any) -> int:
    """A whole number of 1 or more, which may come as a tuple of one."""
    alone = isinstance(value, tuple | list) and len(value) == 1
    return argument_checks.require_int(op, name, value[0] if alone else value)
