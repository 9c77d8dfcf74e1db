"""Losses: the training objectives, with Keras's names and formulas.

A loss function takes targets and predictions and returns one value for each sample; a Loss object
multiplies the values by the sample weights and reduces them to a scalar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from ..ops import indexing
from . import argument_checks, data_conversion
from .auto_names import snake_case

EPSILON = 1e-7  # probabilities are clipped to [EPSILON, 1 - EPSILON]
REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "none")


def squeeze_or_expand(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Give two tensors the same rank by removing or adding a last axis of size 1.

    Without this, shapes (n,) and (n, 1) would broadcast to (n, n).
    """
    if x.ndim == y.ndim + 1 and x.shape[-1] == 1:
        return (x, tf.expand_dims(y, -1)) if y.ndim == 1 else (tf.squeeze(x, -1), y)
    if y.ndim == x.ndim + 1 and y.shape[-1] == 1:
        x, y = tf.expand_dims(x, -1) if x.ndim == 1 else x, y if x.ndim == 1 else tf.squeeze(y, -1)
    return x, y


def match_targets(op: str, y_true: Any, y_pred: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Targets and predictions as float32 tensors of the same shape."""
    y_true, y_pred = squeeze_or_expand(data_conversion.to_float(y_true),
                                       data_conversion.to_float(y_pred))
    if tuple(y_true.shape) != tuple(y_pred.shape):
        raise InvalidArgumentError(
            op, f"y has shape {tuple(y_true.shape)}, the prediction {tuple(y_pred.shape)}",
            "the output of the last layer must have the shape of y")
    return y_true, y_pred


def class_indices(op: str, y_true: Any, y_pred: tf.Tensor) -> tf.Tensor:
    """The targets as int32, one class index for each row of the prediction."""
    labels = tf.cast(data_conversion.to_tensor(y_true), tf.int32)
    if labels.ndim == y_pred.ndim and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    if tuple(labels.shape) != tuple(y_pred.shape[:-1]):
        raise InvalidArgumentError(
            op, f"labels have shape {tuple(labels.shape)}, the prediction {tuple(y_pred.shape)}",
            f"labels must have shape {tuple(y_pred.shape[:-1])}, one class index for each row; "
            "for one-hot labels use categorical_crossentropy")
    return labels


def log_probabilities(y_pred: tf.Tensor, from_logits: bool) -> tf.Tensor:
    """Log probabilities from logits, or from probabilities, which are normalized and clipped."""
    if from_logits:
        return tf.nn.log_softmax(y_pred)
    total = tf.reduce_sum(y_pred, axis=-1, keepdims=True)
    return tf.math.log(tf.clip_by_value(y_pred / total, EPSILON, 1.0 - EPSILON))


def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                                    ignore_class: int | None = None) -> tf.Tensor:
    """Cross entropy of class indices (...,) and predictions (..., classes): float32 (...,).

    The loss of a sample is -log(probability of its class). It is 0 where the class is
    `ignore_class`. Another class outside of [0, classes) is an error, or has loss NaN in
    tf.function: see tf.nn.sparse_softmax_cross_entropy_with_logits.

    >>> loss = tf.keras.losses.sparse_categorical_crossentropy([1], [[0.5, 0.5]])
    >>> [round(x, 4) for x in loss.tolist()]
    [0.6931]
    """
    y_pred = data_conversion.to_float(y_pred)
    labels = class_indices("sparse_categorical_crossentropy", y_true, y_pred)
    counts = labels != ignore_class if ignore_class is not None else None
    if counts is not None:
        labels = tf.where(counts, labels, 0)
    if from_logits:
        values = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, y_pred)
    else:
        num_classes = y_pred.shape[-1]
        indexing.require_class_indices("sparse_categorical_crossentropy", labels, num_classes)
        one_hot = indexing.one_hot_or_nan(labels, num_classes)
        values = -tf.reduce_sum(one_hot * log_probabilities(y_pred, from_logits), axis=-1)
    return values if counts is None else tf.where(counts, values, 0.0)


def categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                             label_smoothing: float = 0.0) -> tf.Tensor:
    """Cross entropy of one-hot or probability targets and predictions, along the last axis.

    Both have shape (..., classes); the result is float32 (...,).
    """
    y_true, y_pred = match_targets("categorical_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[-1]
    return -tf.reduce_sum(y_true * log_probabilities(y_pred, from_logits), axis=-1)


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False,
                        label_smoothing: float = 0.0) -> tf.Tensor:
    """Cross entropy of independent binary targets (0 to 1), averaged over the last axis."""
    y_true, y_pred = match_targets("binary_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        values = tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
    else:
        p = tf.clip_by_value(y_pred, EPSILON, 1.0 - EPSILON)
        values = -(y_true * tf.math.log(p) + (1.0 - y_true) * tf.math.log(1.0 - p))
    return tf.reduce_mean(values, axis=-1)


def mean_squared_error(y_true: Any, y_pred: Any) -> tf.Tensor:
    """mean((y_pred - y_true) ** 2) over the last axis."""
    y_true, y_pred = match_targets("mean_squared_error", y_true, y_pred)
    return tf.reduce_mean(tf.square(y_pred - y_true), axis=-1)


def mean_absolute_error(y_true: Any, y_pred: Any) -> tf.Tensor:
    """mean(|y_pred - y_true|) over the last axis."""
    y_true, y_pred = match_targets("mean_absolute_error", y_true, y_pred)
    return tf.reduce_mean(tf.abs(y_pred - y_true), axis=-1)


class Loss:
    """Base class of losses: `loss(y_true, y_pred, sample_weight=None)`; override `call`.

    `call` returns one value for each sample. `reduction` is "sum_over_batch_size" or "mean" (their
    mean over all samples), "sum", or "none". Losses are computed in float32, whatever the dtype of
    the model.

    >>> class Hinge(tf.keras.losses.Loss):
    ...     def call(self, y_true, y_pred):
    ...         return tf.reduce_mean(tf.nn.relu(1.0 - y_true * y_pred), axis=-1)
    """

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size",
                 dtype: Any = None):
        self.name = name or snake_case(type(self).__name__)
        self.reduction = argument_checks.require_choice(
            self.name, "reduction", reduction or "none", REDUCTIONS)

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        raise NotImplementedError(f"{self.name}: the loss has no `call`; override "
                                  "`def call(self, y_true, y_pred)`")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tf.Tensor:
        values = self.call(*data_conversion.autocast((y_true, y_pred), tf.float32))
        return reduce_loss(values, sample_weight, self.reduction)


def reduce_loss(values: tf.Tensor, sample_weight: Any, reduction: str) -> tf.Tensor:
    """Multiply the values by the sample weights, and reduce them."""
    if sample_weight is not None:
        weights, values = squeeze_or_expand(data_conversion.to_float(sample_weight), values)
        values = values * weights
    if reduction == "none":
        return values
    return tf.reduce_sum(values) if reduction == "sum" else tf.reduce_mean(values)


class LossFunctionWrapper(Loss):
    """A Loss made of a function of (y_true, y_pred) that returns one value for each sample."""

    def __init__(self, fn: Callable, name: str | None = None,
                 reduction: str | None = "sum_over_batch_size", **arguments: Any):
        super().__init__(name or getattr(fn, "__name__", "loss"), reduction)
        self.fn, self.arguments = fn, arguments

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        return tf.convert_to_tensor(self.fn(y_true, y_pred, **self.arguments))


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Cross entropy of class indices and probabilities, or logits with `from_logits`.

    y_true has shape (...,) and any integer dtype, y_pred (..., classes). Samples whose class is
    `ignore_class` have loss 0.

    >>> loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> round(float(loss([0], [[0.0, 0.0]])), 4)
    0.6931
    """

    def __init__(self, from_logits: bool = False, ignore_class: int | None = None,
                 reduction: str | None = "sum_over_batch_size",
                 name: str = "sparse_categorical_crossentropy"):
        super().__init__(sparse_categorical_crossentropy, name, reduction,
                         from_logits=from_logits, ignore_class=ignore_class)


class CategoricalCrossentropy(LossFunctionWrapper):
    """Cross entropy of one-hot targets and probabilities, or logits with `from_logits`.

    y_true and y_pred have shape (..., classes). `label_smoothing` in [0, 1) moves the targets
    towards the uniform distribution.
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0,
                 reduction: str | None = "sum_over_batch_size",
                 name: str = "categorical_crossentropy"):
        super().__init__(categorical_crossentropy, name, reduction, from_logits=from_logits,
                         label_smoothing=argument_checks.require_fraction(
                             name, "label_smoothing", label_smoothing))


class BinaryCrossentropy(LossFunctionWrapper):
    """Cross entropy of targets 0 or 1 and probabilities, or logits with `from_logits`.

    y_true and y_pred have the same shape. `label_smoothing` in [0, 1) moves the targets towards
    1/2.
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0,
                 reduction: str | None = "sum_over_batch_size", name: str = "binary_crossentropy"):
        super().__init__(binary_crossentropy, name, reduction, from_logits=from_logits,
                         label_smoothing=argument_checks.require_fraction(
                             name, "label_smoothing", label_smoothing))


class MeanSquaredError(LossFunctionWrapper):
    """mean((y_pred - y_true) ** 2); y_true and y_pred have the same shape."""

    def __init__(self, reduction: str | None = "sum_over_batch_size",
                 name: str = "mean_squared_error"):
        super().__init__(mean_squared_error, name, reduction)


class MeanAbsoluteError(LossFunctionWrapper):
    """mean(|y_pred - y_true|); y_true and y_pred have the same shape."""

    def __init__(self, reduction: str | None = "sum_over_batch_size",
                 name: str = "mean_absolute_error"):
        super().__init__(mean_absolute_error, name, reduction)


_CLASSES = (SparseCategoricalCrossentropy, CategoricalCrossentropy, BinaryCrossentropy,
            MeanSquaredError, MeanAbsoluteError)
BY_NAME: dict[str, Any] = {snake_case(c.__name__): c for c in _CLASSES} | {
    "mse": MeanSquaredError, "mae": MeanAbsoluteError}


def get(identifier: Any) -> Loss | None:
    """The loss of a name, a class or a function; a Loss or None is returned unchanged.

    Raises InvalidArgumentError for an unknown name.
    """
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
    """Whether the targets are class indices, all of which must be outputs of the model."""
    return getattr(loss, "fn", None) is sparse_categorical_crossentropy \
        and getattr(loss, "arguments", {}).get("ignore_class") is None


def check_class_indices(op: str, labels: tf.Tensor, num_classes: int) -> None:
    """Raise InvalidArgumentError unless all labels are in [0, num_classes).

    The one-hot row of any other label is zero, so the loss would silently ignore the sample.
    """
    low, high = (int(n) for n in _min_max(labels))
    if low < 0 or high >= num_classes:
        raise InvalidArgumentError(
            op, f"labels range from {low} to {high}, but the model has {num_classes} outputs",
            f"labels must be 0 to {num_classes - 1}; the last layer needs one unit for each class")
