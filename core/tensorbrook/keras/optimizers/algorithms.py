"""Optimizer algorithms, with Keras's names and formulas.

The update of a Variable is a chain of elementwise operations, which the compiler fuses into one
loop. Factors that are the same for all elements are computed as scalars, outside of the loop.
"""

from __future__ import annotations

from math import log
from typing import Any

import tensorbrook as tf

from ...base.errors import InvalidArgumentError
from .. import argument_checks
from .optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent: w -= learning_rate * gradient, optionally with momentum.

    With momentum, v = momentum * v - learning_rate * gradient and w += v; `nesterov` uses the
    Nesterov form. Raises InvalidArgumentError unless momentum is in [0, 1].

    >>> optimizer = tf.keras.optimizers.SGD(0.1, momentum=0.9)
    """

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False,
                 weight_decay: float | None = None, clipnorm: float | None = None,
                 clipvalue: float | None = None, global_clipnorm: float | None = None,
                 name: str | None = None, **kwargs: Any):
        super().__init__(learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, name=name, **kwargs)
        if not 0 <= momentum <= 1:
            raise InvalidArgumentError("SGD", f"momentum is {momentum}", "it must be 0 to 1")
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
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980): steps m / (sqrt(v) + epsilon).

    m and v are moving averages of the gradient and of its square. The bias corrections of both are
    factors of the learning rate. With `amsgrad` the largest v so far is used. Raises
    InvalidArgumentError unless beta_1 and beta_2 are in [0, 1).

    >>> optimizer = tf.keras.optimizers.Adam(learning_rate=0.001)
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-7, amsgrad: bool = False, weight_decay: float | None = None,
                 clipnorm: float | None = None, clipvalue: float | None = None,
                 global_clipnorm: float | None = None, name: str | None = None, **kwargs: Any):
        super().__init__(learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, name=name, **kwargs)
        self.beta_1 = argument_checks.require_fraction("Adam", "beta_1", beta_1)
        self.beta_2 = argument_checks.require_fraction("Adam", "beta_2", beta_2)
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
    """1 - base ** t, accurate in float32 where the power is close to 1."""
    return -tf.math.expm1(t * log(base)) if base else 1.0


class AdamW(Adam):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.004,
                 beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
                 amsgrad: bool = False, **kwargs: Any):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, **kwargs)


class RMSprop(Optimizer):
    """RMSprop: steps gradient / sqrt(v + epsilon), with v a moving average of gradient ** 2.

    `rho` in [0, 1) is the decay of the average. With `centered` v is an estimate of the variance of
    the gradient, and with `momentum` the steps are accumulated.
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0,
                 epsilon: float = 1e-7, centered: bool = False, **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.rho = argument_checks.require_fraction("RMSprop", "rho", rho)
        self.momentum, self.epsilon = float(momentum), float(epsilon)
        self.centered = centered

    def slots(self) -> tuple[str, ...]:
        is_used = {"velocity": True, "momentum": self.momentum, "average_gradient": self.centered}
        return tuple(name for name, used in is_used.items() if used)

    def moving_average(self, name: str, variable: tf.Variable, value: Any) -> Any:
        """Update the moving average in a slot with a value; returns the new average."""
        slot = self.slot(name, variable)
        mean = slot * self.rho + value * (1.0 - self.rho)
        slot.assign(mean)
        return mean

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        velocity = self.moving_average("velocity", variable, gradient * gradient)
        if self.centered:
            mean = self.moving_average("average_gradient", variable, gradient)
            velocity = velocity - tf.square(mean)
        step = gradient * learning_rate / tf.sqrt(velocity + self.epsilon)
        if self.momentum:
            momentum = self.slot("momentum", variable)
            step = momentum * self.momentum + step
            momentum.assign(step)
        variable.assign(variable - step)


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011): steps gradient / sqrt(sum of gradient ** 2)."""

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
    """Adadelta (Zeiler, 2012, arXiv:1212.5701): steps gradient * RMS(steps) / RMS(gradients).

    Both are root mean squares of moving averages, whose decay `rho` is in [0, 1).
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7,
                 **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.rho = argument_checks.require_fraction("Adadelta", "rho", rho)
        self.epsilon = float(epsilon)

    def slots(self) -> tuple[str, ...]:
        return "accumulated_grad", "accumulated_delta_var"

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        square_gradients, square_steps = (self.slot(name, variable) for name in self.slots())
        mean = square_gradients * self.rho + gradient * gradient * (1.0 - self.rho)
        step = gradient * tf.sqrt(square_steps + self.epsilon) / tf.sqrt(mean + self.epsilon)
        square_gradients.assign(mean)
        square_steps.assign(square_steps * self.rho + step * step * (1.0 - self.rho))
        variable.assign(variable - step * learning_rate)


class Adamax(Optimizer):
    """Adamax: Adam with a decaying maximum of |gradient| (arXiv:1412.6980, section 7.1)."""

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
    """Lion (arXiv:2302.06675): steps of the sign of an average of past and present gradients."""

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99,
                 **kwargs: Any):
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = argument_checks.require_fraction("Lion", "beta_1", beta_1)
        self.beta_2 = argument_checks.require_fraction("Lion", "beta_2", beta_2)

    def slots(self) -> tuple[str, ...]:
        return ("momentum",)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        m = self.slot("momentum", variable)
        direction = tf.sign(m * self.beta_1 + gradient * (1.0 - self.beta_1))
        variable.assign(variable - direction * learning_rate)
        m.assign(m * self.beta_2 + gradient * (1.0 - self.beta_2))
