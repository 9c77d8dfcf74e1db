"""Training loops: `fit`, `evaluate` and `predict` run compiled steps over epochs and batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError, ResourceExhaustedError
from . import argument_checks, data_conversion, losses
from .batch_iterator import EpochBatches, EpochShuffler, bind_step_to_samples, holdout_split
from .callbacks import CallbackList, History, Logs
from .progress import progress_callbacks


class TrainingLoops:
    """The loops over data; within an epoch no value is read back unless a callback reads it."""

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1,
            verbose: Any = "auto", callbacks: Any = None, validation_split: float = 0.0,
            validation_data: Any = None, shuffle: bool = True, class_weight: Any = None,
            sample_weight: Any = None, initial_epoch: int = 0,
            steps_per_epoch: int | None = None, validation_steps: int | None = None,
            validation_batch_size: int | None = None, validation_freq: int = 1) -> History:
        """Train the model on samples x and targets y; returns the results of each epoch.

        x, y and `sample_weight` are arrays with the samples along their first axis. `class_weight`
        maps class indices to weights. `validation_split` holds out the last samples, as a fraction
        in [0, 1); `validation_data` is (x, y) or (x, y, sample_weight). The batch size is 32 by
        default. With `steps_per_epoch` an epoch has that number of batches, and the next epoch
        continues with the batches after them; `validation_steps` limits validation to the first
        batches. Raises InvalidArgumentError if the arguments do not match, FailedPreconditionError
        before `compile`, and ResourceExhaustedError if memory runs out.

        >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(tf.ones((8, 2)), tf.ones((8, 1)), epochs=2, verbose=0)
        >>> len(history.history["loss"])
        2
        """
        self.require_compiled("fit")
        epochs = argument_checks.require_int("fit", "epochs", epochs, 0)
        validation_freq = argument_checks.require_int("fit", "validation_freq", validation_freq)
        samples = apply_class_weight(
            data_conversion.as_samples("fit", x, y, sample_weight), class_weight)
        samples, validation_samples = split_validation(samples, validation_split, validation_data)
        self.check_label_range("fit", samples)
        batches = EpochBatches("fit", len(samples[0]), batch_size, steps_per_epoch,
                               steps_name="steps_per_epoch")
        validation_batches = validation_samples and EpochBatches(
            "fit", len(validation_samples[0]), validation_batch_size, validation_steps,
            default=batch_size, prefix="validation_")
        session = CallbackSession(self, callbacks, verbose, epochs, batches.num_steps)
        shuffler = EpochShuffler(len(samples[0])) if shuffle else None
        with report_out_of_memory("fit", self, batches.batch_size):
            self.stop_training, logs = False, {}
            session.notify("on_train_begin")
            for epoch in range(initial_epoch, epochs):
                session.notify("on_epoch_begin", epoch)
                logs = self.train_epoch(session, samples, shuffler, batches)
                if validation_batches and (epoch + 1) % validation_freq == 0:
                    results = self.evaluate_samples(validation_samples, validation_batches, session)
                    logs |= {f"val_{name}": value for name, value in results.items()}
                session.warn_if_not_finite(logs, epoch)
                session.notify("on_epoch_end", epoch, logs)
                if self.stop_training: break
            session.notify("on_train_end", logs)
        return session.history

    def check_label_range(self, op: str, samples: tuple) -> None:
        """Raise InvalidArgumentError if a class index is not an output of the model."""
        if len(samples) > 1 and losses.is_sparse_loss(self._loss):
            shape = self.compute_output_shape((None, *samples[0].shape[1:]))
            losses.check_class_indices(op, samples[1], shape[-1])

    def train_epoch(self, session: CallbackSession, samples: tuple,
                    shuffler: EpochShuffler | None, batches: EpochBatches) -> dict[str, float]:
        """Train for one epoch; returns the loss and the metrics by name."""
        self.reset_metrics()
        if shuffler and batches.begins_pass:
            shuffler.shuffle()
        order = shuffler and shuffler.order
        logs = self.run_batches("train", samples, order, batches, session)
        return dict(sorted(logs.items()))

    def run_batches(self, kind: str, samples: tuple, order: Any, batches: EpochBatches,
                    session: CallbackSession, to_logs: Callable = Logs) -> Any:
        """Run a step on every batch of an epoch; returns the logs of the last batch."""
        step, logs = bind_step_to_samples(self.step_on_samples(kind), samples, order), {}
        if batches.begins_pass:
            self.iterator_for(kind).reset()
        for i, count in enumerate(batches.next_epoch()):
            session.notify(f"on_{kind}_batch_begin", i)
            logs = to_logs(step(count))
            session.notify(f"on_{kind}_batch_end", i, logs)
            if kind == "train" and self.stop_training:
                break
        return logs

    def evaluate_samples(self, samples: tuple, batches: EpochBatches,
                         session: CallbackSession) -> dict[str, float]:
        """The loss and the metrics on the first batches of the samples, by name."""
        session.notify("on_test_begin")
        self.reset_metrics()
        batches.reset()
        logs = self.run_batches("test", samples, None, batches, session)
        logs = dict(sorted(logs.items()))
        session.notify("on_test_end", logs)
        return logs

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None,
                 verbose: Any = "auto", sample_weight: Any = None, steps: int | None = None,
                 callbacks: Any = None, return_dict: bool = False) -> Any:
        """The loss and the metrics on x and y: a list, or a dict by name with `return_dict`.

        `steps` limits the evaluation to the first batches. Without metrics the result is the loss
        alone. Raises the same errors as `fit`.
        """
        self.require_compiled("evaluate")
        samples = data_conversion.as_samples("evaluate", x, y, sample_weight)
        self.check_label_range("evaluate", samples)
        batches = EpochBatches("evaluate", len(samples[0]), batch_size, steps)
        session = CallbackSession(self, callbacks, verbose, 1, batches.num_steps)
        with report_out_of_memory("evaluate", self, batches.batch_size), session.progress_line():
            session.logs = self.evaluate_samples(samples, batches, session)
        return session.logs if return_dict else self.ordered_results(session.logs)

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto",
                steps: int | None = None, callbacks: Any = None) -> Any:
        """The model's output for every sample: a NumPy array, or a Tensor if NumPy is missing.

        `steps` limits the prediction to the first batches.
        """
        samples = data_conversion.as_samples("predict", x)
        batches = EpochBatches("predict", len(samples[0]), batch_size, steps)
        session = CallbackSession(self, callbacks, verbose, 1, batches.num_steps)
        outputs: list[tf.Tensor] = []

        def collect(out: Any) -> dict[str, Any]:
            outputs.append(out)
            return {"outputs": out}

        with report_out_of_memory("predict", self, batches.batch_size), session.progress_line():
            session.notify("on_predict_begin")
            self.run_batches("predict", samples, None, batches, session, collect)
            session.notify("on_predict_end")
            return data_conversion.to_numpy(data_conversion.concat_batches(outputs))

    # ── single batches ──

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                       class_weight: Any = None, return_dict: bool = False) -> Any:
        """Train on one batch; the results are means since `reset_metrics`, as in Keras."""
        self.require_compiled("train_on_batch")
        samples = data_conversion.as_samples("train_on_batch", x, y, sample_weight)
        samples = apply_class_weight(samples, class_weight)
        with report_out_of_memory("train_on_batch", self, len(samples[0])):
            logs = Logs(self.make_train_function()(samples))
        return dict(logs) if return_dict else self.ordered_results(logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                      return_dict: bool = False) -> Any:
        """Evaluate one batch; the results are means since `reset_metrics`, as in Keras."""
        self.require_compiled("test_on_batch")
        samples = data_conversion.as_samples("test_on_batch", x, y, sample_weight)
        with report_out_of_memory("test_on_batch", self, len(samples[0])):
            logs = Logs(self.make_test_function()(samples))
        return dict(logs) if return_dict else self.ordered_results(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The model's output for one batch: a NumPy array, or a Tensor if NumPy is missing."""
        samples = data_conversion.as_samples("predict_on_batch", x)
        with report_out_of_memory("predict_on_batch", self, len(samples[0])):
            return data_conversion.to_numpy(self.make_predict_function()(samples))

    def ordered_results(self, logs: Any) -> Any:
        """The values of the loss and the metrics as a list; a single value if there is only one."""
        names = [name for name in self.metrics_names if name in logs]
        values = [logs[name] for name in names + sorted(set(logs) - set(names))]
        return values[0] if len(values) == 1 else values


class CallbackSession:
    """The callbacks, the progress output and the history of one fit, evaluate or predict."""

    def __init__(self, model: Any, callbacks: Any, verbose: Any, epochs: int, num_steps: int):
        self.history, self.progress = History(), progress_callbacks(verbose)
        callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        self.model, self.logs, self.has_warned = model, {}, False
        self.callback_list = CallbackList(
            [*(c for c in callbacks if c is not None), *self.progress, self.history], model,
            {"verbose": verbose, "epochs": epochs, "steps": num_steps})
        self.notify = self.callback_list.notify

    @contextmanager
    def progress_line(self) -> Iterator[None]:
        """Print one line of progress at the end of the block."""
        for callback in self.progress:
            callback.begin()
        yield
        for callback in self.progress:
            callback.end(self.logs)

    def warn_if_not_finite(self, logs: dict[str, float], epoch: int) -> None:
        """Warn at the first epoch whose loss is NaN or infinite."""
        loss = logs.get("loss", 0.0)
        if not self.has_warned and isinstance(loss, float) and not math.isfinite(loss):
            self.has_warned = True
            warnings.warn(f"fit: the loss is {loss} after epoch {epoch + 1}; lower the learning "
                          "rate, scale the data, or stop with callbacks.TerminateOnNaN()",
                          RuntimeWarning, stacklevel=3)


def apply_class_weight(samples: tuple, class_weight: Any) -> tuple:
    """Add sample weights, taken from the class of each sample, to the samples."""
    if not class_weight:
        return samples
    if len(samples) != 2:
        raise InvalidArgumentError("fit", "class_weight requires y, and excludes sample_weight",
                                   "pass y and one of class_weight and sample_weight")
    y, n = samples[1], samples[1].shape[0]
    is_one_hot = y.ndim == 2 and y.shape[1] > 1
    labels = tf.argmax(y, axis=1) if is_one_hot else tf.cast(y, tf.int32)
    if labels.shape.num_elements() != n:
        raise InvalidArgumentError("fit", "class_weight requires one class for each sample, but "
                                   f"y has shape {tuple(y.shape)}", "pass sample_weight instead")
    labels = tf.reshape(labels, (n,))
    table = [float(class_weight.get(i, 1.0)) for i in range(max(class_weight) + 1)]
    is_known = labels < len(table)
    weights = tf.where(is_known, tf.gather(tf.constant(table), labels), 1.0)
    return (*samples, data_conversion.to_device(weights))


def split_validation(samples: tuple, validation_split: float,
                     validation_data: Any) -> tuple[tuple, tuple]:
    """The training samples and the validation samples; the latter may be ()."""
    if validation_data is not None:
        if not isinstance(validation_data, list | tuple) or not 2 <= len(validation_data) <= 3:
            raise InvalidArgumentError("fit", "validation_data is not a pair",
                                       "pass validation_data=(x_test, y_test)")
        return samples, data_conversion.as_samples("fit validation_data", *validation_data)
    fraction = argument_checks.require_fraction("fit", "validation_split", validation_split)
    if not fraction:
        return samples, ()
    training, validation = holdout_split(samples, fraction)
    if not len(training[0]):
        raise InvalidArgumentError("fit", f"validation_split {fraction} of {len(samples[0])} "
                                   "samples leaves no training samples", "use a smaller fraction")
    return training, validation


@contextmanager
def report_out_of_memory(op: str, model: Any, batch_size: int) -> Iterator[None]:
    """Turn a MemoryError of the block into a ResourceExhaustedError with the sizes."""
    try:
        yield
    except MemoryError as error:
        if isinstance(error, ResourceExhaustedError) and error.op != "memory":
            raise  # a layer or an optimizer has already reported its sizes
        weights = sum(w.spec.count for w in model.weights)
        raise ResourceExhaustedError(
            op, f"{weights:,} weights and a batch of {batch_size:,} do not fit into memory",
            "use a smaller batch_size, or fewer units or filters") from None
