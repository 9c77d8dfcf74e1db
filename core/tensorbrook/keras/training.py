"""Training: `compile`, the train, test and predict steps, and their compiled programs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ..base.errors import FailedPreconditionError, InvalidArgumentError
from . import losses, metrics, optimizers
from .batch_iterator import BatchIterator
from .dtype_policies import DTypePolicy
from .trainable_flags import TrainableFlags
from .training_loops import TrainingLoops


class Training(TrainingLoops):
    """The steps of a Model; a subclass may override `train_step` and `test_step`, as in Keras."""

    __call__: Callable[..., Any]  # from Layer
    dtype_policy: DTypePolicy
    nested_layers: Callable[[], list[Any]]
    weights: list[tf.Variable]
    trainable_variables: list[tf.Variable]
    trainable: bool

    def prepare_training(self) -> None:
        self.optimizer: Any = None  # an Optimizer, once compiled
        self.loss: Any = None
        self.compiled = self.stop_training = False
        self._loss: losses.Loss | None = None
        self._loss_tracker: Any = None  # a Mean, once compiled
        self._metrics: list[metrics.Metric] = []
        self._iterators: dict[str, BatchIterator] = {}
        self.reset_functions()

    def reset_functions(self) -> None:
        """Discard the traced steps after a change of the layers; they are traced again on use."""
        self.train_function = self.test_function = self.predict_function = None
        self._sample_steps: dict[str, Callable] = {}
        self._traced_flags = TrainableFlags()

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy, without the traced steps."""
        steps = {f"{kind}_function": None for kind in ("train", "test", "predict")}
        return self.__dict__ | steps | {"_sample_steps": {}, "_traced_flags": TrainableFlags()}

    # ── compile ──

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None,
                metrics: Any = None, weighted_metrics: Any = None, run_eagerly: bool = False,
                auto_scale_loss: bool = True, **kwargs: Any) -> None:
        """Configure training: `model.compile("adam", "mse", metrics=["mae"])`.

        Optimizer, loss and metrics are names or objects. With `run_eagerly` the steps are not
        compiled. The optimizer of a model with the policy "mixed_float16" is wrapped in a
        LossScaleOptimizer unless `auto_scale_loss` is False. `steps_per_execution` and
        `jit_compile` have no effect. Raises InvalidArgumentError for unknown names and arguments,
        and for `loss_weights` and `weighted_metrics`, which are not supported.
        """
        for name in kwargs:
            if name not in ("steps_per_execution", "jit_compile"):
                raise InvalidArgumentError(
                    "compile", f"unknown argument {name!r}",
                    "the arguments are optimizer, loss, metrics and run_eagerly")
        if loss_weights is not None or weighted_metrics is not None:
            raise InvalidArgumentError(
                "compile", "loss_weights and weighted_metrics are not supported",
                "use loss and metrics, and pass sample_weight to fit")
        self.optimizer = optimizers.get(optimizer)
        scales = auto_scale_loss and self.dtype_policy.name == "mixed_float16"
        if scales and not isinstance(self.optimizer, optimizers.LossScaleOptimizer):
            self.optimizer = optimizers.LossScaleOptimizer(self.optimizer)
        self.loss, self._loss = loss, losses.get(loss)
        self._metrics = make_metrics(metrics)
        with tf.init_scope():
            self._loss_tracker = make_loss_tracker()
        self.run_eagerly, self.compiled, self.stop_training = run_eagerly, True, False
        self.reset_functions()

    @property
    def metrics(self) -> list[metrics.Metric]:
        """The mean of the loss, then the metrics passed to `compile`."""
        first = [self._loss_tracker] if self._loss_tracker and self._loss else []
        return first + self._metrics

    @property
    def metrics_names(self) -> list[str]:
        return [m.name for m in self.metrics]

    def reset_metrics(self) -> None:
        """Reset the accumulated loss and metrics, as `fit` does before each epoch."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """The accumulated loss and metrics by name, as scalars."""
        return {m.name: m.result() for m in self.metrics}

    def require_compiled(self, op: str) -> None:
        """Raise FailedPreconditionError unless `compile` was called."""
        if not self.compiled:
            raise FailedPreconditionError(op, f"{self.name} is not compiled",
                                          "call model.compile(optimizer, loss) first")

    # ── one step ──

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None,
                     sample_weight: Any = None, training: bool = True) -> tf.Tensor:
        """The loss of a batch, a scalar; a subclass may override it."""
        if self._loss is None:
            raise FailedPreconditionError("fit", f"{self.name} was compiled without a loss",
                                          "pass a loss to compile, or override compute_loss")
        if y is None:
            raise InvalidArgumentError("fit", f"the loss {self._loss.name} needs y, which is None",
                                       "pass the targets as y")
        return self._loss(y, y_pred, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Update the metrics with a batch; returns the accumulated results by name."""
        for metric in self._metrics:
            metric.update_state(y, y_pred)
        return self.get_metrics_result()

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Update the weights with a batch (x, y, sample_weight); returns the results by name.

        The step is traced once, and then runs as one compiled program.
        """
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        self._loss_tracker.update_state(loss, sample_weight=float(x.shape[0]))
        variables = self.trainable_variables
        if variables:
            self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables))
        else:
            warnings.warn("fit: the model has no trainable weights, so training does not change "
                          "it; set trainable = True for the model or a layer", stacklevel=2)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Evaluate a batch (x, y, sample_weight); returns the accumulated results by name."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=False)
        self._loss_tracker.update_state(loss, sample_weight=float(x.shape[0]))
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """The model's output for a batch."""
        return self(unpack_x_y_sample_weight(data)[0], training=False)

    # ── the steps as programs ──

    def make_train_function(self, force: bool = False) -> Callable:
        """The compiled train step: `train_function((x, y))` runs one program in one host call.

        It returns the results by name as Tensors, and does not wait for them.
        """
        return self._get_or_make("train", force)

    def make_test_function(self, force: bool = False) -> Callable:
        """The compiled test step: `test_function((x, y))` returns the results by name."""
        return self._get_or_make("test", force)

    def make_predict_function(self, force: bool = False) -> Callable:
        """The compiled predict step: `predict_function((x,))` returns the model's output."""
        return self._get_or_make("predict", force)

    def _get_or_make(self, kind: str, force: bool) -> Callable:
        if force or self._traced_flags.are_stale:
            self.reset_functions()
        name = f"{kind}_function"
        if getattr(self, name) is None:
            step = getattr(self, f"{kind}_step")
            is_traced = not getattr(self, "run_eagerly", False)
            wrap = tf.function if is_traced else _identity
            iterator = self.iterator_for(kind)

            def step_on_batch(data: Any) -> Any:
                results = step(data)
                if is_traced:            # record after the step, because it may build layers
                    self._traced_flags.record([self, *self.nested_layers(), *self.weights])
                return results

            setattr(self, name, wrap(step_on_batch))
            self._sample_steps[kind] = wrap(lambda samples, order, count: step_on_batch(
                iterator.next_batch(samples, order, count)))
        return getattr(self, name)

    def step_on_samples(self, kind: str) -> Callable:
        """The compiled `step(samples, order, count)`, which takes its batch from all samples."""
        self._get_or_make(kind, False)
        return self._sample_steps[kind]

    def iterator_for(self, kind: str) -> BatchIterator:
        """The batch iterator of a kind of step; a callback of `fit` may run another kind."""
        if kind not in self._iterators:
            self._iterators[kind] = BatchIterator()
        return self._iterators[kind]


def _identity(f: Callable) -> Callable:
    return f


def make_loss_tracker() -> metrics.Mean:
    return metrics.Mean("loss")


def make_metrics(identifiers: Any) -> list[metrics.Metric]:
    """Metrics from a list of names, functions and Metric objects."""
    if identifiers is None:
        return []
    if not isinstance(identifiers, list | tuple):
        raise InvalidArgumentError("compile", f"metrics is {identifiers!r}",
                                   "it must be a list, such as metrics=[\"accuracy\"]")
    return [metrics.get(identifier) for identifier in identifiers]


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, ...]:
    """(x, y, sample_weight) of a batch; None for missing elements."""
    elements = tuple(data) if isinstance(data, list | tuple) else (data,)
    return (*elements, None, None, None)[:3]
