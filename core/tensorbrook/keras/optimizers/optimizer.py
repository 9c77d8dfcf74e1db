"""Optimizer base class: learning rate, gradient clipping, weight decay, and slot Variables."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import tensorbrook as tf

from ...base.errors import FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError
from .. import argument_checks, initializers
from ..auto_names import snake_case, unique_name
from . import schedules


class Optimizer:
    """Base class of optimizers, which update Variables from gradients; override `update_step`.

    `learning_rate` is a number of at least 0 or a LearningRateSchedule. `clipvalue` clips each
    element of the gradients, `clipnorm` the norm of each gradient, `global_clipnorm` the norm of
    all of them. `weight_decay` subtracts `weight_decay * learning_rate * w` from each weight w
    before the step.

    >>> class SignDescent(tf.keras.optimizers.Optimizer):
    ...     def update_step(self, gradient, variable, learning_rate):
    ...         variable.assign_sub(learning_rate * tf.sign(gradient))
    """

    def __init__(self, learning_rate: Any, *, weight_decay: float | None = None,
                 clipnorm: float | None = None, clipvalue: float | None = None,
                 global_clipnorm: float | None = None, name: str | None = None, **kwargs: Any):
        argument_checks.reject_unknown(self, kwargs)
        self.name = name or unique_name(snake_case(type(self).__name__))
        self.built = False
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        with tf.init_scope():
            self.iterations = tf.Variable(0, trainable=False, name="iteration")
            self._learning_rate = self._as_learning_rate(learning_rate)
        self._variables = [self.iterations]
        if isinstance(self._learning_rate, tf.Variable):
            self._variables.append(self._learning_rate)
        self._no_decay: tuple[set[int], tuple[str, ...]] = set(), ()
        self._slots: dict[str, dict[tf.Variable, tf.Variable]] = {}
        self._warned = False

    def _as_learning_rate(self, value: Any) -> Any:
        """A schedule, or a Variable that holds the learning rate."""
        if isinstance(value, dict):
            value = schedules.deserialize(value)
        if isinstance(value, schedules.LearningRateSchedule):
            return value
        return tf.Variable(self._checked_rate(value), trainable=False, name="learning_rate")

    def _checked_rate(self, value: Any) -> float:
        if isinstance(value, bool) or not hasattr(value, "__float__") or not float(value) >= 0:
            raise InvalidArgumentError(
                type(self).__name__, f"learning_rate is {value!r}",
                "it must be a number of at least 0, such as 0.001, or a schedule")
        return float(value)

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step: a Variable, or a Tensor if a schedule computes it.

        It can be set to a number between any two steps, without tracing them again. Raises
        FailedPreconditionError if a schedule is involved.
        """
        rate = self._learning_rate
        return rate if isinstance(rate, tf.Variable) else rate(self.iterations)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, schedules.LearningRateSchedule) \
                or not isinstance(self._learning_rate, tf.Variable):
            raise FailedPreconditionError(
                self.name, f"its learning rate {self._learning_rate!r} cannot be replaced by "
                f"{value!r}, because compiled steps contain it", "create a new optimizer")
        self._learning_rate.assign(self._checked_rate(value))

    @property
    def variables(self) -> list[tf.Variable]:
        """All state: the step count, the learning rate if it is a Variable, and the slots."""
        return list(self._variables)

    @property
    def mutable_state(self) -> list[tf.Variable]:
        """The Variables that a step updates besides the weights: all but the learning rate."""
        return [v for v in self._variables if v is not self._learning_rate]

    # ── slots: state for each Variable ──

    def build(self, variables: Iterable[tf.Variable]) -> None:
        """Create the slots of the Variables that have none."""
        self.built = True
        for variable in variables:
            for slot in self.slots():
                self.slot(slot, variable)

    def slots(self) -> tuple[str, ...]:
        """The names of the slots of each Variable."""
        return ()

    def slot(self, name: str, variable: tf.Variable) -> tf.Variable:
        """The slot of a Variable, of the same shape and dtype; created on first use."""
        slots = self._slots.setdefault(name, {})
        if variable not in slots:
            slots[variable] = self._create_slot(name, variable)
            self._variables.append(slots[variable])
        return slots[variable]

    def initial_slot(self, name: str, shape: tuple[int, ...]) -> tf.Tensor:
        """The value of a slot before the first step: zeros."""
        return initializers.host_zeros(shape)

    def _create_slot(self, name: str, variable: tf.Variable) -> tf.Variable:
        try:
            with tf.init_scope():
                value = tf.cast(self.initial_slot(name, tuple(variable.shape)), variable.dtype)
                return tf.Variable(value, trainable=False, name=f"{variable.name}_{name}")
        except MemoryError:
            raise ResourceExhaustedError(
                self.name, f"{name} of {variable.name} {tuple(variable.shape)} needs "
                f"{argument_checks.readable_size(variable.spec.size_bytes)}",
                "use a smaller model, or SGD without momentum, which has no slots") from None

    # ── steps ──

    def scale_loss(self, loss: Any) -> Any:
        """The loss from which to compute gradients; a LossScaleOptimizer multiplies it."""
        return loss

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, tf.Variable]]) -> tf.Variable:
        """Apply one step: `apply_gradients(zip(gradients, variables))`; returns the step count.

        Variables whose gradient is None stay unchanged, with a warning. Raises
        InvalidArgumentError if all gradients are None.
        """
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])
        return self.iterations

    def apply(self, grads: list[Any], trainable_variables: list[tf.Variable]) -> None:
        """Apply one step to every Variable that has a gradient."""
        pairs = self._with_gradient(grads, trainable_variables)
        self.build(v for _, v in pairs)
        rate = self.step_learning_rate()
        for g, variable in self._clip_gradients(pairs):
            if self.weight_decay and self.uses_weight_decay(variable):
                decay = self.weight_decay * self.learning_rate
                variable.assign_sub(variable * tf.cast(decay, variable.dtype))
            self.update_step(g, variable, tf.cast(rate, variable.dtype))
        self.iterations.assign_add(1)

    def step_learning_rate(self) -> Any:
        """The learning rate of this step, multiplied by the scalar factors of the algorithm."""
        return tf.convert_to_tensor(self.learning_rate)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Exclude Variables from weight decay, by object or by a part of their name.

        Raises FailedPreconditionError after the first step.

        >>> optimizer = tf.keras.optimizers.AdamW()
        >>> optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        """
        if self._slots:
            raise FailedPreconditionError(self.name, "the first step has been applied",
                                          "call exclude_from_weight_decay before it")
        self._no_decay = {id(v) for v in var_list or ()}, tuple(var_names or ())

    def uses_weight_decay(self, variable: tf.Variable) -> bool:
        """Whether weight decay applies to a Variable."""
        ids, names = self._no_decay
        return id(variable) not in ids and not any(name in variable.name for name in names)

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        """Update a Variable from its gradient; `learning_rate` is a scalar of its dtype."""
        raise NotImplementedError(f"{self.name}: the optimizer has no `update_step`; override "
                                  "`def update_step(self, gradient, variable, learning_rate)`")

    def _with_gradient(self, grads, variables) -> list[tuple[Any, tf.Variable]]:
        pairs = [(g, v) for g, v in zip(grads, variables) if g is not None]
        if not pairs:
            raise InvalidArgumentError(
                self.name, "no Variable has a gradient",
                "compute the loss from the trainable weights inside the tape")
        if len(pairs) < len(variables) and not self._warned:
            self._warned = True
            missing = ", ".join(v.name for g, v in zip(grads, variables) if g is None)
            warnings.warn(f"{self.name}: the loss does not depend on {missing}", stacklevel=3)
        return pairs

    def _clip_gradients(
            self, pairs: list[tuple[Any, tf.Variable]]) -> list[tuple[Any, tf.Variable]]:
        if self.clipvalue is not None:
            limit = float(self.clipvalue)
            return [(tf.clip_by_value(g, -limit, limit), v) for g, v in pairs]
        if self.clipnorm is not None:
            return [(g * _clip_factor(_norm([g]), self.clipnorm), v) for g, v in pairs]
        if self.global_clipnorm is not None:
            factor = _clip_factor(_norm([g for g, _ in pairs]), self.global_clipnorm)
            return [(g * factor, v) for g, v in pairs]
        return pairs

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        names = argument_checks.constructor_arguments(type(self))
        config = {n: getattr(self, n) for n in names if hasattr(self, n)}
        rate = self._learning_rate
        value = float(rate) if isinstance(rate, tf.Variable) else schedules.serialize(rate)
        return config | {"name": self.name, "learning_rate": value}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        return cls(**config)


def _norm(gradients: list[Any]) -> tf.Tensor:
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(g)) for g in gradients]))


def _clip_factor(norm: tf.Tensor, limit: float) -> tf.Tensor:
    """The factor that limits a norm to `limit`."""
    return float(limit) / tf.maximum(norm, float(limit))
