"""LossScaleOptimizer: gradients so large that float16 holds them, and steps that leave out those it
did not (Micikevicius et al., 2018, arXiv:1710.03740)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import tensorbrook as tf

from ...base.errors import FailedPreconditionError, InvalidArgumentError
from .. import argument_checks
from ..auto_names import unique_name
from .optimizer import Optimizer


class LossScaleOptimizer(Optimizer):
    """Another optimizer, for a loss that was multiplied by a scale, which it finds itself.

    Gradients are divided by the scale again. If one of them is not finite, nothing changes but the
    scale, which is halved; after `dynamic_growth_steps` steps that were, it is doubled. All of it
    is part of the compiled step. `compile` puts it around the optimizer of a model whose policy is
    "mixed_float16".

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
                                       "give it a plain optimizer, such as Adam()")
        if not float(initial_scale) > 0:
            raise InvalidArgumentError("LossScaleOptimizer", f"initial_scale is {initial_scale!r}",
                                       "it takes a number above 0, such as 2.0**15")
        self.name = name or unique_name("loss_scale_optimizer")
        self.inner_optimizer, self.initial_scale = inner_optimizer, float(initial_scale)
        self.dynamic_growth_steps = argument_checks.require_int("LossScaleOptimizer", "dynamic_growth_steps",
                                                 dynamic_growth_steps)
        with tf.init_scope():
            self.step_counter = tf.Variable(0, trainable=False, name="step_counter")
            self.dynamic_scale = tf.Variable(self.initial_scale, trainable=False,
                                             name="dynamic_scale")

    # ── what is the inner optimizer's ──

    @property
    def built(self) -> bool:
        return self.inner_optimizer.built

    @property
    def iterations(self) -> tf.Variable:
        """The steps that changed something."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def variables(self) -> list[tf.Variable]:
        return [self.step_counter, self.dynamic_scale, *self.inner_optimizer.variables]

    def build(self, variables: Iterable[tf.Variable]) -> None:
        self.inner_optimizer.build(variables)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    # ── steps ──

    def scale_loss(self, loss: Any) -> tf.Tensor:
        """What to take the gradient of: in float32, for float16 would not hold it."""
        return tf.cast(loss, tf.float32) * self.dynamic_scale

    get_scaled_loss = scale_loss

    def get_unscaled_gradients(self, grads: list[Any]) -> list[Any]:
        raise FailedPreconditionError(
            self.name, "its steps divide gradients by the scale themselves, as in Keras 3",
            "hand the gradients of the scaled loss to apply_gradients")

    def apply(self, grads: list[Any], trainable_variables: list[tf.Variable]) -> None:
        """One step, or none if a gradient is not finite."""
        pairs = [(g, v) for g, v in zip(grads, trainable_variables) if g is not None]
        finite = _all_finite([g for g, _ in pairs])
        # It hangs on the check, so that an update is one pass after that, and no new value waits in
        # memory for it; and it says how the check went, so that the pass reads one number.
        smaller = tf.where(finite, 1.0 / self.dynamic_scale, 0.0)
        changes = tf.greater(smaller, 0.0)
        self.inner_optimizer.build(v for _, v in pairs)
        self.inner_optimizer.step_learning_rate()      # before what reads it, for the pass to take it in
        unscaled = [g if g is None else g * tf.cast(smaller, g.dtype) for g in grads]
        changing = [*(v for _, v in pairs), *self.inner_optimizer.mutable_state]
        before = [v.value() for v in changing]
        self.inner_optimizer.apply(unscaled, trainable_variables)
        for variable, old in zip(changing, before):
            variable.assign(tf.where(changes, variable.value(), old))
        self._update_scale(changes)

    def _update_scale(self, finite: tf.Tensor) -> None:
        scale, steps = self.dynamic_scale.value(), self.step_counter.value()
        grows = tf.logical_and(finite, tf.equal(steps, self.dynamic_growth_steps - 1))
        self.dynamic_scale.assign(
            scale * tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5))
        self.step_counter.assign(tf.where(tf.logical_and(finite, grows), 0,
                                          tf.where(finite, steps + 1, 0)))

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
    """An optimizer's class and those derived from it, the user's among them."""
    yield kind
    for derived in kind.__subclasses__():
        yield from _subclasses(derived)


def _all_finite(gradients: list[Any]) -> tf.Tensor:
    """Whether every element of all gradients is finite."""
    finite = tf.constant(True)
    for g in gradients:                  # each fold takes in what those before it have found
        finite = tf.logical_and(tf.reduce_all(tf.math.is_finite(g)), finite)
    return finite
