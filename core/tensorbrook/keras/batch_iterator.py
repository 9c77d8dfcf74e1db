"""Batches taken inside the program: data lies on the backend, a Variable tells where to go on.

A step therefore takes no data with it when it is called, and the host is called once for it.
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
    """Where in the data the next batch begins."""

    def __init__(self):
        self.position = tf.Variable(0, trainable=False, name="feed_position")

    def reset(self) -> None:
        self.position.assign(0)

    def next_batch(self, rows: tuple, order: Any, count: int) -> tuple:
        """The next `count` samples of each tensor, in that order or as they lie."""
        places = tf.range(count) + self.position
        if order is not None:
            places = tf.gather(order, places)
        self.position.assign_add(count)
        return tuple(tf.gather(each, places) for each in rows)


class EpochShuffler:
    """Orders of n samples, a new one for each epoch: the same after the same tf.random.set_seed."""

    def __init__(self, n: int):
        self.random = Random(_random_word().tolist()[0])
        self.places = array("i", range(n))

    def order(self) -> tf.Tensor:
        self.random.shuffle(self.places)
        return to_device(tf.constant(self.places))


def bind_step_to_samples(step: Callable, rows: tuple, order: Any) -> Callable[[int], Any]:
    """`step` on the next samples of these rows: told how many, it runs its program at once."""
    if not isinstance(step, Function):
        return lambda count: step(rows, order, count)
    tensors = [*rows, *([] if order is None else [order])]
    programs: dict[int, Callable] = {}

    def run(count: int) -> Any:
        # The signature is the same for every batch of that size, so it is looked up once.
        if count not in programs:
            programs[count] = step.get_concrete_function(rows, order, count)
        return programs[count](tensors)

    return run


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """How many samples each batch of an epoch holds; the last may hold fewer."""
    count = ceil(n / batch_size)
    return [batch_size] * (count - 1) + [n - (count - 1) * batch_size]


def holdout_split(rows: tuple, share: float) -> tuple[tuple, tuple]:
    """The first samples to learn from, and the last ones, that share of all, to hold out."""
    n = rows[0].shape[0]
    first = int(n * (1.0 - share))
    begin, end = ([to_device(each[part]) for each in rows]
                  for part in (slice(first), slice(first, None)))
    return tuple(begin), tuple(end)
