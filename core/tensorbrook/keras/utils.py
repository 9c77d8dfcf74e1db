"""`tf.keras.utils`."""

from __future__ import annotations

import random
from typing import Any

import tensorbrook as tf

from ..base.errors import InvalidArgumentError
from . import data_conversion, auto_names


def set_random_seed(seed: int) -> None:
    """Begin all random numbers anew: tf.random's and Python's."""
    tf.random.set_seed(seed)
    random.seed(seed)


def clear_session(free_memory: bool = True) -> None:
    """Number the names of layers from the beginning again."""
    auto_names.reset()


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Class indices as one-hot rows."""
    labels = tf.cast(data_conversion.to_tensor(x), tf.int32)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = tf.squeeze(labels, -1)
    most = int(tf.reduce_max(labels))
    depth = most + 1 if num_classes is None else num_classes
    if most >= depth or int(tf.reduce_min(labels)) < 0:
        raise InvalidArgumentError(
            "to_categorical", f"labels run up to {most}, num_classes is {depth}",
            f"use num_classes={most + 1}, and labels of 0 or more")
    return data_conversion.to_numpy(tf.one_hot(labels, depth))
