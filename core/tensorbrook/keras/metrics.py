"""Metrics: sums that grow batch by batch inside the compiled step, read when somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from . import data_conversion, argument_checks, losses
from .auto_names import snake_case


class Metric:
    """Something measured over many batches. Write `update_state` and `result`."""

    def __init__(self, dtype: Any = None, name: str | None = None):
        self.name = name or snake_case(type(self).__name__)
        self._variables: list[tf.Variable] = []

    def add_variable(self, shape: Any = (), initializer: Any = "zeros", dtype: Any = None,
                     name: str | None = None) -> tf.Variable:
        """A number, or several, that `reset_state` sets to 0 again."""
        with tf.init_scope():
            variable = tf.Variable(tf.zeros(tuple(shape)), trainable=False, name=name or self.name)
        self._variables.append(variable)
        return variable

    add_weight = add_variable

    @property
    def variables(self) -> list[tf.Variable]:
        return list(self._variables)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"{self.name}: write `def update_state(self, y_true, y_pred)`")

    def result(self) -> tf.Tensor:
        raise NotImplementedError(f"{self.name}: write `def result(self)`")

    def reset_state(self) -> None:
        for variable in self._variables:
            variable.assign(0.0 if not variable.shape else tf.zeros(variable.shape))

    def __call__(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        self.update_state(*args, **kwargs)
        return self.result()

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}>"


class Mean(Metric):
    """The mean of all values it was given, each with its weight."""

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
            values, weights = losses.squeeze_or_expand(values, data_conversion.to_float(sample_weight))
            values, count = values * weights, tf.reduce_sum(weights * tf.ones_like(values))
        self.total.assign_add(tf.reduce_sum(values))
        self.count.assign_add(count)

    def result(self) -> tf.Tensor:
        count = self.count.value()
        return tf.where(count > 0.0, self.total / tf.maximum(count, 1e-30), 0.0)


class MeanMetricWrapper(Mean):
    """The mean of a function of (y_true, y_pred) that gives a number for each sample."""

    def __init__(self, fn: Callable, name: str | None = None, dtype: Any = None,
                 **arguments: Any):
        super().__init__(name or getattr(fn, "__name__", "metric"), dtype)
        self.fn, self.arguments = fn, arguments

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred = data_conversion.autocast((y_true, y_pred), tf.float32)
        super().update_state(self.fn(y_true, y_pred, **self.arguments), sample_weight)


def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> tf.Tensor:
    """1 where the largest number of a row stands at its class."""
    y_pred = data_conversion.to_float(y_pred)
    labels = losses.class_indices("sparse_categorical_accuracy", y_true, y_pred)
    return tf.cast(tf.equal(tf.argmax(y_pred, axis=-1), labels), tf.float32)


def categorical_accuracy(y_true: Any, y_pred: Any) -> tf.Tensor:
    """1 where the largest numbers of a one-hot row and of its prediction stand at one place."""
    y_true, y_pred = losses.match_targets("categorical_accuracy", y_true, y_pred)
    right = tf.equal(tf.argmax(y_true, axis=-1), tf.argmax(y_pred, axis=-1))
    return tf.cast(right, tf.float32)


def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> tf.Tensor:
    """The share of answers that are on the right side of the threshold."""
    y_true, y_pred = losses.match_targets("binary_accuracy", y_true, y_pred)
    right = tf.equal(y_true, tf.cast(y_pred > threshold, tf.float32))
    return tf.reduce_mean(tf.cast(right, tf.float32), axis=-1)


def accuracy(y_true: Any, y_pred: Any) -> tf.Tensor:
    """The accuracy that fits the shapes: binary, of class indices, or of one-hot rows."""
    y_true, y_pred = data_conversion.to_tensor(y_true), data_conversion.to_float(y_pred)
    if y_pred.shape[-1] == 1:
        return binary_accuracy(y_true, y_pred)
    if y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
        return sparse_categorical_accuracy(y_true, y_pred)
    return categorical_accuracy(y_true, y_pred)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    def __init__(self, name: str = "sparse_categorical_accuracy", dtype: Any = None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


class CategoricalAccuracy(MeanMetricWrapper):
    def __init__(self, name: str = "categorical_accuracy", dtype: Any = None):
        super().__init__(categorical_accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    def __init__(self, name: str = "binary_accuracy", dtype: Any = None, threshold: float = 0.5):
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class MeanSquaredError(MeanMetricWrapper):
    def __init__(self, name: str = "mean_squared_error", dtype: Any = None):
        super().__init__(losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(MeanMetricWrapper):
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
    """The metric of that name, or of that function; a Metric is itself."""
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
