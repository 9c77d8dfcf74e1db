"""Batch iterator: slices of the training data, taken inside the compiled step.

The samples stay in the backend's memory, and a Variable holds the position of the next batch. A
step therefore has no data to upload, and one host call runs it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import ceil
from typing import Any

import tensorbrook as tf

from ..function import Function
from ..ops.kernel_primitives import random_bits
from . import argument_checks
from .data_conversion import to_device

BATCH_SIZE = 32


@tf.function
def _random_word() -> tf.Tensor:
    return tf.random.get_global_generator().bits((1,))


@tf.function
def _random_order(state: tf.Tensor, n: int) -> tf.Tensor:
    """The integers 0 to n - 1 in random order: the order of n random numbers."""
    return tf.argsort(random_bits(state, shape=(n,)))


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
    """A random order of n samples; tf.random.set_seed reproduces the sequence of orders."""

    def __init__(self, n: int):
        self.n, self.key, self.count = n, _random_word().tolist()[0], 0
        self.order: tf.Tensor | None = None

    def shuffle(self) -> tf.Tensor:
        """Set `order` to a new random order, and return it: int32, shape (n,)."""
        self.count += 1
        state = tf.constant([self.key, self.count, 0, 0])        # of a separate stream
        order = self.order = _random_order(state, self.n)
        return order


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


class EpochBatches:
    """The sizes of the batches of each epoch.

    An epoch is a pass over all samples or, with `steps`, that number of batches, with which the
    next epoch continues. It ends early where the pass ends. The batch size is `default`, or else
    divides the samples into `steps` batches, or else is 32.

    Raises InvalidArgumentError unless `batch_size` and `steps` are None or positive integers, and
    warns if the last epoch of a pass has fewer than `steps` batches.
    """

    def __init__(self, op: str, n: int, batch_size: int | None, steps: int | None,
                 default: int | None = None, prefix: str = "", steps_name: str = "steps"):
        if batch_size is not None:
            batch_size = argument_checks.require_int(op, f"{prefix}batch_size", batch_size)
        if steps is not None:
            steps = argument_checks.require_int(op, f"{prefix}{steps_name}", steps)
        batch_size = batch_size or default
        self.batch_size = batch_size or (ceil(n / steps) if steps else BATCH_SIZE)
        count = ceil(n / self.batch_size)
        self._sizes = [self.batch_size] * (count - 1) + [n - (count - 1) * self.batch_size]
        self.num_steps = steps or count
        self._op, self._steps_name = op, prefix + steps_name
        self._position = 0

    @property
    def begins_pass(self) -> bool:
        """Whether the next epoch begins a new pass over the samples."""
        return self._position == 0

    def reset(self) -> None:
        """Begin a new pass over the samples in the next epoch."""
        self._position = 0

    def next_epoch(self) -> list[int]:
        """The sizes of the batches of the next epoch."""
        sizes = self._sizes[self._position:self._position + self.num_steps]
        if len(sizes) < self.num_steps:
            self._warn(len(sizes))
        self._position = (self._position + len(sizes)) % len(self._sizes)
        return sizes

    def _warn(self, num_steps: int) -> None:
        batches = f"{len(self._sizes)} batches of {self.batch_size} samples"
        if len(self._sizes) < self.num_steps:
            warnings.warn(f"{self._op}: {batches} are fewer than {self._steps_name} "
                          f"{self.num_steps}; use fewer steps or a smaller batch_size",
                          stacklevel=4)
        else:
            warnings.warn(f"{self._op}: {batches} are not a multiple of {self._steps_name} "
                          f"{self.num_steps}, so an epoch has {num_steps} steps; use a divisor",
                          stacklevel=4)


def holdout_split(samples: tuple, fraction: float) -> tuple[tuple, tuple]:
    """The first samples for training, and the last `fraction` of them for validation."""
    n = samples[0].shape[0]
    boundary = int(n * (1.0 - fraction))
    training, validation = ([to_device(tensor[span]) for tensor in samples]
                            for span in (slice(boundary), slice(boundary, None)))
    return tuple(training), tuple(validation)
