"""What weights begin as: `kernel_initializer="he_normal"`."""

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

# How much narrower a normal distribution gets by cutting it at two deviations.
TRUNCATED_STDDEV = 0.87962566103423978

_seeded = tf.random.Generator(0)


@tf.function
def _draw(distribution: str, shape: tuple, low: float, high: float, own_seed: bool) -> tf.Tensor:
    """Random numbers as one program, from the initializer's own stream or the common one."""
    return getattr(_seeded if own_seed else tf.random, distribution)(shape, low, high)


def host_zeros(shape: tuple[int, ...]) -> tf.Tensor:
    """Zeros that need no program, only memory."""
    return constant_from_host(HostArray(bytes(4 * prod(shape)), tuple(shape), tf.float32))


class Initializer:
    """Gives the first value of a weight: `initializer(shape)`."""

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def sample(self, distribution: str, shape: Any, low: float, high: float) -> tf.Tensor:
        if self.seed is not None:
            _seeded.reset_from_seed(self.seed)
        return _draw(distribution, tuple(shape), low, high, self.seed is not None)

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in argument_checks.constructor_arguments(type(self))}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        return cls(**config)


class Zeros(Initializer):
    def __init__(self):
        super().__init__()

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return host_zeros(tuple(shape))


class Constant(Initializer):
    def __init__(self, value: float = 0.0):
        super().__init__()
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.fill(tuple(shape), float(self.value))


class Ones(Initializer):
    def __init__(self):
        super().__init__()

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return tf.fill(tuple(shape), 1.0)


class RandomUniform(Initializer):
    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval, self.maxval = minval, maxval

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return self.sample("uniform", shape, self.minval, self.maxval)


class RandomNormal(Initializer):
    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean, self.stddev = mean, stddev

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return self.sample("normal", shape, self.mean, self.stddev)


class TruncatedNormal(RandomNormal):
    """The normal distribution within two deviations."""

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        return self.sample("truncated_normal", shape, self.mean, self.stddev)


def compute_fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs reach one output of a weight, and how many outputs one input reaches."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    field = prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class VarianceScaling(Initializer):
    """Random numbers whose variance is `scale` divided by the number of connections."""

    def __init__(self, scale: float = 1.0, mode: str = "fan_in",
                 distribution: str = "truncated_normal", seed: int | None = None):
        super().__init__(seed)
        self.scale = scale
        self.mode = argument_checks.require_choice("VarianceScaling", "mode", mode,
                                  ("fan_in", "fan_out", "fan_avg"))
        self.distribution = argument_checks.require_choice("VarianceScaling", "distribution", distribution,
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


class _Scaled(VarianceScaling):
    """A kind of variance scaling with a name of its own."""

    scaling_args: tuple[float, str, str]

    def __init__(self, seed: int | None = None):
        super().__init__(*self.scaling_args, seed=seed)


class GlorotUniform(_Scaled):
    scaling_args = 1.0, "fan_avg", "uniform"


class GlorotNormal(_Scaled):
    scaling_args = 1.0, "fan_avg", "truncated_normal"


class HeUniform(_Scaled):
    scaling_args = 2.0, "fan_in", "uniform"


class HeNormal(_Scaled):
    scaling_args = 2.0, "fan_in", "truncated_normal"


class LecunUniform(_Scaled):
    scaling_args = 1.0, "fan_in", "uniform"


class LecunNormal(_Scaled):
    scaling_args = 1.0, "fan_in", "truncated_normal"


class Orthogonal(Initializer):
    """A matrix whose rows, or columns, whichever are fewer, are orthogonal and of length `gain`:
    random normal ones, each freed of what it shares with those before it (arXiv:1312.6120)."""

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = gain

    def __call__(self, shape: Any, dtype: Any = None) -> tf.Tensor:
        if len(shape) < 2:
            raise InvalidArgumentError("Orthogonal", f"the weight has shape {tuple(shape)}",
                                       "it takes shapes of two axes or more")
        rows, columns = prod(shape[:-1]), shape[-1]
        few, many = min(rows, columns), max(rows, columns)
        base = _orthogonal(self.sample("normal", (few, many), 0.0, 1.0)) * self.gain
        return tf.reshape(tf.transpose(base) if rows > columns else base, tuple(shape))


@tf.function
def _orthogonal(rows: tf.Tensor) -> tf.Tensor:
    """Gram-Schmidt: each row less its shares of those before it, to length 1. Twice is enough
    (Giraud et al., 2005) for what rounding leaves."""
    def turn(base: tf.Tensor, x: tuple[tf.Tensor, tf.Tensor]):
        row, here = x
        for _ in range(2):
            row = row - tf.reduce_sum(tf.reduce_sum(base * row, 1, keepdims=True) * base, 0)
        row = row * tf.rsqrt(tf.reduce_sum(row * row))
        return tf.where(tf.expand_dims(here, 1), row, base), ()

    count = rows.shape[0]
    here = tf.equal(tf.expand_dims(tf.range(count), 1), tf.range(count))
    return scan_loop(turn, tf.zeros_like(rows), (rows, here))[0]


_CLASSES = (Zeros, Ones, Constant, RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling,
            GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal,
            Orthogonal)
BY_NAME: dict[str, type[Initializer]] = {snake_case(c.__name__): c for c in _CLASSES}
BY_NAME |= {"uniform": RandomUniform, "normal": RandomNormal}


def get(identifier: Any) -> Any:
    """The initializer of that name, of that config, or itself."""
    if isinstance(identifier, dict):
        return get(snake_case(identifier["class_name"])).from_config(identifier["config"])
    if isinstance(identifier, type):
        return identifier()
    if callable(identifier):
        return identifier
    name = snake_case(identifier) if isinstance(identifier, str) else identifier
    if name not in BY_NAME:
        raise argument_checks.unknown_name_error("initializer", "initializer", identifier, BY_NAME)
    return BY_NAME[name]()


def serialize(initializer: Any) -> dict[str, Any]:
    """Class and arguments, as Keras writes them."""
    config = initializer.get_config() if isinstance(initializer, Initializer) else {}
    return {"module": "keras.initializers", "class_name": type(initializer).__name__,
            "config": config, "registered_name": None}
