"""Activation functions: `tf.keras.activations.relu`, or by name: `activation="relu"`.

Each function returns a Tensor of the shape of its argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from . import argument_checks


def linear(x: Any) -> tf.Tensor:
    """x, unchanged."""
    return tf.convert_to_tensor(x)


def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None,
         threshold: float = 0.0) -> tf.Tensor:
    """Rectified linear unit: max(x, 0) with the default arguments.

    In general `negative_slope * (x - threshold)` up to the threshold, x above it, and at most
    `max_value`.
    """
    x = tf.convert_to_tensor(x)
    if negative_slope or threshold:
        below = (x - threshold) * negative_slope if negative_slope else 0.0
        out = tf.where(x > threshold if threshold else x >= 0.0, x, below)
    else:
        out = tf.nn.relu(x)
    return out if max_value is None else tf.minimum(out, float(max_value))


def relu6(x: Any) -> tf.Tensor:
    """min(max(x, 0), 6)."""
    return tf.nn.relu6(x)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> tf.Tensor:
    """x where x is positive, else `negative_slope * x`."""
    return tf.nn.leaky_relu(x, alpha=negative_slope)


def elu(x: Any, alpha: float = 1.0) -> tf.Tensor:
    """x where x is positive, else `alpha * (exp(x) - 1)` (arXiv:1511.07289)."""
    return tf.nn.elu(x, alpha=alpha)


def selu(x: Any) -> tf.Tensor:
    """ELU scaled so that activations keep mean 0 and variance 1 (arXiv:1706.02515)."""
    return tf.nn.elu(x, alpha=1.6732632423543772) * 1.0507009873554805


def gelu(x: Any, approximate: bool = False) -> tf.Tensor:
    """x * Phi(x) with the normal cumulative distribution function Phi (arXiv:1606.08415).

    With `approximate`, Phi is computed from tanh instead of erf.
    """
    return tf.nn.gelu(x, approximate=approximate)


def silu(x: Any) -> tf.Tensor:
    """x * sigmoid(x), also called swish."""
    return tf.nn.silu(x)


def sigmoid(x: Any) -> tf.Tensor:
    """1 / (1 + exp(-x))."""
    return tf.nn.sigmoid(x)


def hard_sigmoid(x: Any) -> tf.Tensor:
    """Piecewise linear sigmoid: x / 6 + 1/2, clipped to [0, 1]."""
    return tf.clip_by_value(tf.convert_to_tensor(x) / 6.0 + 0.5, 0.0, 1.0)


def tanh(x: Any) -> tf.Tensor:
    """Hyperbolic tangent."""
    return tf.nn.tanh(x)


def softplus(x: Any) -> tf.Tensor:
    """log(1 + exp(x)), without overflow."""
    return tf.nn.softplus(x)


def softsign(x: Any) -> tf.Tensor:
    """x / (1 + |x|)."""
    x = tf.convert_to_tensor(x)
    return x / (tf.abs(x) + 1.0)


def exponential(x: Any) -> tf.Tensor:
    """exp(x)."""
    return tf.exp(x)


def softmax(x: Any, axis: int = -1) -> tf.Tensor:
    """exp(x) / sum(exp(x)) along `axis`: probabilities from logits."""
    return tf.nn.softmax(x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> tf.Tensor:
    """log(softmax(x)) along `axis`, without overflow."""
    return tf.nn.log_softmax(x, axis=axis)


_FUNCTIONS = (linear, relu, relu6, leaky_relu, elu, selu, gelu, silu, sigmoid, hard_sigmoid, tanh,
              softplus, softsign, exponential, softmax, log_softmax)
BY_NAME: dict[str, Callable] = {f.__name__: f for f in _FUNCTIONS} | {"swish": silu}


def get(identifier: Any) -> Callable:
    """Return the activation function of a name; None gives `linear`, a callable is returned.

    Raises InvalidArgumentError for an unknown name.
    """
    if identifier is None:
        return linear
    if callable(identifier):
        return identifier
    if identifier not in BY_NAME:
        raise argument_checks.unknown_name_error("activation", "activation", identifier, BY_NAME)
    return BY_NAME[identifier]


def serialize(activation: Callable) -> str:
    """The name of an activation function, as Keras stores it in a config."""
    return getattr(activation, "__name__", type(activation).__name__)
