"""Dynamic loss scaling: keeps float16 gradients from underflow, and skips steps that overflowed.

Source: Micikevicius et al., 2018, arXiv:1710.03740.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import tensorbrook as tf

from ...base.errors import FailedPreconditionError, InvalidArgumentError
from .. import argument_checks
from ..auto_names import unique_name
from .optimizer import Optimizer


def _delegated(name: str) -> Any:
    """An attribute that is read from and assigned to the inner optimizer."""
    return property(lambda self: getattr(self.inner_optimizer, name),
                    lambda self, value: setattr(self.inner_optimizer, name, value))


class LossScaleOptimizer(Optimizer):
    """Applies an inner optimizer to the gradients of a scaled loss, and adjusts the scale.

    The gradients are divided by the scale before the step. If one of them is not finite, the step
    is skipped and the scale is halved; after `dynamic_growth_steps` finite steps in a row the scale
    is doubled. All of this is part of the compiled step. `compile` wraps the optimizer of a model
    with the policy "mixed_float16". Raises InvalidArgumentError unless `inner_optimizer` is another
    kind of Optimizer and `initial_scale` is positive.

    >>> optimizer = tf.keras.optimizers.LossScaleOptimizer(tf.keras.optimizers.Adam())
    >>> float(optimizer.scale_loss(tf.constant(2.0)))
    65536.0
    """

    def __init__(self, inner_optimizer: Optimizer, initial_scale: float = 2.0**15,
                 dynamic_growth_steps: int = 2000, name: str | None = None, **kwargs: Any):
        argument_checks.reject_unknown(self, kwargs)
        if not isinstance(inner_optimizer, Optimizer) or \
                isinstance(inner_optimizer, LossScaleOptimizer):
            raise InvalidArgumentError("LossScaleOptimizer",
                                       f"inner_optimizer is {inner_optimizer!r}",
                                       "pass another optimizer, such as Adam()")
        if not float(initial_scale) > 0:
            raise InvalidArgumentError("LossScaleOptimizer", f"initial_scale is {initial_scale!r}",
                                       "it must be a positive number, such as 2.0**15")
        self.name = name or unique_name("loss_scale_optimizer")
        self.inner_optimizer, self.initial_scale = inner_optimizer, float(initial_scale)
        self.dynamic_growth_steps = argument_checks.require_int(
            "LossScaleOptimizer", "dynamic_growth_steps", dynamic_growth_steps)
        with tf.init_scope():
            self.step_counter = tf.Variable(0, trainable=False, name="step_counter")
            self.dynamic_scale = tf.Variable(self.initial_scale, trainable=False,
                                             name="dynamic_scale")

    # ── delegated to the inner optimizer ──

    built = _delegated("built")
    iterations = _delegated("iterations")  # the number of steps that were not skipped
    learning_rate = _delegated("learning_rate")
    weight_decay = _delegated("weight_decay")
    clipnorm = _delegated("clipnorm")
    clipvalue = _delegated("clipvalue")
    global_clipnorm = _delegated("global_clipnorm")

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.step_counter, self.dynamic_scale, *self.inner_optimizer.variables]

    @property
    def mutable_state(self) -> list[tf.Variable]:
        return [self.step_counter, self.dynamic_scale, *self.inner_optimizer.mutable_state]

    def build(self, variables: Iterable[tf.Variable]) -> None:
        self.inner_optimizer.build(variables)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def uses_weight_decay(self, variable: tf.Variable) -> bool:
        return self.inner_optimizer.uses_weight_decay(variable)

    def slots(self) -> tuple[str, ...]:
        return self.inner_optimizer.slots()

    def slot(self, name: str, variable: tf.Variable) -> tf.Variable:
        return self.inner_optimizer.slot(name, variable)

    def initial_slot(self, name: str, shape: tuple[int, ...]) -> tf.Tensor:
        return self.inner_optimizer.initial_slot(name, shape)

    def step_learning_rate(self) -> Any:
        return self.inner_optimizer.step_learning_rate()

    def update_step(self, gradient: Any, variable: tf.Variable, learning_rate: Any) -> None:
        self.inner_optimizer.update_step(gradient, variable, learning_rate)

    # ── steps ──

    def scale_loss(self, loss: Any) -> tf.Tensor:
        """The scaled loss, from which to compute gradients; float32, since float16 may overflow."""
        return tf.cast(loss, tf.float32) * self.dynamic_scale

    get_scaled_loss = scale_loss

    def get_unscaled_gradients(self, grads: list[Any]) -> list[Any]:
        raise FailedPreconditionError(
            self.name, "apply_gradients divides the gradients by the scale, as in Keras 3",
            "pass the gradients of the scaled loss to apply_gradients")

    def apply(self, grads: list[Any], trainable_variables: list[tf.Variable]) -> None:
        """Apply one step, or only update the scale if a gradient is not finite."""
        pairs = [(g, v) for g, v in zip(grads, trainable_variables) if g is not None]
        is_finite = _all_finite([g for g, _ in pairs])
        # The inverse scale depends on the check, so each update is one loop that runs after it, and
        # no new value is stored before. It also holds the result of the check (0: skip the step),
        # so the loop reads one scalar.
        inverse_scale = tf.where(is_finite, 1.0 / self.dynamic_scale, 0.0)
        is_applied = tf.greater(inverse_scale, 0.0)
        self.inner_optimizer.build(v for _, v in pairs)
        # Traced before the updates, so that their loops can fuse it; the equal equations that
        # `apply` traces again are common subexpressions.
        self.inner_optimizer.step_learning_rate()
        unscaled = [g if g is None else g * tf.cast(inverse_scale, g.dtype) for g in grads]
        updated = [*(v for _, v in pairs), *self.inner_optimizer.mutable_state]
        old_values = [v.value() for v in updated]
        self.inner_optimizer.apply(unscaled, trainable_variables)
        for variable, old in zip(updated, old_values):
            variable.assign(tf.where(is_applied, variable.value(), old))
        self._update_scale(is_applied)

    def _update_scale(self, is_finite: tf.Tensor) -> None:
        scale, steps = self.dynamic_scale.value(), self.step_counter.value()
        grows = tf.logical_and(is_finite, tf.equal(steps, self.dynamic_growth_steps - 1))
        self.dynamic_scale.assign(
            scale * tf.where(is_finite, tf.where(grows, 2.0, 1.0), 0.5))
        self.step_counter.assign(tf.where(tf.logical_and(is_finite, grows), 0,
                                          tf.where(is_finite, steps + 1, 0)))

    def get_config(self) -> dict[str, Any]:
        inner = self.inner_optimizer
        return {"name": self.name, "initial_scale": self.initial_scale,
                "dynamic_growth_steps": self.dynamic_growth_steps,
                "inner_optimizer": {"class_name": type(inner).__name__,
                                    "config": inner.get_config()}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LossScaleOptimizer:
        inner = config["inner_optimizer"]
        kind = next(k for k in _subclasses(Optimizer) if k.__name__ == inner["class_name"])
        return cls(**config | {"inner_optimizer": kind.from_config(inner["config"])})


def _subclasses(kind: type[Optimizer]) -> Iterator[type[Optimizer]]:
    """A class of optimizers and all classes derived from it, including the user's."""
    yield kind
    for derived in kind.__subclasses__():
        yield from _subclasses(derived)


def _all_finite(gradients: list[Any]) -> tf.Tensor:
    """Whether every element of all gradients is finite."""
    is_finite = tf.constant(True)
    for g in gradients:  # the epilogue of each reduction combines it with the previous results
        is_finite = tf.logical_and(tf.reduce_all(tf.math.is_finite(g)), is_finite)
    return is_finite
