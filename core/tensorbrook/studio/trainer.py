"""A network being trained: its weights, its place in the data, and its compiled steps."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorbrook as tf

from ..keras import Sequential, layers, losses, optimizers
from ..keras.batch_iterator import BatchIterator
from .layer_specs import IMAGE, LayerSpec
from .code_generation import OPTIMIZERS, gives_probabilities


@dataclass(frozen=True)
class Settings:
    """What training is set to."""

    optimizer: str
    learning_rate: float
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Data:
    """The digits as tensors: what is learnt from, and what is held out."""

    x_train: tf.Tensor
    y_train: tf.Tensor
    x_test: tf.Tensor
    y_test: tf.Tensor


def digits() -> Data:
    train, test = tf.keras.datasets.digits.load_data()
    return Data(*map(tf.constant, (*train, *test)))


class Trainer:
    """Trains batch by batch. A step is one compiled program, which also takes the batch; sums of
    loss and hits stay in it."""

    def __init__(self, specs: Sequence[LayerSpec], settings: Settings, data: Data):
        tf.random.set_seed(settings.seed)
        self.data = data
        self.probabilities = gives_probabilities(specs)
        self.model = Sequential([layers.Input(IMAGE), *(spec.layer() for spec in specs)])
        self.loss = losses.SparseCategoricalCrossentropy(from_logits=not self.probabilities)
        self.running_sums = tf.Variable([0.0, 0.0])  # of loss and of hits since they were last read
        self.steps = self.samples = self.epochs = self.at = self.unread_steps = 0
        self.random = random.Random(settings.seed)
        self.feed, self.order = BatchIterator(), self.shuffled()
        self.measure = tf.function(self._measure)
        self.classify = tf.function(self._classify)
        self.optimizer: Any = None
        self.learn: Any = None
        self.apply_settings(settings)

    def apply_settings(self, settings: Settings) -> None:
        """Train on with other settings; the weights stay."""
        kind = getattr(optimizers, OPTIMIZERS[settings.optimizer])
        if not isinstance(self.optimizer, kind):
            self.optimizer = kind(learning_rate=settings.learning_rate)
            self.learn = tf.function(self._learn)
        self.optimizer.learning_rate = settings.learning_rate
        self.batch_size = min(settings.batch_size, len(self.order))
        if self.at + self.batch_size > len(self.order):
            self.next_epoch()

    def shuffled(self) -> tf.Tensor:
        order = list(range(self.data.x_train.shape[0]))
        self.random.shuffle(order)
        return tf.constant(order)

    @property
    def epoch(self) -> float:
        """Epochs so far, with the share of the one under way."""
        return self.epochs + self.at / len(self.order)

    @property
    def variables(self) -> list[tf.Variable]:
        return [*self.model.variables, *self.optimizer.variables, self.running_sums, self.feed.position]

    def move_to_current_device(self) -> None:
        """Put all that it trains with where it is computed now."""
        for variable in self.variables:
            variable.assign(variable)

    def step(self) -> bool:
        """Learn from the next batch; tells whether an epoch ended with it."""
        self.learn(self.order, self.batch_size)
        self.at += self.batch_size
        self.steps += 1
        self.samples += self.batch_size
        self.unread_steps += 1
        # A last, smaller batch would be a program of its own; its samples come in the next order.
        ended = self.at + self.batch_size > len(self.order)
        if ended:
            self.next_epoch()
        return ended

    def next_epoch(self) -> None:
        self.epochs, self.at, self.order = self.epochs + 1, 0, self.shuffled()
        self.feed.reset()

    def read_results(self) -> tuple[float, float] | None:
        """Mean loss and accuracy of the steps since the last reading; None if there were none."""
        if not self.unread_steps:
            return None
        loss, hits = self.running_sums.value().tolist()
        steps, self.unread_steps = self.unread_steps, 0
        self.running_sums.assign([0.0, 0.0])
        return loss / steps, hits / (steps * self.batch_size)

    def test(self) -> tuple[float, float]:
        """Loss and accuracy on the digits held out."""
        loss, hits = self.measure().tolist()
        return loss, hits / self.data.x_test.shape[0]

    def predict(self, pixels: Sequence[float]) -> list[float]:
        """How likely each digit is for one picture."""
        return self.classify(tf.reshape(tf.constant(pixels), (1, *IMAGE))).tolist()[0]

    def _learn(self, order: tf.Tensor, batch_size: int) -> None:
        x, y = self.feed.next_batch((self.data.x_train, self.data.y_train), order, batch_size)
        with tf.GradientTape() as tape:
            out = self.model(x, training=True)
            loss = self.loss(y, out)
        weights = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.running_sums.assign_add(tf.stack([loss, hits_of(out, y)]))

    def _measure(self) -> tf.Tensor:
        out = self.model(self.data.x_test, training=False)
        return tf.stack([self.loss(self.data.y_test, out), hits_of(out, self.data.y_test)])

    def _classify(self, x: tf.Tensor) -> tf.Tensor:
        out = self.model(x, training=False)
        return out if self.probabilities else tf.nn.softmax(out)


def hits_of(out: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """How many of the pictures were read right."""
    right = tf.equal(tf.argmax(out, axis=-1, output_type=tf.int32), y)
    return tf.reduce_sum(tf.cast(right, tf.float32))
