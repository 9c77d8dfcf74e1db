"""Initializers: the initial values of weights: `kernel_initializer="he_normal"`."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from ..base.host_array import HostArray
from ..ops.control_flow import scan_loop
from ..tensor import constant_from_host
from . import argument_checks
from .auto_names import snake_case

# The standard deviation of a standard normal distribution truncated to [-2, 2].
TRUNCATED_STDDEV = 0.87962566103423978

_seeded_generator = tf.random.Generator(0)


@tf.function
def _draw(distribution: str, shape: tuple, low: float, high: float, is_seeded: bool) -> tf.Tensor:
    """Random values as one program, from the seeded generator or from `tf.random`."""
    generator = _seeded_generator if is_seeded else tf.random
    return getattr(generator, distribution)(shape, low, high)


def host_zeros(shape: tuple[int, ...]) -> tf.Tensor:
    """A float32 Tensor of zeros, made on the host without a program."""
    return constant_from_host(HostArray(bytes(4 * prod(shape)), tuple(shape), tf.float32))


class Initializer:
    """Base class of initializers: `initializer(shape)` returns a float32 Tensor of that shape.

    With a `seed`, every call returns the same values; else they come from `tf.random`.
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def sample(self, distribution: str, shape: Any, low: float, high: float) -> tf.Tensor:
        """Random values; `low` and `high` are the first two arguments of the distribution."""
        if self.seed is not None:
            _seeded_generator.reset_from_seed(self.seed)
        return _draw(distribution, tuple(shape), low, high, self.seed is not None)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        names = argument_checks.constructor_arguments(type(self))
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        return cls(**config)


class Zeros(Initializer):
    """All elements 0."""

    def __init__(self):
        super().__init__()

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return host_zeros(tuple(shape))


class Constant(Initializer):
    """All elements `value`."""

    def __init__(self, value: float = 0.0):
        super().__init__()
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.fill(tuple(shape), float(self.value))


class Ones(Initializer):
    """All elements 1."""

    def __init__(self):
        super().__init__()

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.fill(tuple(shape), 1.0)


class RandomUniform(Initializer):
    """Uniform distribution over [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return self.sample("uniform", shape, self.minval, self.maxval)


class RandomNormal(Initializer):
    """Normal distribution."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return self.sample("normal", shape, self.mean, self.stddev)


class TruncatedNormal(RandomNormal):
    """Normal distribution truncated at two standard deviations from the mean."""

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return self.sample("truncated_normal", shape, self.mean, self.stddev)


def compute_fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out): the inputs of one output of a weight, and the outputs of one input."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    receptive_field = prod(shape[:-2])
    return shape[-2] * receptive_field, shape[-1] * receptive_field


class VarianceScaling(Initializer):
    """Random values of variance `scale / n`.

    n is the weight's fan_in, its fan_out or their mean, by `mode`: "fan_in", "fan_out" or
    "fan_avg". `distribution` is "truncated_normal", "untruncated_normal" or "uniform".
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in",
                 distribution: str = "truncated_normal", seed: int | None = None):
        super().__init__(seed)
        self.scale = scale
        self.mode = argument_checks.require_choice(
            "VarianceScaling", "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        self.distribution = argument_checks.require_choice(
            "VarianceScaling", "distribution", distribution,
            ("truncated_normal", "untruncated_normal", "uniform"))

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        fan_in, fan_out = compute_fans(tuple(shape))
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = sqrt(3.0 * variance)
            return self.sample("uniform", shape, -limit, limit)
        if self.distribution == "untruncated_normal":
            return self.sample("normal", shape, 0.0, sqrt(variance))
        return self.sample("truncated_normal", shape, 0.0, sqrt(variance) / TRUNCATED_STDDEV)


class _NamedScaling(VarianceScaling):
    """Variance scaling with fixed arguments, published under a name."""

    scaling_args: tuple[float, str, str]

    def __init__(self, seed: int | None = None):
        super().__init__(*self.scaling_args, seed=seed)


class GlorotUniform(_NamedScaling):
    """Uniform distribution of variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""

    scaling_args = 1.0, "fan_avg", "uniform"


class GlorotNormal(_NamedScaling):
    """Truncated normal distribution of variance 2 / (fan_in + fan_out)."""

    scaling_args = 1.0, "fan_avg", "truncated_normal"


class HeUniform(_NamedScaling):
    """Uniform distribution of variance 2 / fan_in (arXiv:1502.01852)."""

    scaling_args = 2.0, "fan_in", "uniform"


class HeNormal(_NamedScaling):
    """Truncated normal distribution of variance 2 / fan_in (arXiv:1502.01852)."""

    scaling_args = 2.0, "fan_in", "truncated_normal"


class LecunUniform(_NamedScaling):
    """Uniform distribution of variance 1 / fan_in."""

    scaling_args = 1.0, "fan_in", "uniform"


class LecunNormal(_NamedScaling):
    """Truncated normal distribution of variance 1 / fan_in."""

    scaling_args = 1.0, "fan_in", "truncated_normal"


class Orthogonal(Initializer):
    """Random orthogonal matrix (arXiv:1312.6120), from normal vectors by Gram-Schmidt.

    The weight is taken as a matrix of its last axis and all other axes. The rows of the matrix, or
    its columns if they are fewer, are orthogonal and have length `gain`. Raises
    InvalidArgumentError for a weight of fewer than two axes.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        if len(shape) < 2:
            raise InvalidArgumentError("Orthogonal", f"the weight has shape {tuple(shape)}",
                                       "it must have at least two axes")
        rows, columns = prod(shape[:-1]), shape[-1]
        wide = min(rows, columns), max(rows, columns)
        matrix = _orthogonalize(self.sample("normal", wide, 0.0, 1.0)) * self.gain
        return tf.reshape(tf.transpose(matrix) if rows > columns else matrix, tuple(shape))


@tf.function
def _orthogonalize(rows: tf.Tensor) -> tf.Tensor:
    """Gram-Schmidt: subtract from each row its projections on the previous rows, and normalize.

    Subtracting twice removes the rounding errors of the first time (Giraud et al., 2005).
    """
    def add_row(basis: tf.Tensor, x: tuple[tf.Tensor, tf.Tensor]):
        row, is_row = x
        for _ in range(2):
            row = row - tf.reduce_sum(tf.reduce_sum(basis * row, 1, keepdims=True) * basis, 0)
        row = row * tf.rsqrt(tf.reduce_sum(row * row))
        return tf.where(tf.expand_dims(is_row, 1), row, basis), ()

    count = rows.shape[0]
    is_row = tf.equal(tf.expand_dims(tf.range(count), 1), tf.range(count))
    return scan_loop(add_row, tf.zeros_like(rows), (rows, is_row))[0]


_CLASSES = (Zeros, Ones, Constant, RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling,
            GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal,
            Orthogonal)
BY_NAME: dict[str, type[Initializer]] = {snake_case(c.__name__): c for c in _CLASSES}
BY_NAME |= {"uniform": RandomUniform, "normal": RandomNormal}


def get(identifier: Any) -> Any:
    """The initializer of a name, a class or a config; a callable is returned unchanged.

    Raises InvalidArgumentError for an unknown name.
    """
    if isinstance(identifier, dict):
        return get(snake_case(identifier["class_name"])).from_config(identifier["config"])
    if isinstance(identifier, type):
        return identifier()
    if callable(identifier):
        return identifier
    name = snake_case(identifier) if isinstance(identifier, str) else identifier
    if name not in BY_NAME:
        raise argument_checks.unknown_name_error("initializer", "initializer", identifier,
                                                 BY_NAME)
    return BY_NAME[name]()


def serialize(initializer: Any) -> dict[str, Any]:
    """The class and the arguments of an initializer, in Keras's format."""
    config = initializer.get_config() if isinstance(initializer, Initializer) else {}
    return {"module": "keras.initializers", "class_name": type(initializer).__name__,
            "config": config, "registered_name": None}
