"""Callbacks: hooks that `fit`, `evaluate` and `predict` call while they run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from ..tensor import fetch_all
from . import argument_checks

HOOKS = tuple(f"on_{kind}_{end}" for kind in (
    "train", "test", "predict", "epoch", "train_batch", "test_batch", "predict_batch")
    for end in ("begin", "end"))


class Callback:
    """Base class of callbacks: override the hooks that should run.

    `logs` holds the loss and the metrics by name. In `on_train_batch_end`, reading a value of
    `logs` waits for the step to finish; training runs ahead as long as no value is read.

    >>> class PrintLoss(tf.keras.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, logs["loss"])
    """

    def __init__(self):
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs=None): ...
    def on_train_end(self, logs=None): ...
    def on_test_begin(self, logs=None): ...
    def on_test_end(self, logs=None): ...
    def on_predict_begin(self, logs=None): ...
    def on_predict_end(self, logs=None): ...
    def on_epoch_begin(self, epoch, logs=None): ...
    def on_epoch_end(self, epoch, logs=None): ...
    def on_train_batch_begin(self, batch, logs=None): ...
    def on_train_batch_end(self, batch, logs=None): ...
    def on_test_batch_begin(self, batch, logs=None): ...
    def on_test_batch_end(self, batch, logs=None): ...
    def on_predict_batch_begin(self, batch, logs=None): ...
    def on_predict_batch_end(self, batch, logs=None): ...
    def on_batch_begin(self, batch, logs=None): ...
    def on_batch_end(self, batch, logs=None): ...


class CallbackList:
    """Calls each hook of the callbacks that override it.

    `on_batch_begin` and `on_batch_end` are aliases of the hooks of a training batch.
    """

    def __init__(self, callbacks: Any, model: Any, params: dict[str, Any]):
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise InvalidArgumentError("fit", f"{callback!r} is not a Callback",
                                           "derive it from tf.keras.callbacks.Callback")
            callback.set_model(model)
            callback.set_params(params)
        self.listeners = {hook: self._overridden_hooks(hook) for hook in HOOKS}

    def _overridden_hooks(self, hook: str) -> list[Callable]:
        names = dict.fromkeys((hook, hook.replace("train_batch", "batch")))
        return [getattr(callback, name) for callback in self.callbacks for name in names
                if getattr(type(callback), name) is not getattr(Callback, name)
                or name in vars(callback)]

    def notify(self, hook: str, *args: Any) -> None:
        """Call a hook of every callback that overrides it; `logs` is {} by default."""
        has_index = "epoch" in hook or "batch" in hook
        args += ({},) * (1 + has_index - len(args))
        for listener in self.listeners[hook]:
            listener(*args)


class Logs(Mapping):
    """The results of a step by name, read back lazily.

    The first access reads all scalars at once, because one readback takes as long as several.
    """

    def __init__(self, tensors: dict[str, Any]):
        self._tensors, self._values = tensors, {}

    def __getitem__(self, name: str) -> float:
        if name not in self._values:
            self._fetch([n for n, t in self._tensors.items() if n == name or is_scalar(t)])
        return self._values[name]

    def _fetch(self, names: list[str]) -> None:
        values = fetch_all([self._tensors[name] for name in names])
        self._values |= {n: v.tolist() if hasattr(v, "tolist") else v
                         for n, v in zip(names, values)}

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def __repr__(self):
        return repr(dict(self))


def is_scalar(value: Any) -> bool:
    """Whether a value is a Tensor or a Variable of shape ()."""
    return isinstance(value, tf.Tensor | tf.Variable) and not value.shape


class History(Callback):
    """The results of each epoch, returned by `fit`: `history.history["loss"]` is a list of floats.

    `epoch` lists the indices of the epochs.
    """

    def __init__(self):
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs=None):
        self.epoch = []

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        self.model.history = self


class LambdaCallback(Callback):
    """A callback made of functions: `LambdaCallback(on_epoch_end=lambda epoch, logs: ...)`."""

    def __init__(self, **functions: Callable | None):
        super().__init__()
        for hook, function in functions.items():
            if hook not in HOOKS:
                raise argument_checks.unknown_name_error("LambdaCallback", "hook", hook, HOOKS)
            if function is not None:
                setattr(self, hook, function)


class TerminateOnNaN(Callback):
    """Stops training after the first batch whose loss is NaN or infinite."""

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True


class EarlyStopping(Callback):
    """Stops training when the metric `monitor` has not improved for `patience` epochs.

    An improvement is a change by more than `min_delta`: upwards with mode "max", downwards with
    "min"; "auto" means "max" for accuracies and "min" for other metrics. Until the metric is better
    than `baseline`, an improvement does not reset the count of epochs. With `restore_best_weights`
    the model ends with the weights of its best epoch.

    An epoch that does not measure `monitor`, for example because of `validation_freq`, does not
    count, and gives a warning.
    """

    def __init__(self, monitor: str = "val_loss", min_delta: float = 0.0, patience: int = 0,
                 verbose: int = 0, mode: str = "auto", baseline: float | None = None,
                 restore_best_weights: bool = False, start_from_epoch: int = 0):
        super().__init__()
        mode = argument_checks.require_choice("EarlyStopping", "mode", mode, ("auto", "min", "max"))
        maximize = mode == "max" or mode == "auto" and monitor.endswith(("accuracy", "acc"))
        self.sign = 1.0 if maximize else -1.0
        self.monitor, self.min_delta, self.patience = monitor, abs(min_delta), patience
        self.verbose, self.baseline = verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch

    def on_train_begin(self, logs=None):
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best: float | None = None
        self.best_weights: list[Any] | None = None

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.monitor)
        if value is None:
            self._warn_not_measured(epoch, list(logs or {}))
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._save_best(epoch)
        self.wait += 1
        if self.best is None or self._is_improvement(value, self.best):
            self.best = value
            if self.restore_best_weights:
                self._save_best(epoch)
            if self.baseline is None or self._is_improvement(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch, self.model.stop_training = epoch, True

    def on_train_end(self, logs=None):
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            for weight, value in zip(self.model.weights, self.best_weights):
                weight.assign(value)

    def _is_improvement(self, value: float, reference: float) -> bool:
        return self.sign * (value - reference) > self.min_delta

    def _save_best(self, epoch: int) -> None:
        self.best_epoch, self.best_weights = epoch, [w.value() for w in self.model.weights]

    def _warn_not_measured(self, epoch: int, measured: list[str]) -> None:
        close = get_close_matches(self.monitor, measured, 1, cutoff=0.8)
        hint = f"did you mean {close[0]!r}? " if close else ""
        warnings.warn(f"EarlyStopping: the metric {self.monitor!r} was not measured in epoch "
                      f"{epoch + 1}; {hint}the metrics are {', '.join(measured)}", stacklevel=3)
