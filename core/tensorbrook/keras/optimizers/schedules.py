"""Learning rate schedules, with Keras's names and formulas.

A schedule is computed from the optimizer's step count inside the compiled step.
"""

from __future__ import annotations

from math import pi
from typing import Any

import tensorbrook as tf

from ...base.errors import InvalidArgumentError
from .. import argument_checks


class LearningRateSchedule:
    """Base class of schedules: `schedule(step)` is the learning rate; override `__call__`.

    `step` is an integer or an integer Tensor, the result a float32 scalar.

    >>> class Halved(tf.keras.optimizers.schedules.LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 * 0.5 ** tf.cast(step // 1000, tf.float32)
    """

    def __call__(self, step: Any) -> tf.Tensor:
        raise NotImplementedError(f"{type(self).__name__}: the schedule has no `__call__`; "
                                  "override `def __call__(self, step)`")

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        names = argument_checks.constructor_arguments(type(self))
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def set_arguments(self, **arguments: Any) -> None:
        """Set numbers as attributes; InvalidArgumentError unless periods (steps) are positive."""
        for name, value in arguments.items():
            is_period = name.endswith("decay_steps")
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or is_period and not value > 0:
                raise InvalidArgumentError(
                    type(self).__name__, f"{name} is {value!r}",
                    "it must be a positive number" if is_period else "it must be a number")
            setattr(self, name, value)


def _to_float(step: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(step), tf.float32)


class _Decay(LearningRateSchedule):
    """Decay by `decay_rate` in each period of `decay_steps` steps."""

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float

    def __init__(self, initial_learning_rate: float, decay_steps: float, decay_rate: float,
                 staircase: bool = False, name: str | None = None):
        self.set_arguments(initial_learning_rate=initial_learning_rate, decay_steps=decay_steps,
                           decay_rate=decay_rate)
        self.staircase, self.name = staircase, name or type(self).__name__

    def elapsed_periods(self, step: Any) -> tf.Tensor:
        """The number of elapsed periods; rounded down if `staircase`."""
        periods = _to_float(step) / float(self.decay_steps)
        return tf.floor(periods) if self.staircase else periods


class ExponentialDecay(_Decay):
    """initial_learning_rate * decay_rate ** (step / decay_steps).

    With `staircase` the exponent is rounded down. Raises InvalidArgumentError unless the arguments
    are numbers and `decay_steps` is positive.
    """

    def __call__(self, step: Any) -> tf.Tensor:
        rate = tf.pow(float(self.decay_rate), self.elapsed_periods(step))
        return rate * float(self.initial_learning_rate)


class InverseTimeDecay(_Decay):
    """initial_learning_rate / (1 + decay_rate * (step / decay_steps)).

    With `staircase` the quotient step / decay_steps is rounded down. Raises InvalidArgumentError
    unless the arguments are numbers and `decay_steps` is positive.
    """

    def __call__(self, step: Any) -> tf.Tensor:
        rate = self.elapsed_periods(step) * float(self.decay_rate) + 1.0
        return float(self.initial_learning_rate) / rate


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and including step boundaries[0], then values[1] up to boundaries[1], ...

    Raises InvalidArgumentError unless the boundaries increase and there is one more value.

    >>> rate = tf.keras.optimizers.schedules.PiecewiseConstantDecay([100, 200], [1.0, 0.5, 0.1])
    >>> [float(rate(n)) for n in (100, 101, 999)]
    [1.0, 0.5, 0.10000000149011612]
    """

    def __init__(self, boundaries: Any, values: Any, name: str = "PiecewiseConstant"):
        self.boundaries, self.values, self.name = list(boundaries), list(values), name
        is_increasing = all(a < b for a, b in zip(self.boundaries, self.boundaries[1:]))
        if len(self.boundaries) != len(self.values) - 1 or not is_increasing:
            raise InvalidArgumentError(
                "PiecewiseConstantDecay", f"boundaries are {boundaries} and values {values}",
                "pass increasing boundaries, and one more value than boundaries")

    def __call__(self, step: Any) -> tf.Tensor:
        step, rate = _to_float(step), tf.constant(float(self.values[-1]))
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1])):
            rate = tf.where(step <= float(boundary), float(value), rate)
        return rate


class PolynomialDecay(LearningRateSchedule):
    """Polynomial decay from the initial rate to `end_learning_rate` within `decay_steps`.

    The difference to `end_learning_rate` is multiplied by (1 - step / decay_steps) ** power. With
    `cycle`, `decay_steps` is extended to its next multiple whenever the step reaches it. Raises
    InvalidArgumentError unless the arguments are numbers and `decay_steps` is positive.
    """

    initial_learning_rate: float
    decay_steps: float
    end_learning_rate: float
    power: float

    def __init__(self, initial_learning_rate: float, decay_steps: float,
                 end_learning_rate: float = 0.0001, power: float = 1.0, cycle: bool = False,
                 name: str = "PolynomialDecay"):
        self.set_arguments(initial_learning_rate=initial_learning_rate, decay_steps=decay_steps,
                           end_learning_rate=end_learning_rate, power=power)
        self.cycle, self.name = cycle, name

    def __call__(self, step: Any) -> tf.Tensor:
        periods = _to_float(step) / float(self.decay_steps)
        progress = periods / tf.maximum(tf.math.ceil(periods), 1.0) if self.cycle \
            else tf.minimum(periods, 1.0)
        end = float(self.end_learning_rate)
        return tf.pow(1.0 - progress, float(self.power)) * (self.initial_learning_rate - end) + end


class CosineDecay(LearningRateSchedule):
    """Cosine decay from the initial rate to `alpha` times that rate (arXiv:1608.03983).

    With a `warmup_target` the rate first rises linearly to the target within `warmup_steps`, and
    then decays from there. Raises InvalidArgumentError unless the arguments are numbers and
    `decay_steps` is positive.
    """

    initial_learning_rate: float
    decay_steps: float
    alpha: float
    warmup_steps: float

    def __init__(self, initial_learning_rate: float, decay_steps: float, alpha: float = 0.0,
                 name: str = "CosineDecay", warmup_target: float | None = None,
                 warmup_steps: int = 0):
        self.set_arguments(initial_learning_rate=initial_learning_rate, decay_steps=decay_steps,
                           alpha=alpha, warmup_steps=warmup_steps)
        self.warmup_target, self.name = warmup_target, name

    def __call__(self, step: Any) -> tf.Tensor:
        step, initial = _to_float(step), float(self.initial_learning_rate)
        if self.warmup_target is None:
            return self.cosine(step, initial)
        target, steps = float(self.warmup_target), float(self.warmup_steps)
        warmup = step * ((target - initial) / max(steps, 1.0)) + initial
        return tf.where(step < steps, warmup, self.cosine(step - steps, target))

    def cosine(self, step: tf.Tensor, peak: float) -> tf.Tensor:
        """The decay from `peak` to `alpha * peak`, at a step after the warm-up."""
        progress = tf.minimum(step / float(self.decay_steps), 1.0)
        factor = (tf.cos(progress * pi) + 1.0) * 0.5
        return (factor * (1.0 - self.alpha) + float(self.alpha)) * peak


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decay with warm restarts (arXiv:1608.03983).

    Each period is `t_mul` times as long as the previous period, and begins at `m_mul` times its
    initial rate. Raises InvalidArgumentError unless the arguments are numbers and
    `first_decay_steps` is positive.
    """

    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float
    m_mul: float
    alpha: float

    def __init__(self, initial_learning_rate: float, first_decay_steps: float, t_mul: float = 2.0,
                 m_mul: float = 1.0, alpha: float = 0.0, name: str = "SGDRDecay"):
        self.set_arguments(initial_learning_rate=initial_learning_rate,
                           first_decay_steps=first_decay_steps, t_mul=t_mul, m_mul=m_mul,
                           alpha=alpha)
        self.name = name

    def __call__(self, step: Any) -> tf.Tensor:
        restarts, progress = self.restart_state(_to_float(step) / float(self.first_decay_steps))
        peak = tf.pow(float(self.m_mul), restarts) * float(self.initial_learning_rate)
        factor = (tf.cos(progress * pi) + 1.0) * 0.5
        return (factor * (1.0 - self.alpha) + float(self.alpha)) * peak

    def restart_state(self, elapsed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(number of restarts, progress in the current period) from a time in first periods."""
        if self.t_mul == 1.0:
            restarts = tf.floor(elapsed)
            return restarts, elapsed - restarts
        # The first i periods take (t^i - 1) / (t - 1) times as long as the first period.
        t = float(self.t_mul)
        restarts = tf.floor(tf.math.log(1.0 - elapsed * (1.0 - t)) / tf.math.log(tf.constant(t)))
        scale = tf.pow(t, restarts)
        return restarts, (elapsed - (1.0 - scale) / (1.0 - t)) / scale


_CLASSES = (CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay,
            PiecewiseConstantDecay, PolynomialDecay)


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """The class and the arguments of a schedule, in Keras's format."""
    return {"module": "keras.optimizers.schedules", "class_name": type(schedule).__name__,
            "config": schedule.get_config(), "registered_name": None}


def deserialize(config: dict[str, Any]) -> LearningRateSchedule:
    """The schedule of a config made by `serialize`; InvalidArgumentError for an unknown class."""
    by_name = {c.__name__: c for c in _CLASSES}
    if config.get("class_name") not in by_name:
        raise argument_checks.unknown_name_error("learning_rate", "schedule",
                                                 config.get("class_name"), by_name)
    return by_name[config["class_name"]](**config["config"])
