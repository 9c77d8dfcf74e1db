"""Optimizers, by Keras's names and formulas. The update of one Variable is one chain of elementwise
operations, so that the compiler makes one pass over it; what is the same for all is a scalar."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from math import log
from typing import Any, cast

import tensorbrook as tf

from ..base.errors import InvalidArgumentError, ResourceExhaustedError
from . import checks, initializers
from .names import numbered, snake_case


class Optimizer:
    """Changes Variables by their gradients. Write `update_step` for one of your own."""

    def __init__(self, learning_rate: Any, *, weight_decay: float | None = None,
                 clipnorm: float | None = None, clipvalue: float | None = None,
                 global_clipnorm: float | None = None, name: str | None = None, **kwargs: Any):
        checks.no_more(self, kwargs)
        self.name = name or numbered(snake_case(type(self).__name__))
        self.built = False
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        with tf.init_scope():
            self.iterations = tf.Variable(0, trainable=False, name="iteration")
            self._learning_rate = tf.Variable(self._rate(learning_rate), trainable=False,
                                              name="learning_rate")
        self._variables = [self.iterations, self._learning_rate]
        self._slots: dict[str, dict[tf.Variable, tf.Variable]] = {}
        self._warned = False

    def _rate(self, value: Any) -> float:
        if isinstance(value, bool) or not hasattr(value, "__float__") or not float(value) >= 0:
            raise InvalidArgumentError(type(self).__name__, f"learning_rate is {value!r}",
                                       "it takes a number of 0 or more, such as 0.001")
        return float(value)

    @property
    def learning_rate(self) -> tf.Variable:
        """How far each step goes; set it to a number at any time."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._learning_rate.assign(self._rate(value))

    @property
    def variables(self) -> list[tf.Variable]:
        return list(self._variables)

    # ── state for each Variable ──

    def build(self, variables: Iterable[tf.Variable]) -> None:
        """Make the state of every Variable that has none yet."""
        self.built = True
        for variable in variables:
            for slot in self.slots():
                self.slot(slot, variable)

    def slots(self) -> tuple[str, ...]:
        """The names of what is remembered for each Variable."""
        return ()

    def slot(self, name: str, variable: tf.Variable) -> tf.Variable:
        """What is remembered under that name for a Variable; zeros at first."""
        held = self._slots.setdefault(name, {})
        if variable not in held:
            held[variable] = self._zeros(name, variable)
            self._variables.append(held[variable])
        return held[variable]

    def _zeros(self, name: str, variable: tf.Variable) -> tf.Variable:
        try:
            with tf.init_scope():
                zeros = initializers.zeros_on_host(tuple(variable.shape))
                return tf.Variable(zeros, trainable=False, name=f"{variable.name}_{name}")
        except MemoryError:
            raise ResourceExhaustedError(
                self.name, f"{name} of {variable.name} {tuple(variable.shape)} needs "
                f"{checks.readable_size(variable.spec.size_bytes)}",
                "use a smaller model, or SGD, which remembers nothing") from None

    # ── steps ──

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, tf.Variable]]) -> tf.Variable:
        """One step: `apply_gradients(zip(gradients, variables))`."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self.iterations

    def apply(self, grads: list[Any], trainable_variables: list[tf.Variable]) -> None:
        """One step of every Variable that has a gradient."""
        pairs = self._with_gradient(grads, trainable_variables)
        self.build(v for _, v in pairs)
        rate = self.rate_of_step()
        for g, variable in self._clipped(pairs):
            if self.weight_decay:
                variable.assign_sub(variable * (self.weight_decay * self.learning_rate))
            self.update_step(g, variable, rate)
        self.iterations.assign_add(1)

    def rate_of_step(self) -> Any:
        """The learning rate of this step, with what the formula multiplies into it."""
        return self.learning_rate.value()

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        raise NotImplementedError(f"{self.name}: write "
                                  "`def update_step(self, gradient, variable, learning_rate)`")

    def _with_gradient(self, grads, variables) -> list[tuple[Any, tf.Variable]]:
        pairs = [(g, v) for g, v in zip(grads, variables) if g is not None]
        if not pairs:
            raise InvalidArgumentError(
                self.name, "no Variable has a gradient",
                "compute the loss from the model's output inside of the tape")
        if len(pairs) < len(variables) and not self._warned:
            self._warned = True
            missing = ", ".join(v.name for g, v in zip(grads, variables) if g is None)
            warnings.warn(f"{self.name}: the loss does not depend on {missing}", stacklevel=3)
        return pairs

    def _clipped(self, pairs: list[tuple[Any, tf.Variable]]) -> list[tuple[Any, tf.Variable]]:
        if self.clipvalue is not None:
            limit = float(self.clipvalue)
            return [(tf.clip_by_value(g, -limit, limit), v) for g, v in pairs]
        if self.clipnorm is not None:
            return [(g * _shrink(_norm([g]), self.clipnorm), v) for g, v in pairs]
        if self.global_clipnorm is not None:
            factor = _shrink(_norm([g for g, _ in pairs]), self.global_clipnorm)
            return [(g * factor, v) for g, v in pairs]
        return pairs

    def get_config(self) -> dict[str, Any]:
        known = checks.known_arguments(type(self))
        config = {n: getattr(self, n) for n in known if hasattr(self, n)}
        return config | {"name": self.name, "learning_rate": float(self.learning_rate)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        return cls(**config)


def _norm(gradients: list[Any]) -> tf.Tensor:
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))


def _shrink(norm: tf.Tensor, limit: float) -> tf.Tensor:
    """What to multiply by so that the norm is at most `limit`."""
    return float(limit) / tf.maximum(norm, float(limit))


class SGD(Optimizer):
    """w -= rate * g, or with a velocity that remembers the steps before."""

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False,
                 weight_decay: float | None = None, clipnorm: float | None = None,
                 clipvalue: float | None = None, global_clipnorm: float | None = None,
                 name: str | None = None, **kwargs: Any):
        super().__init__(learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, name=name, **kwargs)
        if not 0 <= momentum <= 1:
            raise InvalidArgumentError("SGD", f"momentum is {momentum}", "it takes 0 to 1")
        self.momentum, self.nesterov = float(momentum), nesterov

    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        step = gradient * learning_rate
        if not self.momentum:
            variable.assign(variable - step)
            return
        velocity = self.slot("momentum", variable)
        v = velocity * self.momentum - step
        velocity.assign(v)
        variable.assign(variable + v * self.momentum - step if self.nesterov else variable + v)


class Adam(Optimizer):
    """Steps by the mean of the gradients, divided by their size (Kingma and Ba, 2015,
    arXiv:1412.6980), with the corrections of both means drawn into the rate."""

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-7, amsgrad: bool = False, weight_decay: float | None = None,
                 clipnorm: float | None = None, clipvalue: float | None = None,
                 global_clipnorm: float | None = None, name: str | None = None, **kwargs: Any):
        super().__init__(learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, name=name, **kwargs)
        for each, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            checks.share("Adam", each, value)
        self.beta_1, self.beta_2 = float(beta_1), float(beta_2)
        self.epsilon, self.amsgrad = float(epsilon), amsgrad

    def slots(self) -> tuple[str, ...]:
        return ("momentum", "velocity", "velocity_hat")[:3 if self.amsgrad else 2]

    def rate_of_step(self) -> Any:
        t = tf.cast(self.iterations + 1, tf.float32)
        return self.learning_rate * tf.sqrt(_one_minus_power(self.beta_2, t)) \
            / _one_minus_power(self.beta_1, t)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        g = gradient
        m, v = self.slot("momentum", variable), self.slot("velocity", variable)
        new_m = m + (g - m) * (1.0 - self.beta_1)
        new_v = v + (g * g - v) * (1.0 - self.beta_2)
        m.assign(new_m)
        v.assign(new_v)
        if self.amsgrad:
            largest = self.slot("velocity_hat", variable)
            new_v = tf.maximum(largest, new_v)
            largest.assign(new_v)
        variable.assign(variable - new_m * learning_rate / (tf.sqrt(new_v) + self.epsilon))


def _one_minus_power(base: float, t: tf.Tensor) -> Any:
    """1 - base ** t, exact in float32 also where the power is close to 1."""
    return -tf.math.expm1(t * log(base)) if base else 1.0


class AdamW(Adam):
    """Adam whose weights also shrink a little each step (arXiv:1711.05101)."""

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004,
                 beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
                 amsgrad: bool = False, **kwargs: Any):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, **kwargs)


class RMSprop(Optimizer):
    """Steps divided by the size that gradients had lately."""

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0,
                 epsilon: float = 1e-7, centered: bool = False, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.rho, self.momentum = checks.share("RMSprop", "rho", rho), float(momentum)
        self.epsilon, self.centered = float(epsilon), centered

    def slots(self) -> tuple[str, ...]:
        wanted = {"velocity": True, "momentum": self.momentum, "average_gradient": self.centered}
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)

    def remembered(self, name: str, variable: tf.Variable, value: Any) -> Any:
        """The running mean under that name, moved towards a value."""
        slot = self.slot(name, variable)
        mean = slot * self.rho + value * (1.0 - self.rho)
        slot.assign(mean)
        return mean

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        size = self.remembered("velocity", variable, gradient * gradient)
        if self.centered:
            size = size - tf.square(self.remembered("average_gradient", variable, gradient))
        step = gradient * learning_rate / tf.sqrt(size + self.epsilon)
        if self.momentum:
            momentum = self.slot("momentum", variable)
            step = momentum * self.momentum + step
            momentum.assign(step)
        variable.assign(variable - step)


BY_NAME: dict[str, Callable[..., Optimizer]] = {
    "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop, "sgd": SGD}


def get(identifier: Any) -> Optimizer:
    """The optimizer of that name with its usual arguments; an Optimizer is itself."""
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return cast("Callable[[], Optimizer]", identifier)()
    if not isinstance(identifier, str) or identifier.lower() not in BY_NAME:
        raise checks.unknown_name("compile", "optimizer", identifier, BY_NAME)
    return BY_NAME[identifier.lower()]()
