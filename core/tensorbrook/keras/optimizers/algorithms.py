"""The optimizers, by Keras's names and formulas. The update of one Variable is one chain of
elementwise operations, so that the compiler makes one pass over it; what is the same for all is a
scalar."""

from __future__ import annotations

from math import log
from typing import Any

import tensorbrook as tf

from ...base.errors import InvalidArgumentError
from .. import argument_checks
from .optimizer import Optimizer


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
            argument_checks.require_fraction("Adam", each, value)
        self.beta_1, self.beta_2 = float(beta_1), float(beta_2)
        self.epsilon, self.amsgrad = float(epsilon), amsgrad

    def slots(self) -> tuple[str, ...]:
        return ("momentum", "velocity", "velocity_hat")[:3 if self.amsgrad else 2]

    def step_learning_rate(self) -> Any:
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
        self.rho, self.momentum = argument_checks.require_fraction("RMSprop", "rho", rho), float(momentum)
        self.epsilon, self.centered = float(epsilon), centered

    def slots(self) -> tuple[str, ...]:
        wanted = {"velocity": True, "momentum": self.momentum, "average_gradient": self.centered}
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)

    def moving_average(self, name: str, variable: tf.Variable, value: Any) -> Any:
        """The running mean under that name, moved towards a value."""
        slot = self.slot(name, variable)
        mean = slot * self.rho + value * (1.0 - self.rho)
        slot.assign(mean)
        return mean

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        size = self.moving_average("velocity", variable, gradient * gradient)
        if self.centered:
            size = size - tf.square(self.moving_average("average_gradient", variable, gradient))
        step = gradient * learning_rate / tf.sqrt(size + self.epsilon)
        if self.momentum:
            momentum = self.slot("momentum", variable)
            step = momentum * self.momentum + step
            momentum.assign(step)
        variable.assign(variable - step)


class Adagrad(Optimizer):
    """Steps divided by the size of all gradients so far (Duchi, Hazan and Singer, 2011)."""

    def __init__(self, learning_rate: Any = 0.001, initial_accumulator_value: float = 0.1,
                 epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.initial_accumulator_value = float(initial_accumulator_value)
        self.epsilon = float(epsilon)

    def slots(self) -> tuple[str, ...]:
        return ("accumulator",)

    def initial_slot(self, name: str, shape: tuple[int, ...]) -> tf.Tensor:
        return tf.fill(shape, self.initial_accumulator_value)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        accumulator = self.slot("accumulator", variable)
        total = accumulator + gradient * gradient
        accumulator.assign(total)
        variable.assign(variable - gradient * learning_rate / tf.sqrt(total + self.epsilon))


class Adadelta(Optimizer):
    """Steps as large as those before, divided by the size that gradients had lately (Zeiler, 2012,
    arXiv:1212.5701)."""

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7,
                 **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.rho, self.epsilon = argument_checks.require_fraction("Adadelta", "rho", rho), float(epsilon)

    def slots(self) -> tuple[str, ...]:
        return "accumulated_grad", "accumulated_delta_var"

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        sizes, steps = (self.slot(name, variable) for name in self.slots())
        size = sizes * self.rho + gradient * gradient * (1.0 - self.rho)
        step = gradient * tf.sqrt(steps + self.epsilon) / tf.sqrt(size + self.epsilon)
        sizes.assign(size)
        steps.assign(steps * self.rho + step * step * (1.0 - self.rho))
        variable.assign(variable - step * learning_rate)


class Adamax(Optimizer):
    """Adam with the largest gradient lately in place of their size (section 7.1 there)."""

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-7, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = argument_checks.require_fraction("Adamax", "beta_1", beta_1)
        self.beta_2 = argument_checks.require_fraction("Adamax", "beta_2", beta_2)
        self.epsilon = float(epsilon)

    def slots(self) -> tuple[str, ...]:
        return "m", "u"

    def step_learning_rate(self) -> Any:
        t = tf.cast(self.iterations + 1, tf.float32)
        return self.learning_rate / _one_minus_power(self.beta_1, t)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        m, u = self.slot("m", variable), self.slot("u", variable)
        mean = m + (gradient - m) * (1.0 - self.beta_1)
        largest = tf.maximum(u * self.beta_2, tf.abs(gradient))
        m.assign(mean)
        u.assign(largest)
        variable.assign(variable - mean * learning_rate / (largest + self.epsilon))


class Lion(Optimizer):
    """Steps of one size in the direction that gradients had lately (arXiv:2302.06675)."""

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99,
                 **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = argument_checks.require_fraction("Lion", "beta_1", beta_1)
        self.beta_2 = argument_checks.require_fraction("Lion", "beta_2", beta_2)

    def slots(self) -> tuple[str, ...]:
        return ("momentum",)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        m = self.slot("momentum", variable)
        towards = tf.sign(m * self.beta_1 + gradient * (1.0 - self.beta_1))
        variable.assign(variable - towards * learning_rate)
        m.assign(m * self.beta_2 + gradient * (1.0 - self.beta_2))
