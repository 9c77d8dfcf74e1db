"""`tf.keras.utils`: random seeds, and one-hot encoding of labels."""

from __future__ import annotations

import random
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from . import auto_names, data_conversion


def set_random_seed(seed: int) -> None:
    """Seed the random generators of `tf.random` and of Python's `random`."""
    tf.random.set_seed(seed)
    random.seed(seed)


def clear_session(free_memory: bool = True) -> None:
    """Restart the automatic names of layers: the next Dense is `dense` again.

    `free_memory` exists for compatibility with Keras and has no effect.
    """
    auto_names.reset()


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """One-hot rows of class indices: (..., num_classes) float32 from (...,) or (..., 1).

    `num_classes` is the largest index plus 1 by default. Raises InvalidArgumentError for an index
    outside of 0 to num_classes - 1.

    >>> tf.keras.utils.to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    labels = tf.cast(data_conversion.to_tensor(x), tf.int32)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    low, high = int(tf.reduce_min(labels)), int(tf.reduce_max(labels))
    depth = high + 1 if num_classes is None else num_classes
    if high >= depth or low < 0:
        raise InvalidArgumentError(
            "to_categorical", f"labels range from {low} to {high}, but num_classes is {depth}",
            f"use num_classes={high + 1} and labels of at least 0")
    return data_conversion.to_numpy(tf.one_hot(labels, depth))
