"""Normalization layers: mean 0 and variance 1, over the batch or within each sample."""

from __future__ import annotations

from math import prod
from typing import Any

import tensorbrook as tf

from ...base import shapes
from ...base.errors import InvalidArgumentError
from ...ops.normalization import normalize
from .. import argument_checks, initializers
from .core import Elementwise
from .layer import Shape


class _Normalization(Elementwise):
    """Base class of normalization layers, with an optional scale `gamma` and offset `beta`.

    They compute in float32 under every dtype policy, because sums of squares overflow in float16.
    """

    input_rank, input_format = (2, None), "(batch, ..., features)"
    gamma: Any
    beta: Any

    def set_arguments(self, axis: Any, epsilon: float, center: bool, scale: bool,
                      beta_initializer: Any, gamma_initializer: Any) -> None:
        """Check and set the arguments that all normalization layers have."""
        self.axis = axis if hasattr(axis, "__index__") else list(axis)
        self.epsilon = require_positive(self.display_name, "epsilon", epsilon)
        self.center, self.scale = center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)

    def weight_axes(self, shape: Shape) -> tuple[int, ...]:
        """The axes of the weights, as indices of at least 0; InvalidArgumentError if unknown."""
        axes = shapes.normalize_axes(self.display_name, self.axis, len(shape))
        if 0 in axes or not axes or any(shape[a] is None for a in axes):
            raise self.error(f"axis is {self.axis} for an input of shape {tuple(shape)}",
                             "it must name axes of known size other than the batch")
        return axes

    def build(self, input_shape: Any = None) -> None:
        shape = self.checked_input_shape(input_shape)
        self.axes = self.weight_axes(shape)
        self.sizes = tuple(shape[a] for a in self.axes)
        self.gamma = self.add_weight(self.sizes, self.gamma_initializer, name="gamma",
                                     autocast=False) if self.scale else None
        self.beta = self.add_weight(self.sizes, self.beta_initializer, name="beta",
                                    autocast=False) if self.center else None

    def check_input(self, x: tf.Tensor) -> None:
        """Raise InvalidArgumentError unless the input has the sizes the layer was built for."""
        if tuple(x.shape[a] for a in self.axes if a < x.ndim) != self.sizes:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                             f"the layer was built for sizes {self.sizes} along axes {self.axes}")

    def broadcastable(self, weight: Any, x: tf.Tensor) -> Any:
        """A weight as float32, reshaped so that it broadcasts with the input; None for None."""
        if weight is None:
            return None
        weight = tf.cast(weight, tf.float32)
        if self.axes == (x.ndim - 1,):
            return weight
        shape = tuple(n if a in self.axes else 1 for a, n in enumerate(x.shape))
        return tf.reshape(weight, shape[self.axes[0]:])


class BatchNormalization(_Normalization):
    """Batch normalization (Ioffe and Szegedy, 2015, arXiv:1502.03167).

    Normalizes each channel (`axis`) to mean 0 and variance 1 over all other axes, then multiplies
    by gamma and adds beta. Training uses the mean and the variance of the batch and updates their
    moving averages; inference uses the moving averages. With `trainable = False` training uses the
    moving averages too, as in Keras. Raises InvalidArgumentError unless `momentum` is in [0, 1],
    `epsilon` is positive and `axis` is not the batch.
    """

    def __init__(self, axis: int = -1, momentum: float = 0.99, epsilon: float = 1e-3,
                 center: bool = True, scale: bool = True, beta_initializer: Any = "zeros",
                 gamma_initializer: Any = "ones", moving_mean_initializer: Any = "zeros",
                 moving_variance_initializer: Any = "ones", **kwargs: Any):
        super().__init__(**kwargs)
        axis = argument_checks.require_int(self.display_name, "axis", axis, minimum=-99)
        self.set_arguments(axis, epsilon, center, scale, beta_initializer, gamma_initializer)
        self.momentum = require_unit_interval(self.display_name, "momentum", momentum)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.moving_mean = self.add_weight(self.sizes, self.moving_mean_initializer,
                                           trainable=False, name="moving_mean", autocast=False)
        self.moving_variance = self.add_weight(self.sizes, self.moving_variance_initializer,
                                               trainable=False, name="moving_variance",
                                               autocast=False)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.cast(self.normalize(tf.cast(x, tf.float32), training), x.dtype)

    def normalize(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        self.check_input(x)
        gamma, beta = self.broadcastable(self.gamma, x), self.broadcastable(self.beta, x)
        if not training or not self.trainable:
            mean = self.broadcastable(self.moving_mean, x)
            variance = self.broadcastable(self.moving_variance, x)
            return tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.epsilon)
        if prod(x.shape) == 0:
            return tf.identity(x)  # an empty batch has no mean
        reduced_axes = tuple(a for a in range(x.ndim) if a not in self.axes)
        out, mean, variance = normalize(x, reduced_axes, beta, gamma, self.epsilon)
        self.update_moving(self.moving_mean, mean)
        self.update_moving(self.moving_variance, variance)
        return out

    def update_moving(self, average: tf.Variable, batch_value: tf.Tensor) -> None:
        """Update a moving average with the value of this batch."""
        new = tf.stop_gradient(tf.reshape(batch_value, self.sizes))
        old = tf.cast(average, tf.float32)
        average.assign(old * self.momentum + new * (1.0 - self.momentum))


class LayerNormalization(_Normalization):
    """Layer normalization (Ba, Kiros and Hinton, 2016, arXiv:1607.06450).

    Normalizes each sample to mean 0 and variance 1 along `axis` (an axis or several), then
    multiplies by gamma and adds beta. Raises InvalidArgumentError unless `epsilon` is positive and
    `axis` does not include the batch.

    >>> tf.keras.layers.LayerNormalization()(tf.constant([[1.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, axis: Any = -1, epsilon: float = 1e-3, center: bool = True,
                 scale: bool = True, beta_initializer: Any = "zeros",
                 gamma_initializer: Any = "ones", **kwargs: Any):
        super().__init__(**kwargs)
        self.set_arguments(axis, epsilon, center, scale, beta_initializer, gamma_initializer)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        self.check_input(x)
        out, _, _ = normalize(tf.cast(x, tf.float32), self.axes, self.broadcastable(self.beta, x),
                              self.broadcastable(self.gamma, x), self.epsilon)
        return tf.cast(out, x.dtype)


def require_positive(op: str, name: str, value: Any) -> float:
    """`value` as a float, if it is a positive number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidArgumentError(op, f"{name} is {value!r}", "it must be a positive number")
    return float(value)


def require_unit_interval(op: str, name: str, value: Any) -> float:
    """`value` as a float, if it is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidArgumentError(op, f"{name} is {value!r}", "it must be a number from 0 to 1")
    return float(value)
