"""fit, evaluate and predict: epochs of compiled steps, and what is told about them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError, ResourceExhaustedError
from . import data_conversion, argument_checks, losses
from .callbacks import CallbackList, History, Logs
from .batch_iterator import EpochShuffler, batch_sizes, bind_step_to_samples, holdout_split
from .progress import progress

BATCH_SIZE = 32


class TrainingLoops:
    """The loops over data. Within an epoch nothing is read back unless a callback looks."""

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1,
            verbose: Any = "auto", callbacks: Any = None, validation_split: float = 0.0,
            validation_data: Any = None, shuffle: bool = True, class_weight: Any = None,
            sample_weight: Any = None, initial_epoch: int = 0, *,
            validation_batch_size: int | None = None, validation_freq: int = 1) -> History:
        """Learn from x and y for some epochs; returns what each epoch gave."""
        self.require_compiled("fit")
        batch_size = argument_checks.require_int("fit", "batch_size", batch_size or BATCH_SIZE)
        epochs = argument_checks.require_int("fit", "epochs", epochs, 0)
        validation_freq = argument_checks.require_int("fit", "validation_freq", validation_freq)
        rows = apply_class_weight(data_conversion.as_samples("fit", x, y, sample_weight), class_weight)
        rows, validation_samples = split_validation(rows, validation_split, validation_data)
        self.check_label_range("fit", rows)
        run = CallbackSession(self, callbacks, verbose, epochs, len(batch_sizes(len(rows[0]), batch_size)))
        with report_out_of_memory("fit", self, batch_size):
            self.stop_training = False
            run.tell("on_train_begin")
            shuffler = EpochShuffler(len(rows[0])) if shuffle else None
            for epoch in range(initial_epoch, epochs):
                run.tell("on_epoch_begin", epoch)
                logs = self.train_epoch(run, rows, shuffler, batch_size)
                if validation_samples and (epoch + 1) % validation_freq == 0:
                    found = self.evaluate_samples(validation_samples, validation_batch_size or batch_size, run)
                    logs |= {f"val_{name}": value for name, value in found.items()}
                run.warn_of_nan(logs, epoch)
                run.tell("on_epoch_end", epoch, logs)
                if self.stop_training:
                    break
            run.tell("on_train_end")
        return run.history

    def check_label_range(self, op: str, rows: tuple) -> None:
        """That class indices name outputs of the model."""
        if len(rows) > 1 and losses.is_sparse_loss(self._loss):
            shape = self.compute_output_shape((None, *rows[0].shape[1:]))
            losses.check_classes(op, rows[1], shape[-1])

    def train_epoch(self, run: CallbackSession, rows: tuple, shuffler: EpochShuffler | None,
                    batch_size: int) -> dict[str, float]:
        self.reset_metrics()
        order = shuffler and shuffler.order()
        logs = self.run_batches("train", rows, order, batch_size, run)
        return dict(sorted(logs.items()))

    def run_batches(self, kind: str, rows: tuple, order: Any, batch_size: int, run: CallbackSession,
                    keep: Callable | None = None) -> Any:
        """Run a step on every batch; returns the last one's results."""
        step, logs = bind_step_to_samples(self.step_on_samples(kind), rows, order), {}
        self.iterator_for(kind).reset()
        for i, count in enumerate(batch_sizes(len(rows[0]), batch_size)):
            run.tell(f"on_{kind}_batch_begin", i)
            out = step(count)
            logs = Logs(out) if keep is None else keep(out)
            run.tell(f"on_{kind}_batch_end", i, logs)
            if kind == "train" and self.stop_training:
                break
        return logs

    def evaluate_samples(self, rows: tuple, batch_size: int, run: CallbackSession) -> dict[str, float]:
        """Loss and metrics on all rows."""
        run.tell("on_test_begin")
        self.reset_metrics()
        logs = self.run_batches("test", rows, None, batch_size, run)
        logs = dict(sorted(logs.items()))
        run.tell("on_test_end", logs)
        return logs

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None,
                 verbose: Any = "auto", sample_weight: Any = None, steps: None = None,
                 callbacks: Any = None, return_dict: bool = False) -> Any:
        """The loss and the metrics on x and y, as a list or by name."""
        self.require_compiled("evaluate")
        batch_size = argument_checks.require_int("evaluate", "batch_size", batch_size or BATCH_SIZE)
        rows = data_conversion.as_samples("evaluate", x, y, sample_weight)
        self.check_label_range("evaluate", rows)
        run = CallbackSession(self, callbacks, verbose, 1, len(batch_sizes(len(rows[0]), batch_size)))
        with report_out_of_memory("evaluate", self, batch_size), run.shown_once():
            run.logs = self.evaluate_samples(rows, batch_size, run)
        return run.logs if return_dict else self.ordered_results(run.logs)

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto",
                steps: None = None, callbacks: Any = None) -> Any:
        """The model's output for every sample: a NumPy array, or a Tensor without NumPy."""
        batch_size = argument_checks.require_int("predict", "batch_size", batch_size or BATCH_SIZE)
        rows = data_conversion.as_samples("predict", x)
        run = CallbackSession(self, callbacks, verbose, 1, len(batch_sizes(len(rows[0]), batch_size)))
        outputs: list[tf.Tensor] = []

        def keep(out: Any) -> dict[str, Any]:
            outputs.append(out)
            return {"outputs": out}

        with report_out_of_memory("predict", self, batch_size), run.shown_once():
            run.tell("on_predict_begin")
            self.run_batches("predict", rows, None, batch_size, run, keep)
            run.tell("on_predict_end")
            return data_conversion.to_numpy(data_conversion.concat_batches(outputs))

    # ── single batches ──

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                       class_weight: Any = None, return_dict: bool = False) -> Any:
        """Learn from one batch. As in Keras the results are means since `reset_metrics`."""
        self.require_compiled("train_on_batch")
        rows = apply_class_weight(data_conversion.as_samples("train_on_batch", x, y, sample_weight), class_weight)
        with report_out_of_memory("train_on_batch", self, len(rows[0])):
            logs = Logs(self.make_train_function()(rows))
        return dict(logs) if return_dict else self.ordered_results(logs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None,
                      return_dict: bool = False) -> Any:
        """Measure on one batch; the results are means since `reset_metrics`."""
        self.require_compiled("test_on_batch")
        rows = data_conversion.as_samples("test_on_batch", x, y, sample_weight)
        with report_out_of_memory("test_on_batch", self, len(rows[0])):
            logs = Logs(self.make_test_function()(rows))
        return dict(logs) if return_dict else self.ordered_results(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The model's output for one batch."""
        rows = data_conversion.as_samples("predict_on_batch", x)
        with report_out_of_memory("predict_on_batch", self, len(rows[0])):
            return data_conversion.to_numpy(self.make_predict_function()(rows))

    def ordered_results(self, logs: Any) -> Any:
        """The loss, then the metrics; one number alone where there is only one."""
        known = [name for name in self.metrics_names if name in logs]
        values = [logs[name] for name in known + sorted(set(logs) - set(known))]
        return values[0] if len(values) == 1 else values


class CallbackSession:
    """The callbacks of one fit, evaluate or predict."""

    def __init__(self, model: Any, callbacks: Any, verbose: Any, epochs: int, steps: int):
        self.history, self.progress = History(), progress(verbose)
        given = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        self.model, self.logs, self.warned = model, {}, False
        self.list = CallbackList(
            [*(c for c in given if c is not None), *self.progress, self.history], model,
            {"verbose": verbose, "epochs": epochs, "steps": steps})
        self.tell = self.list.notify

    @contextmanager
    def shown_once(self) -> Iterator[None]:
        """One line of progress, at the end of the block."""
        for each in self.progress:
            each.begin()
        yield
        for each in self.progress:
            each.end(self.logs)

    def warn_of_nan(self, logs: dict[str, float], epoch: int) -> None:
        loss = logs.get("loss", 0.0)
        if not self.warned and isinstance(loss, float) and not math.isfinite(loss):
            self.warned = True
            warnings.warn(f"fit: the loss is {loss} after epoch {epoch + 1}; lower the learning "
                          "rate, scale the data, or stop with callbacks.TerminateOnNaN()",
                          RuntimeWarning, stacklevel=3)


def apply_class_weight(rows: tuple, class_weight: Any) -> tuple:
    """The rows with a weight for each sample from its class."""
    if not class_weight:
        return rows
    if len(rows) != 2:
        raise InvalidArgumentError("fit", "class_weight goes with y and without sample_weight",
                                   "give one of class_weight and sample_weight")
    y, n = rows[1], rows[1].shape[0]
    one_hot = y.ndim == 2 and y.shape[1] > 1
    labels = tf.argmax(y, axis=1) if one_hot else tf.cast(y, tf.int32)
    if labels.shape.num_elements() != n:
        raise InvalidArgumentError("fit", f"class_weight goes with one class for each sample, and "
                                   f"y has shape {tuple(y.shape)}", "give sample_weight instead")
    labels = tf.reshape(labels, (n,))
    table = [float(class_weight.get(i, 1.0)) for i in range(max(class_weight) + 1)]
    known = labels < len(table)
    weights = tf.where(known, tf.gather(tf.constant(table), labels), 1.0)
    return (*rows, data_conversion.to_device(weights))


def split_validation(rows: tuple, validation_split: float, validation_data: Any) -> tuple[tuple, tuple]:
    """The rows to learn from, and those to measure on; none of them may be empty."""
    if validation_data is not None:
        if not isinstance(validation_data, list | tuple) or not 2 <= len(validation_data) <= 3:
            raise InvalidArgumentError("fit", "validation_data is not a pair",
                                       "give validation_data=(x_test, y_test)")
        return rows, data_conversion.as_samples("fit validation_data", *validation_data)
    share = argument_checks.require_fraction("fit", "validation_split", validation_split)
    if not share:
        return rows, ()
    learnt, held_out = holdout_split(rows, share)
    if not len(learnt[0]):
        raise InvalidArgumentError("fit", f"validation_split {share} of {len(rows[0])} samples "
                                   "leaves none to learn from", "use a smaller share")
    return learnt, held_out


@contextmanager
def report_out_of_memory(op: str, model: Any, batch_size: int) -> Iterator[None]:
    """Memory that runs out within the block is told in one sentence."""
    try:
        yield
    except MemoryError as error:
        if isinstance(error, ResourceExhaustedError) and error.op != "memory":
            raise                         # a layer or an optimizer has told it already
        weights = sum(w.spec.count for w in model.weights)
        raise ResourceExhaustedError(
            op, f"{weights:,} weights and a batch of {batch_size:,} do not fit into memory",
            "use a smaller batch_size, or fewer units or filters") from None
