"""Layers that give numbers mean 0 and variance 1, over a batch or within each sample."""

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
    """What they share: a scale `gamma` and an offset `beta`, each of which may be left out.

    They compute in float32 whatever the policy says: float16 does not hold sums of squares."""

    input_rank, input_format = (2, None), "(batch, ..., features)"
    gamma: Any
    beta: Any

    def set_arguments(self, axis: Any, epsilon: float, center: bool, scale: bool, beta_initializer: Any,
             gamma_initializer: Any) -> None:
        """Keep the arguments that all of them have."""
        self.axis = axis if hasattr(axis, "__index__") else list(axis)
        self.epsilon = require_positive(self.display_name, "epsilon", epsilon)
        self.center, self.scale = center, scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)

    def normalized_axes(self, shape: Shape) -> tuple[int, ...]:
        """The axes along which there are weights, from 0 on; their sizes must be known."""
        axes = shapes.normalize_axes(self.display_name, self.axis, len(shape))
        if 0 in axes or not axes or any(shape[a] is None for a in axes):
            raise self.error(f"axis is {self.axis} for an input of shape {tuple(shape)}",
                               "it names axes of known size, and not the batch")
        return axes

    def build(self, input_shape: Any = None) -> None:
        shape = self.checked_input_shape(input_shape)
        self.axes, self.sizes = self.normalized_axes(shape), tuple(shape[a] for a in self.normalized_axes(shape))
        self.gamma = self.add_weight(self.sizes, self.gamma_initializer, name="gamma",
                                     autocast=False) if self.scale else None
        self.beta = self.add_weight(self.sizes, self.beta_initializer, name="beta",
                                    autocast=False) if self.center else None

    def check_input(self, x: tf.Tensor) -> None:
        """That the input has as many features as the layer was built for."""
        if tuple(x.shape[a] for a in self.axes if a < x.ndim) != self.sizes:
            raise self.error(f"the input has shape {tuple(x.shape)}",
                               f"it was built for sizes {self.sizes} along axes {self.axes}")

    def broadcastable(self, weight: Any, x: tf.Tensor) -> Any:
        """A weight in a shape that broadcasts to the input, as float32; None stays."""
        if weight is None:
            return None
        weight = tf.cast(weight, tf.float32)
        if self.axes == (x.ndim - 1,):
            return weight
        shape = tuple(n if a in self.axes else 1 for a, n in enumerate(x.shape))
        return tf.reshape(weight, shape[self.axes[0]:])


class BatchNormalization(_Normalization):
    """Each channel with mean 0 and variance 1 over the batch, times gamma plus beta.

    In training it measures them on the batch and moves its moving means towards them, which it
    uses otherwise, as one product and one sum (Ioffe and Szegedy, 2015, arXiv:1502.03167). With
    `trainable = False` it uses the moving means in training too, as Keras does.
    """

    def __init__(self, axis: int = -1, momentum: float = 0.99, epsilon: float = 1e-3,
                 center: bool = True, scale: bool = True, beta_initializer: Any = "zeros",
                 gamma_initializer: Any = "ones", moving_mean_initializer: Any = "zeros",
                 moving_variance_initializer: Any = "ones", **kwargs: Any):
        super().__init__(**kwargs)
        self.set_arguments(argument_checks.require_int(self.display_name, "axis", axis, least=-99), epsilon, center, scale,
                  beta_initializer, gamma_initializer)
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
            return tf.nn.batch_normalization(x, self.broadcastable(self.moving_mean, x),
                                             self.broadcastable(self.moving_variance, x), beta, gamma,
                                             self.epsilon)
        if prod(x.shape) == 0:
            return tf.identity(x)                  # nothing to measure
        others = tuple(a for a in range(x.ndim) if a not in self.axes)
        out, mean, variance = normalize(x, others, beta, gamma, self.epsilon)
        self.update_moving(self.moving_mean, mean)
        self.update_moving(self.moving_variance, variance)
        return out

    def update_moving(self, moving: tf.Variable, measured: tf.Tensor) -> None:
        """A step of a moving mean towards what was measured on this batch."""
        new = tf.stop_gradient(tf.reshape(measured, self.sizes))
        old = tf.cast(moving, tf.float32)
        moving.assign(old * self.momentum + new * (1.0 - self.momentum))


class LayerNormalization(_Normalization):
    """Each sample with mean 0 and variance 1 along `axis`, times gamma plus beta (Ba, Kiros and
    Hinton, 2016, arXiv:1607.06450)."""

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
    """A number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise InvalidArgumentError(op, f"{name} is {value!r}", "it takes a number above 0")
    return float(value)


def require_unit_interval(op: str, name: str, value: Any) -> float:
    """A number from 0 to 1, both included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidArgumentError(op, f"{name} is {value!r}", "it takes a number from 0 to 1")
    return float(value)
