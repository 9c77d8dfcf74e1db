"""Normalization: moments, and what batch and layer normalization make of them."""
from math import ceil

from ..base import shapes
from ..base.errors import DTypeError, InvalidArgumentError
from ..tensor import Tensor, as_tensor
from . import math
from . import primitives as p

# The part of the samples whose mean stands in for that of all while their spread is taken: the
# variance loses at most 1 / SAMPLED - 1 units in its last place, whatever the numbers are.
SUBSAMPLE_FRACTION = 1 / 16


@math.compute_in_float32
def moments(x, axes, shift=None, keepdims=False) -> tuple[Tensor, Tensor]:
    """(mean, variance) of a floating `x` over `axes`; the variance is that of all, not a sample's.

    `shift` is there for TensorFlow's sake and changes nothing: a shift is found from the numbers.

    >>> mean, variance = tf.nn.moments(tf.constant([1., 2., 3.]), [0])
    >>> float(mean), round(float(variance), 4)
    (2.0, 0.6667)
    """
    x = _require_floating("moments", x)
    axes = shapes.normalize_axes("moments", axes, x.ndim)
    near, _, beside, variance = _shifted_moments(x, axes)
    mean = near + beside
    if keepdims:
        return mean, variance
    shape = shapes.remove_axes(tuple(x.shape), axes)
    return p.reshape(mean, shape=shape), p.reshape(variance, shape=shape)


def _shifted_moments(x: Tensor, axes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(a number near the mean, x less that number, the mean less that number, the variance), the
    axes kept with size 1.

    With c near the mean, mean(x - c) and mean((x - c)^2) come from one pass and the variance is
    the second less the square of the first (Chan, Golub and LeVeque, 1983). The mean of a share s
    of the numbers lies within sqrt(variance * (1 - s) / s) of the mean of all (Cauchy-Schwarz).
    Neither moment changes with c, and so c needs no gradient.
    """
    shift = p.stop_gradient(math.reduce_mean(_subsample(x, axes), axes, keepdims=True))
    centered = x - shift
    mean_offset = math.reduce_mean(centered, axes, keepdims=True)
    spread = math.reduce_mean(centered * centered, axes, keepdims=True)
    return shift, centered, mean_offset, p.maximum(spread - mean_offset * mean_offset, 0.0)


def _subsample(x: Tensor, axes) -> Tensor:
    """What the first mean is taken of: some samples where they are the rows of a batch; all where
    each result is that of a row, which stays in cache."""
    if 0 not in axes or x.ndim - 1 in axes:
        return x
    some = (ceil(x.shape[0] * SUBSAMPLE_FRACTION), *x.shape[1:])
    return p.strided_slice(x, begin=(0,) * x.ndim, shape=some, steps=(1,) * x.ndim)


def normalize(x, axes, offset, scale, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """((x - mean) / sqrt(variance + epsilon) * scale + offset, mean, variance) over `axes`, which
    mean and variance keep with size 1. `offset` and `scale` broadcast, and may be None."""
    near, beyond, beside, variance = _shifted_moments(_require_floating("normalize", x), axes)
    inverse = math.rsqrt(variance + float(epsilon))
    if scale is None or _is_per_group(scale, variance):
        # One number for each group: all of it is one product and one sum for each element.
        factor = inverse if scale is None else inverse * scale
        begin = -beside * factor if offset is None else offset - beside * factor
        return beyond * factor + begin, near + beside, variance
    out = (beyond - beside) * inverse * scale
    return out if offset is None else out + offset, near + beside, variance


def _is_per_group(scale: Tensor, variance: Tensor) -> bool:
    """Whether there is one scale for each mean."""
    return tuple(scale.shape) == tuple(variance.shape)[variance.ndim - scale.ndim:]


def batch_normalization(x, mean, variance, offset, scale, variance_epsilon) -> Tensor:
    """scale * (x - mean) / sqrt(variance + epsilon) + offset, as one product and one sum.

    The four broadcast against `x`; `offset` and `scale` may be None.

    >>> tf.nn.batch_normalization(tf.constant([3.0]), 1.0, 4.0, None, None, 0.0).numpy()
    array([1.], dtype=float32)
    """
    x = _require_floating("batch_normalization", x)
    mean, variance = as_tensor(mean, x.dtype), as_tensor(variance, x.dtype)
    for name, part in (("mean", mean), ("variance", variance), ("offset", offset),
                       ("scale", scale)):
        if part is not None:
            _check_broadcast(name, as_tensor(part), x)
    factor = math.rsqrt(variance + float(variance_epsilon))
    factor = factor if scale is None else factor * scale
    return x * factor + (-mean * factor if offset is None else offset - mean * factor)


def _check_broadcast(name: str, part: Tensor, x: Tensor) -> None:
    lead = x.ndim - part.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(part.shape, x.shape[max(lead, 0):])):
        raise InvalidArgumentError(
            "batch_normalization",
            f"{name} {tuple(part.shape)} does not broadcast to x {tuple(x.shape)}",
            f"for one number for each channel give it the shape ({x.shape[-1] if x.ndim else 1},)")


def _require_floating(op: str, x) -> Tensor:
    x = as_tensor(x)
    if not x.dtype.is_floating:
        raise DTypeError(op, f"it is not defined for {x.dtype}", "use tf.cast to float32")
    return x
