"""Metrics: results accumulated over batches inside the compiled step, and read back on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from . import argument_checks, data_conversion, losses
from .auto_names import snake_case


class Metric:
    """Base class of metrics; override `update_state` and `result`.

    The state is held in Variables made by `add_variable`, so that `update_state` is part of the
    compiled step.

    >>> class Positives(tf.keras.metrics.Metric):
    ...     def __init__(self):
    ...         super().__init__(name="positives")
    ...         self.count = self.add_variable()
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.count.assign_add(tf.reduce_sum(tf.cast(y_pred > 0.5, tf.float32)))
    ...     def result(self):
    ...         return self.count.value()
    """

    def __init__(self, dtype: Any = None, name: str | None = None):
        self.name = name or snake_case(type(self).__name__)
        self._variables: list[tf.Variable] = []

    def add_variable(self, shape: Any = (), initializer: Any = "zeros", dtype: Any = None,
                     name: str | None = None) -> tf.Variable:
        """A float32 Variable of zeros, which `reset_state` sets to zero again."""
        with tf.init_scope():
            variable = tf.Variable(tf.zeros(tuple(shape)), trainable=False, name=name or self.name)
        self._variables.append(variable)
        return variable

    add_weight = add_variable

    @property
    def variables(self) -> list[tf.Variable]:
        return list(self._variables)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{self.name}: the metric has no `update_state`; override "
                                  "`def update_state(self, y_true, y_pred)`")

    def result(self) -> tf.Tensor:
        raise NotImplementedError(f"{self.name}: the metric has no `result`; override "
                                  "`def result(self)`")

    def reset_state(self) -> None:
        for variable in self._variables:
            variable.assign(0.0 if not variable.shape else tf.zeros(variable.shape))

    def __call__(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        self.update_state(*args, **kwargs)
        return self.result()

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"


class Mean(Metric):
    """The weighted mean of all values passed to `update_state`; 0 before the first.

    >>> mean = tf.keras.metrics.Mean()
    >>> mean.update_state([1.0, 3.0])
    >>> float(mean.result())
    2.0
    """

    def __init__(self, name: str = "mean", dtype: Any = None):
        super().__init__(dtype, name)
        self.total = self.add_variable(name="total")
        self.count = self.add_variable(name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        values = data_conversion.to_float(values)
        count = float(values.shape.num_elements())
        if isinstance(sample_weight, int | float):
            values, count = values * float(sample_weight), count * sample_weight
        elif sample_weight is not None:
            weights = data_conversion.to_float(sample_weight)
            values, weights = losses.squeeze_or_expand(values, weights)
            values, count = values * weights, tf.reduce_sum(weights * tf.ones_like(values))
        self.total.assign_add(tf.reduce_sum(values))
        self.count.assign_add(count)

    def result(self) -> tf.Tensor:
        count = self.count.value()
        return tf.where(count > 0.0, self.total / tf.maximum(count, 1e-30), 0.0)


class MeanMetricWrapper(Mean):
    """The mean of a function of (y_true, y_pred) that returns one value for each sample."""

    def __init__(self, fn: Callable, name: str | None = None, dtype: Any = None,
                 **arguments: Any):
        super().__init__(name or getattr(fn, "__name__", "metric"), dtype)
        self.fn, self.arguments = fn, arguments

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = data_conversion.autocast((y_true, y_pred), tf.float32)
        super().update_state(self.fn(y_true, y_pred, **self.arguments), sample_weight)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> tf.Tensor:
    """1 where the largest prediction of a row is at the row's class index, else 0.

    y_true has shape (...,), y_pred (..., classes), the result is float32 (...,).
    """
    y_pred = data_conversion.to_float(y_pred)
    labels = losses.class_indices("sparse_categorical_accuracy", y_true, y_pred)
    return tf.cast(tf.equal(tf.argmax(y_pred, axis=-1), labels), tf.float32)


def categorical_accuracy(y_true: Any, y_pred: Any) -> tf.Tensor:
    """1 where the largest prediction of a row is at the one-hot target's class, else 0."""
    y_true, y_pred = losses.match_targets("categorical_accuracy", y_true, y_pred)
    is_correct = tf.equal(tf.argmax(y_true, axis=-1), tf.argmax(y_pred, axis=-1))
    return tf.cast(is_correct, tf.float32)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> tf.Tensor:
    """The fraction of targets 0 or 1 that equal `y_pred > threshold`, over the last axis."""
    y_true, y_pred = losses.match_targets("binary_accuracy", y_true, y_pred)
    is_correct = tf.equal(y_true, tf.cast(y_pred > threshold, tf.float32))
    return tf.reduce_mean(tf.cast(is_correct, tf.float32), axis=-1)


def accuracy(y_true: Any, y_pred: Any) -> tf.Tensor:
    """The accuracy that matches the shapes: binary, of class indices, or of one-hot targets."""
    y_true, y_pred = data_conversion.to_tensor(y_true), data_conversion.to_float(y_pred)
    if y_pred.shape[-1] == 1:
        return binary_accuracy(y_true, y_pred)
    if y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
        return sparse_categorical_accuracy(y_true, y_pred)
    return categorical_accuracy(y_true, y_pred)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """The mean of `sparse_categorical_accuracy`."""

    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


class CategoricalAccuracy(MeanMetricWrapper):
    """The mean of `categorical_accuracy`."""

    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None):
        super().__init__(categorical_accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """The mean of `binary_accuracy`."""

    def __init__(self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class MeanSquaredError(MeanMetricWrapper):
    """The mean of `losses.mean_squared_error`."""

    def __init__(self, name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of `losses.mean_absolute_error`."""

    def __init__(self, name: str = "mean_absolute_error", dtype: Any = None):
        super().__init__(losses.mean_absolute_error, name, dtype)


FUNCTIONS: dict[str, Callable] = {
    "accuracy": accuracy, "acc": accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "categorical_accuracy": categorical_accuracy, "binary_accuracy": binary_accuracy,
    "mse": losses.mean_squared_error, "mean_squared_error": losses.mean_squared_error,
    "mae": losses.mean_absolute_error, "mean_absolute_error": losses.mean_absolute_error,
    "sparse_categorical_crossentropy": losses.sparse_categorical_crossentropy,
    "categorical_crossentropy": losses.categorical_crossentropy,
    "binary_crossentropy": losses.binary_crossentropy}


def get(identifier: Any) -> Metric:
    """The metric of a name, a class or a function; a Metric is returned unchanged.

    Raises InvalidArgumentError for an unknown name.
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if callable(identifier):
        return MeanMetricWrapper(identifier)
    name = identifier if identifier in FUNCTIONS else snake_case(str(identifier))
    if name not in FUNCTIONS:
        raise argument_checks.unknown_name_error("compile", "metric", identifier, FUNCTIONS)
    return MeanMetricWrapper(FUNCTIONS[name], str(identifier))
