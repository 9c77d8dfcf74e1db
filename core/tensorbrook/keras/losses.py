"""Losses, by Keras's names and formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from . import data_conversion, argument_checks
from .auto_names import snake_case

EPSILON = 1e-7  # how far probabilities are kept from 0 and 1
REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "none")


def squeeze_or_expand(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Both with as many axes, where one of them has a last axis of size 1 too many or too few.

    (n,) beside (n, 1) would otherwise broadcast to (n, n).
    """
    if x.ndim == y.ndim + 1 and x.shape[-1] == 1:
        return (x, tf.expand_dims(y, -1)) if y.ndim == 1 else (tf.squeeze(x, -1), y)
    if y.ndim == x.ndim + 1 and y.shape[-1] == 1:
        x, y = tf.expand_dims(x, -1) if x.ndim == 1 else x, y if x.ndim == 1 else tf.squeeze(y, -1)
    return x, y


def match_targets(op: str, y_true: Any, y_pred: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Targets and predictions as floats of one shape."""
    y_true, y_pred = squeeze_or_expand(data_conversion.to_float(y_true), data_conversion.to_float(y_pred))
    if tuple(y_true.shape) != tuple(y_pred.shape):
        raise InvalidArgumentError(
            op, f"y has shape {tuple(y_true.shape)}, the prediction {tuple(y_pred.shape)}",
            "the last layer must give as many numbers as y holds for each sample")
    return y_true, y_pred


def class_indices(op: str, y_true: Any, y_pred: tf.Tensor) -> tf.Tensor:
    """The targets as int32, one for each row of the prediction."""
    labels = tf.cast(data_conversion.to_tensor(y_true), tf.int32)
    if labels.ndim == y_pred.ndim and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    if tuple(labels.shape) != tuple(y_pred.shape[:-1]):
        raise InvalidArgumentError(
            op, f"labels have shape {tuple(labels.shape)}, the prediction {tuple(y_pred.shape)}",
            f"labels must have shape {tuple(y_pred.shape[:-1])}: one class index for each row; "
            "one-hot rows go with categorical_crossentropy")
    return labels


def log_probabilities(y_pred: tf.Tensor, from_logits: bool) -> tf.Tensor:
    if from_logits:
        return tf.nn.log_softmax(y_pred)
    total = tf.reduce_sum(y_pred, axis=-1, keepdims=True)
    return tf.math.log(tf.clip_by_value(y_pred / total, EPSILON, 1.0 - EPSILON))


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                                    ignore_class: int | None = None) -> tf.Tensor:
    """-log of the probability of each row's class; `ignore_class` costs nothing."""
    y_pred = data_conversion.to_float(y_pred)
    labels = class_indices("sparse_categorical_crossentropy", y_true, y_pred)
    hits = tf.one_hot(labels, y_pred.shape[-1])
    costs = -tf.reduce_sum(hits * log_probabilities(y_pred, from_logits), axis=-1)
    return costs if ignore_class is None else tf.where(labels != ignore_class, costs, 0.0)


def categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                             label_smoothing: float = 0.0) -> tf.Tensor:
    """The same for targets that give a probability for every class."""
    y_true, y_pred = match_targets("categorical_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[-1]
    return -tf.reduce_sum(y_true * log_probabilities(y_pred, from_logits), axis=-1)


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                        label_smoothing: float = 0.0) -> tf.Tensor:
    """Mean over the last axis of the cost of yes-or-no answers."""
    y_true, y_pred = match_targets("binary_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        costs = tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
    else:
        p = tf.clip_by_value(y_pred, EPSILON, 1.0 - EPSILON)
        costs = -(y_true * tf.math.log(p) + (1.0 - y_true) * tf.math.log(1.0 - p))
    return tf.reduce_mean(costs, axis=-1)


def mean_squared_error(y_true: Any, y_pred: Any) -> tf.Tensor:
    y_true, y_pred = match_targets("mean_squared_error", y_true, y_pred)
    return tf.reduce_mean(tf.square(y_pred - y_true), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> tf.Tensor:
    y_true, y_pred = match_targets("mean_absolute_error", y_true, y_pred)
    return tf.reduce_mean(tf.abs(y_pred - y_true), axis=-1)


class Loss:
    """What training makes small: `loss(y_true, y_pred)`. Write `call` for one of your own."""

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size",
                 dtype: Any = None):
        self.name = name or snake_case(type(self).__name__)
        self.reduction = argument_checks.require_choice(self.name, "reduction", reduction or "none", REDUCTIONS)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        raise NotImplementedError(f"{self.name}: write the cost of each sample as "
                                  "`def call(self, y_true, y_pred)`")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        # What a loss measures it measures in float32, whatever the model computes in.
        costs = self.call(*data_conversion.autocast((y_true, y_pred), tf.float32))
        return reduce_loss(costs, sample_weight, self.reduction)


def reduce_loss(costs: tf.Tensor, sample_weight: Any, reduction: str) -> tf.Tensor:
    """One number from the cost of each sample."""
    if sample_weight is not None:
        weights, costs = squeeze_or_expand(data_conversion.to_float(sample_weight), costs)
        costs = costs * weights
    if reduction == "none":
        return costs
    return tf.reduce_sum(costs) if reduction == "sum" else tf.reduce_mean(costs)


class LossFunctionWrapper(Loss):
    """A function of (y_true, y_pred) that gives the cost of each sample, as a loss."""

    def __init__(self, fn: Callable, name: str | None = None,
                 reduction: str | None = "sum_over_batch_size", **arguments: Any):
        super().__init__(name or getattr(fn, "__name__", "loss"), reduction)
        self.fn, self.arguments = fn, arguments

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.fn(y_true, y_pred, **self.arguments))


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Cross entropy of class indices with probabilities, or with logits."""

    def __init__(self, from_logits: bool = False, ignore_class: int | None = None,
                 reduction: str | None = "sum_over_batch_size",
                 name: str = "sparse_categorical_crossentropy"):
        super().__init__(sparse_categorical_crossentropy, name, reduction,
                         from_logits=from_logits, ignore_class=ignore_class)


class CategoricalCrossentropy(LossFunctionWrapper):
    """Cross entropy of one-hot rows with probabilities, or with logits."""

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0,
                 reduction: str | None = "sum_over_batch_size",
                 name: str = "categorical_crossentropy"):
        super().__init__(categorical_crossentropy, name, reduction, from_logits=from_logits,
                         label_smoothing=argument_checks.require_fraction(name, "label_smoothing", label_smoothing))


class BinaryCrossentropy(LossFunctionWrapper):
    """Cross entropy of answers 0 and 1 with probabilities, or with logits."""

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0,
                 reduction: str | None = "sum_over_batch_size", name: str = "binary_crossentropy"):
        super().__init__(binary_crossentropy, name, reduction, from_logits=from_logits,
                         label_smoothing=argument_checks.require_fraction(name, "label_smoothing", label_smoothing))


class MeanSquaredError(LossFunctionWrapper):
    def __init__(self, reduction: str | None = "sum_over_batch_size",
                 name: str = "mean_squared_error"):
        super().__init__(mean_squared_error, name, reduction)


class MeanAbsoluteError(LossFunctionWrapper):
    def __init__(self, reduction: str | None = "sum_over_batch_size",
                 name: str = "mean_absolute_error"):
        super().__init__(mean_absolute_error, name, reduction)


_CLASSES = (SparseCategoricalCrossentropy, CategoricalCrossentropy, BinaryCrossentropy,
            MeanSquaredError, MeanAbsoluteError)
BY_NAME: dict[str, Any] = {snake_case(c.__name__): c for c in _CLASSES} | {
    "mse": MeanSquaredError, "mae": MeanAbsoluteError}


def get(identifier: Any) -> Loss | None:
    """The loss of that name, or of that function; a Loss is itself."""
    if identifier is None or isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier):
        return LossFunctionWrapper(identifier)
    name = snake_case(identifier) if isinstance(identifier, str) else identifier
    if name not in BY_NAME:
        raise argument_checks.unknown_name_error("compile", "loss", identifier, BY_NAME)
    return BY_NAME[name]()


@tf.function
def _min_max(y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.reduce_min(y), tf.reduce_max(y)


def is_sparse_loss(loss: Any) -> bool:
    """Whether the loss is one of class indices, each of which must be an output of the model."""
    return getattr(loss, "fn", None) is sparse_categorical_crossentropy \
        and getattr(loss, "arguments", {}).get("ignore_class") is None


def check_classes(op: str, labels: tf.Tensor, count: int) -> None:
    """That labels name classes the model has, before a step would count them as none."""
    low, high = (int(n) for n in _min_max(labels))
    if low < 0 or high >= count:
        raise InvalidArgumentError(
            op, f"labels run from {low} to {high}, and the model gives {count} numbers",
            f"labels must be 0 to {count - 1}; the last layer needs one unit for each class")
