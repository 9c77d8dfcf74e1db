"""What a model learns with: compile, the steps, and how they become programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ..base.errors import FailedPreconditionError, InvalidArgumentError
from . import losses, metrics, optimizers
from .batch_iterator import BatchIterator
from .training_loops import TrainingLoops
from .dtype_policies import DTypePolicy


class Training(TrainingLoops):
    """The part of Model that trains. A subclass may write its own `train_step`, as in Keras."""

    __call__: Callable[..., Any]                  # a Model is a Layer too
    dtype_policy: DTypePolicy

    def prepare_training(self) -> None:
        self.optimizer: Any = None        # an Optimizer, once compiled
        self.loss: Any = None
        self.compiled = self.stop_training = False
        self._loss: losses.Loss | None = None
        self._loss_tracker: Any = None    # a Mean, once compiled
        self._metrics: list[metrics.Metric] = []
        self._feeds: dict[str, BatchIterator] = {}
        self.reset_functions()

    def reset_functions(self) -> None:
        """Trace the steps anew when they are next needed: the layers have changed."""
        self.train_function = self.test_function = self.predict_function = None
        self._on_rows: dict[str, Callable] = {}
        self._traced_as: list[bool] = []

    def __getstate__(self) -> dict[str, Any]:
        """What a copy begins with: it traces its own steps."""
        steps = {f"{kind}_function": None for kind in ("train", "test", "predict")}
        return self.__dict__ | steps | {"_on_rows": {}, "_traced_as": []}

    # ── compile ──

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None,
                metrics: Any = None, weighted_metrics: Any = None, run_eagerly: bool = False,
                auto_scale_loss: bool = True, **kwargs: Any) -> None:
        """Say how the model learns: `compile("adam", "mse", metrics=["mae"])`.

        A model of the policy "mixed_float16" gets a LossScaleOptimizer around its optimizer, unless
        `auto_scale_loss` is False."""
        for name in kwargs:
            if name not in ("steps_per_execution", "jit_compile"):
                raise InvalidArgumentError("compile", f"there is no argument {name!r}",
                                           "it takes optimizer, loss, metrics and run_eagerly")
        if loss_weights is not None or weighted_metrics is not None:
            raise InvalidArgumentError(
                "compile", "loss_weights and weighted_metrics are for several outputs",
                "use loss and metrics, with sample_weight in fit")
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
        """The mean of the loss first, then what compile was given."""
        first = [self._loss_tracker] if self._loss_tracker and self._loss else []
        return first + self._metrics

    @property
    def metrics_names(self) -> list[str]:
        return [m.name for m in self.metrics]

    def reset_metrics(self) -> None:
        """Begin the sums of loss and metrics anew, as `fit` does for each epoch."""
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        return {m.name: m.result() for m in self.metrics}

    def require_compiled(self, op: str) -> None:
        if not self.compiled:
            raise FailedPreconditionError(op, f"{self.name} is not compiled",
                                          "call model.compile(optimizer, loss) first")

    # ── one step ──

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None,
                     sample_weight: Any = None, training: bool = True) -> tf.Tensor:
        """The compiled loss of a batch."""
        if self._loss is None:
            raise FailedPreconditionError("fit", f"{self.name} was compiled without a loss",
                                          "give compile a loss, or write compute_loss")
        if y is None:
            raise InvalidArgumentError("fit", f"the loss {self._loss.name} needs y, which is None",
                                       "give what the model shall learn as y")
        return self._loss(y, y_pred, sample_weight)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Let the metrics see a batch; returns what they say now."""
        for metric in self._metrics:
            metric.update_state(y, y_pred)
        return self.get_metrics_result()

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Learn from one batch. Traced once, then it runs as one program."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight)
            scaled = self.optimizer.scale_loss(loss)
        self._loss_tracker.update_state(loss, sample_weight=float(x.shape[0]))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables))
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Measure on one batch."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=False)
        self._loss_tracker.update_state(loss, sample_weight=float(x.shape[0]))
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        return self(unpack_x_y_sample_weight(data)[0], training=False)

    # ── the steps as programs ──

    def make_train_function(self, force: bool = False) -> Callable:
        """`train_function(data)` for a batch (x, y) on the backend: one program, one host call.

        It gives the results by name as Tensors, which nobody needs to read."""
        return self._get_or_make("train", force)

    def make_test_function(self, force: bool = False) -> Callable:
        """The same for `test_step`."""
        return self._get_or_make("test", force)

    def make_predict_function(self, force: bool = False) -> Callable:
        """`predict_function((x,))`, the model's output."""
        return self._get_or_make("predict", force)

    def _get_or_make(self, kind: str, force: bool) -> Callable:
        if force or self._traced_as != self.trainable_state():
            # What may be learnt is part of a trace.
            self.reset_functions()
            self._traced_as = self.trainable_state()
        name = f"{kind}_function"
        if getattr(self, name) is None:
            step = getattr(self, f"{kind}_step")
            wrap = _identity if getattr(self, "run_eagerly", False) else tf.function
            feed = self.iterator_for(kind)
            setattr(self, name, wrap(lambda data: step(data)))
            self._on_rows[kind] = wrap(
                lambda rows, order, count: step(feed.next_batch(rows, order, count)))
        return getattr(self, name)

    def step_on_samples(self, kind: str) -> Callable:
        """`step(rows, order, count)`: the same step on the next samples of all rows."""
        self._get_or_make(kind, False)
        return self._on_rows[kind]

    def iterator_for(self, kind: str) -> BatchIterator:
        """Where each kind of step is in its data; a callback may predict in the midst of fit."""
        if kind not in self._feeds:
            self._feeds[kind] = BatchIterator()
        return self._feeds[kind]

    def trainable_state(self) -> list[bool]:
        """Which layers and weights may be learnt, as far as they exist."""
        return [self.trainable, *(flag for layer in self.layers for flag in _trainable_state_of(layer))]


def _trainable_state_of(layer: Any) -> list[bool]:
    inner = getattr(layer, "layers", ())
    return [layer.trainable, *(flag for each in inner for flag in _trainable_state_of(each))]


def _identity(f: Callable) -> Callable:
    return f


def make_loss_tracker() -> metrics.Mean:
    return metrics.Mean("loss")


def make_metrics(wanted: Any) -> list[metrics.Metric]:
    """Metrics from names, functions and Metric objects."""
    if wanted is None:
        return []
    if not isinstance(wanted, list | tuple):
        raise InvalidArgumentError("compile", f"metrics is {wanted!r}",
                                   "it takes a list, such as metrics=[\"accuracy\"]")
    return [metrics.get(each) for each in wanted]


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, ...]:
    """(x, y, sample_weight) of a batch, None where it has fewer."""
    parts = tuple(data) if isinstance(data, list | tuple) else (data,)
    return (*parts, None, None, None)[:3]
