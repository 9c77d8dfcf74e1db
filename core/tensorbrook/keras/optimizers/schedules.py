"""`tf.keras.optimizers.schedules`: learning rates that change with the number of the step.

They are computed from the optimizer's own count within the step's program, by Keras's formulas.
"""

from __future__ import annotations

from math import pi
from typing import Any

import tensorbrook as tf

from ...base.errors import InvalidArgumentError
from .. import argument_checks


class LearningRateSchedule:
    """A learning rate by the number of the step. Write `__call__(self, step)` for one of your own.

    >>> class Halved(tf.keras.optimizers.schedules.LearningRateSchedule):
    ...     def __call__(self, step):
    ...         return 0.1 * 0.5 ** tf.cast(step // 1000, tf.float32)
    """

    def __call__(self, step: Any) -> tf.Tensor:
        raise NotImplementedError(f"{type(self).__name__}: write `def __call__(self, step)`")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make the same schedule again."""
        return {name: getattr(self, name) for name in argument_checks.constructor_arguments(type(self))}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        return cls(**config)

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def set_arguments(self, **arguments: Any) -> None:
        """Keep numbers under their names; those of steps must be above 0."""
        for name, value in arguments.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or name.endswith("decay_steps") and not value > 0:
                raise InvalidArgumentError(
                    type(self).__name__, f"{name} is {value!r}",
                    "it takes a number" + " above 0" * name.endswith("decay_steps"))
            setattr(self, name, value)


def _number(step: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(step), tf.float32)


class _Decay(LearningRateSchedule):
    """What decays by a rate in each `decay_steps`."""

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float

    def __init__(self, initial_learning_rate: float, decay_steps: float, decay_rate: float,
                 staircase: bool = False, name: str | None = None):
        self.set_arguments(initial_learning_rate=initial_learning_rate, decay_steps=decay_steps,
                  decay_rate=decay_rate)
        self.staircase, self.name = staircase, name or type(self).__name__

    def elapsed_periods(self, step: Any) -> tf.Tensor:
        """How often `decay_steps` have passed; in whole numbers if `staircase`."""
        times = _number(step) / float(self.decay_steps)
        return tf.floor(times) if self.staircase else times


class ExponentialDecay(_Decay):
    """initial * decay_rate ** (step / decay_steps); in whole steps of that if `staircase`."""

    def __call__(self, step: Any) -> tf.Tensor:
        rate = tf.pow(float(self.decay_rate), self.elapsed_periods(step))
        return rate * float(self.initial_learning_rate)


class InverseTimeDecay(_Decay):
    """initial / (1 + decay_rate * step / decay_steps); in whole steps if `staircase`."""

    def __call__(self, step: Any) -> tf.Tensor:
        rate = self.elapsed_periods(step) * float(self.decay_rate) + 1.0
        return float(self.initial_learning_rate) / rate


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to step boundaries[0], then values[1] up to the next, and so on.

    >>> rate = tf.keras.optimizers.schedules.PiecewiseConstantDecay([100, 200], [1.0, 0.5, 0.1])
    >>> [float(rate(n)) for n in (100, 101, 999)]
    [1.0, 0.5, 0.10000000149011612]
    """

    def __init__(self, boundaries: Any, values: Any, name: str = "PiecewiseConstant"):
        self.boundaries, self.values, self.name = list(boundaries), list(values), name
        rising = all(a < b for a, b in zip(self.boundaries, self.boundaries[1:]))
        if len(self.boundaries) != len(self.values) - 1 or not rising:
            raise InvalidArgumentError(
                "PiecewiseConstantDecay", f"boundaries are {boundaries} and values {values}",
                "give rising boundaries, and one value more than those")

    def __call__(self, step: Any) -> tf.Tensor:
        at, rate = _number(step), tf.constant(float(self.values[-1]))
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1])):
            rate = tf.where(at <= float(boundary), float(value), rate)
        return rate


class PolynomialDecay(LearningRateSchedule):
    """From the initial rate to `end_learning_rate` within `decay_steps`, along a power of what is
    left of them; with `cycle` over the whole number of them that the step falls into."""

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
        parts = _number(step) / float(self.decay_steps)
        done = parts / tf.maximum(tf.math.ceil(parts), 1.0) if self.cycle \
            else tf.minimum(parts, 1.0)
        range_ = self.initial_learning_rate - self.end_learning_rate
        return tf.pow(1.0 - done, float(self.power)) * float(range_) + float(self.end_learning_rate)


class CosineDecay(LearningRateSchedule):
    """From the initial rate to `alpha` of it along half a cosine (arXiv:1608.03983). With a
    `warmup_target` first up to that rate, in `warmup_steps`, and down from there."""

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
        at, begin = _number(step), float(self.initial_learning_rate)
        if self.warmup_target is None:
            return self.cosine(at, begin)
        top, steps = float(self.warmup_target), float(self.warmup_steps)
        warming = at * ((top - begin) / max(steps, 1.0)) + begin
        return tf.where(at < steps, warming, self.cosine(at - steps, top))

    def cosine(self, at: tf.Tensor, top: float) -> tf.Tensor:
        done = tf.minimum(at / float(self.decay_steps), 1.0)
        half = (tf.cos(done * pi) + 1.0) * 0.5
        return (half * (1.0 - self.alpha) + float(self.alpha)) * top


class CosineDecayRestarts(LearningRateSchedule):
    """Half cosines one after the other, each `t_mul` times as long as the one before and from
    `m_mul` times its height (arXiv:1608.03983)."""

    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float
    m_mul: float
    alpha: float

    def __init__(self, initial_learning_rate: float, first_decay_steps: float, t_mul: float = 2.0,
                 m_mul: float = 1.0, alpha: float = 0.0, name: str = "SGDRDecay"):
        self.set_arguments(initial_learning_rate=initial_learning_rate, first_decay_steps=first_decay_steps,
                  t_mul=t_mul, m_mul=m_mul, alpha=alpha)
        self.name = name

    def __call__(self, step: Any) -> tf.Tensor:
        parts = _number(step) / float(self.first_decay_steps)
        number, done = self.restart_state(parts)
        top = tf.pow(float(self.m_mul), number) * float(self.initial_learning_rate)
        half = (tf.cos(done * pi) + 1.0) * 0.5
        return (half * (1.0 - self.alpha) + float(self.alpha)) * top

    def restart_state(self, parts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(how many restarts there were, the share done of the period since)."""
        if self.t_mul == 1.0:
            number = tf.floor(parts)
            return number, parts - number
        # After i restarts (t^i - 1) / (t - 1) first periods are over.
        t = float(self.t_mul)
        number = tf.floor(tf.math.log(1.0 - parts * (1.0 - t)) / tf.math.log(tf.constant(t)))
        scale = tf.pow(t, number)
        return number, (parts - (1.0 - scale) / (1.0 - t)) / scale


_CLASSES = (CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay,
            PiecewiseConstantDecay, PolynomialDecay)


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """Class and arguments, as Keras writes them."""
    return {"module": "keras.optimizers.schedules", "class_name": type(schedule).__name__,
            "config": schedule.get_config(), "registered_name": None}


def deserialize(config: dict[str, Any]) -> LearningRateSchedule:
    """The schedule that `serialize` wrote."""
    by_name = {c.__name__: c for c in _CLASSES}
    if config.get("class_name") not in by_name:
        raise argument_checks.unknown_name_error("learning_rate", "schedule", config.get("class_name"), by_name)
    return by_name[config["class_name"]](**config["config"])
