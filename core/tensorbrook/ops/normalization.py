"""Normalization: moments, and the batch and layer normalization that are based on them."""
from math import ceil

from ..base import shapes
from ..base.errors import InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import math
from . import primitives as p

# The fraction of the samples whose mean is the shift of the one-pass variance. By the bound in
# `_shifted_moments`, cancellation costs the variance at most 1 / SUBSAMPLE_FRACTION - 1 units in
# the last place.
SUBSAMPLE_FRACTION = 1 / 16


@math.compute_in_float32
def moments(x, axes, shift=None, keepdims=False) -> tuple[Tensor, Tensor]:
    """(mean, population variance) of a floating `x` over `axes`.

    `shift` exists for compatibility and has no effect: the shift is computed from `x`.

    >>> mean, variance = tf.nn.moments(tf.constant([1., 2., 3.]), [0])
    >>> float(mean), round(float(variance), 4)
    (2.0, 0.6667)
    """
    x = math.require_floating("moments", x)
    axes = shapes.normalize_axes("moments", axes, x.ndim)
    shift, _, mean_offset, variance = _shifted_moments(x, axes)
    mean = shift + mean_offset
    if keepdims:
        return mean, variance
    shape = shapes.remove_axes(tuple(x.shape), axes)
    return p.reshape(mean, shape=shape), p.reshape(variance, shape=shape)


def _shifted_moments(x: Tensor, axes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(shift c near the mean, x - c, mean - c, variance), with `axes` kept at size 1.

    One pass computes mean(x - c) and mean((x - c)^2); the variance is the latter minus the square
    of the former (Chan, Golub and LeVeque, 1983). c is the mean of a fraction s of the samples,
    which differs from the mean by at most sqrt(variance * (1 - s) / s) (Cauchy-Schwarz inequality).
    The moments do not depend on c, so c needs no gradient.
    """
    shift = p.stop_gradient(math.reduce_mean(_subsample(x, axes), axes, keepdims=True))
    centered = x - shift
    mean_offset = math.reduce_mean(centered, axes, keepdims=True)
    mean_square = math.reduce_mean(centered * centered, axes, keepdims=True)
    return shift, centered, mean_offset, p.maximum(mean_square - mean_offset * mean_offset, 0.0)


def _subsample(x: Tensor, axes) -> Tensor:
    """The samples for the shift: a fraction of the batch if the moments are per channel; all
    elements if they are per row, because a row stays in cache."""
    if 0 not in axes or x.ndim - 1 in axes:
        return x
    shape = (ceil(x.shape[0] * SUBSAMPLE_FRACTION), *x.shape[1:])
    return p.strided_slice(x, begin=(0,) * x.ndim, shape=shape, steps=(1,) * x.ndim)


def normalize(x, axes, offset, scale, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """((x - mean) / sqrt(variance + epsilon) * scale + offset, mean, variance) over `axes`.

    Mean and variance keep `axes` with size 1. `offset` and `scale` broadcast, and may be None.
    """
    shift, centered, mean_offset, variance = _shifted_moments(
        math.require_floating("normalize", x), axes)
    inverse = math.rsqrt(variance + float(epsilon))
    if scale is None or _has_shape_of_moments(scale, variance):
        # Combine scale and offset per group, which leaves one multiply-add per element.
        factor = inverse if scale is None else inverse * scale
        bias = -mean_offset * factor if offset is None else offset - mean_offset * factor
        return centered * factor + bias, shift + mean_offset, variance
    out = (centered - mean_offset) * inverse * scale
    return out if offset is None else out + offset, shift + mean_offset, variance


def _has_shape_of_moments(scale: Tensor, variance: Tensor) -> bool:
    return tuple(scale.shape) == tuple(variance.shape)[variance.ndim - scale.ndim:]


def batch_normalization(x, mean, variance, offset, scale, variance_epsilon) -> Tensor:
    """scale * (x - mean) / sqrt(variance + epsilon) + offset, as one multiply-add per element.

    All parameters broadcast to the shape of `x`; `offset` and `scale` may be None.

    >>> tf.nn.batch_normalization(tf.constant([3.0]), 1.0, 4.0, None, None, 0.0).numpy()
    array([1.], dtype=float32)
    """
    x = math.require_floating("batch_normalization", x)
    mean, variance = as_tensor(mean, x.dtype), as_tensor(variance, x.dtype)
    for name, parameter in (("mean", mean), ("variance", variance), ("offset", offset),
                            ("scale", scale)):
        if parameter is not None:
            _check_broadcast(name, as_tensor(parameter), x)
    factor = math.rsqrt(variance + float(variance_epsilon))
    factor = factor if scale is None else factor * scale
    return x * factor + (-mean * factor if offset is None else offset - mean * factor)


def _check_broadcast(name: str, parameter: Tensor, x: Tensor) -> None:
    lead = x.ndim - parameter.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(parameter.shape, x.shape[max(lead, 0):])):
        raise InvalidArgumentError(
            "batch_normalization",
            f"{name} {tuple(parameter.shape)} does not broadcast to x {tuple(x.shape)}",
            f"for one value per channel use shape ({x.shape[-1] if x.ndim else 1},)")
