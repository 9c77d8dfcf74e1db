"""Batch iterator: slices of the training data, taken inside the compiled step.

The samples stay in the backend's memory, and a Variable holds the position of the next batch. A
step therefore has no data to upload, and one host call runs it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from math import ceil
from random import Random
from typing import Any

import tensorbrook as tf

from ..function import Function
from .data_conversion import to_device


@tf.function
def _random_word() -> tf.Tensor:
    return tf.random.get_global_generator().bits((1,))


class BatchIterator:
    """The position in the samples at which the next batch begins."""

    def __init__(self):
        self.position = tf.Variable(0, trainable=False, name="feed_position")

    def reset(self) -> None:
        self.position.assign(0)

    def next_batch(self, samples: tuple, order: Any, count: int) -> tuple:
        """The next `count` samples of each tensor, in their own order if `order` is None."""
        indices = tf.range(count) + self.position
        if order is not None:
            indices = tf.gather(order, indices)
        self.position.assign_add(count)
        return tuple(tf.gather(tensor, indices) for tensor in samples)


class EpochShuffler:
    """Random orders of n samples, one for each epoch; tf.random.set_seed reproduces them."""

    def __init__(self, n: int):
        self.random = Random(_random_word().tolist()[0])
        self.indices = array("i", range(n))

    def next_order(self) -> tf.Tensor:
        """A new random order: int32, shape (n,)."""
        self.random.shuffle(self.indices)
        return to_device(tf.constant(self.indices))


def bind_step_to_samples(step: Callable, samples: tuple, order: Any) -> Callable[[int], Any]:
    """A function of the batch size that runs `step` on the next samples."""
    if not isinstance(step, Function):
        return lambda count: step(samples, order, count)
    tensors = [*samples, *([] if order is None else [order])]
    programs: dict[int, Callable] = {}

    def run(count: int) -> Any:
        # All batches of one size have the same signature, so its program is looked up once.
        if count not in programs:
            programs[count] = step.get_concrete_function(samples, order, count)
        return programs[count](tensors)

    return run


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """The number of samples of each batch of an epoch; the last batch may be smaller."""
    count = ceil(n / batch_size)
    return [batch_size] * (count - 1) + [n - (count - 1) * batch_size]


def holdout_split(samples: tuple, fraction: float) -> tuple[tuple, tuple]:
    """The first samples for training, and the last `fraction` of them for validation."""
    n = samples[0].shape[0]
    boundary = int(n * (1.0 - fraction))
    training, validation = ([to_device(tensor[span]) for tensor in samples]
                            for span in (slice(boundary), slice(boundary, None)))
    return tuple(training), tuple(validation)
