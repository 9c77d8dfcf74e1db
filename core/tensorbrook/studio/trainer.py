"""Trainer of the Studio: a model, its position in the data, and its compiled steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorbrook as tf

from ..keras import Sequential, layers, losses, optimizers
from ..keras.batch_iterator import BatchIterator, EpochShuffler
from .code_generation import OPTIMIZERS, gives_probabilities
from .layer_specs import IMAGE, LayerSpec


@dataclass(frozen=True)
class Settings:
    """The hyperparameters of training."""

    optimizer: str
    learning_rate: float
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Data:
    """The digits as tensors: training data and test data."""

    x_train: tf.Tensor
    y_train: tf.Tensor
    x_test: tf.Tensor
    y_test: tf.Tensor


def digits() -> Data:
    train, test = tf.keras.datasets.digits.load_data()
    return Data(*map(tf.constant, (*train, *test)))


class Trainer:
    """Trains batch by batch; a step is one compiled program.

    The program takes its batch from the data, and adds the loss and the number of correct
    predictions to Variables, which are read back only for display.
    """

    def __init__(self, specs: Sequence[LayerSpec], settings: Settings, data: Data):
        tf.random.set_seed(settings.seed)
        self.data = data
        self.gives_probabilities = gives_probabilities(specs)
        self.model = Sequential([layers.Input(IMAGE), *(spec.layer() for spec in specs)])
        self.loss = losses.SparseCategoricalCrossentropy(from_logits=not self.gives_probabilities)
        self.running_sums = tf.Variable([0.0, 0.0])  # loss, correct predictions; since last read
        self.steps = self.samples = self.epochs = self.position = self.unread_steps = 0
        self.iterator = BatchIterator()
        self.shuffler = EpochShuffler(data.x_train.shape[0])
        self.order = self.shuffler.shuffle()
        self.test_step = tf.function(self._test_step)
        self.predict_step = tf.function(self._predict_step)
        self.optimizer: Any = None
        self.train_step: Any = None
        self.apply_settings(settings)

    def apply_settings(self, settings: Settings) -> None:
        """Change the settings, and keep the weights."""
        kind = getattr(optimizers, OPTIMIZERS[settings.optimizer])
        if not isinstance(self.optimizer, kind):
            self.optimizer = kind(learning_rate=settings.learning_rate)
            self.train_step = tf.function(self._train_step)
        self.optimizer.learning_rate = settings.learning_rate
        self.batch_size = min(settings.batch_size, len(self.order))
        if self.position + self.batch_size > len(self.order):
            self.next_epoch()

    @property
    def epoch(self) -> float:
        """The number of epochs so far, with the fraction of the current epoch."""
        return self.epochs + self.position / len(self.order)

    @property
    def variables(self) -> list[tf.Variable]:
        return [*self.model.variables, *self.optimizer.variables, self.running_sums,
                self.iterator.position]

    def move_to_current_device(self) -> None:
        """Move all Variables to the current device."""
        for variable in self.variables:
            variable.assign(variable)

    def step(self) -> bool:
        """Train on the next batch; returns whether it was the last batch of an epoch."""
        self.train_step(self.order, self.batch_size)
        self.position += self.batch_size
        self.steps += 1
        self.samples += self.batch_size
        self.unread_steps += 1
        # A smaller last batch would need a separate program, so its samples are skipped.
        is_end = self.position + self.batch_size > len(self.order)
        if is_end:
            self.next_epoch()
        return is_end

    def next_epoch(self) -> None:
        self.epochs, self.position, self.order = self.epochs + 1, 0, self.shuffler.shuffle()
        self.iterator.reset()

    def read_results(self) -> tuple[float, float] | None:
        """The mean loss and accuracy of the steps since the last call; None if there were none."""
        if not self.unread_steps:
            return None
        loss, correct = self.running_sums.value().tolist()
        steps, self.unread_steps = self.unread_steps, 0
        self.running_sums.assign([0.0, 0.0])
        return loss / steps, correct / (steps * self.batch_size)

    def test(self) -> tuple[float, float]:
        """The loss and the accuracy on the test data."""
        loss, correct = self.test_step().tolist()
        return loss, correct / self.data.x_test.shape[0]

    def predict(self, pixels: Sequence[float]) -> list[float]:
        """The probability of each digit for a picture."""
        return self.predict_step(tf.reshape(tf.constant(pixels), (1, *IMAGE))).tolist()[0]

    def _train_step(self, order: tf.Tensor, batch_size: int) -> None:
        samples = self.data.x_train, self.data.y_train
        x, y = self.iterator.next_batch(samples, order, batch_size)
        with tf.GradientTape() as tape:
            out = self.model(x, training=True)
            loss = self.loss(y, out)
        weights = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        self.running_sums.assign_add(tf.stack([loss, count_correct(out, y)]))

    def _test_step(self) -> tf.Tensor:
        out = self.model(self.data.x_test, training=False)
        return tf.stack([self.loss(self.data.y_test, out), count_correct(out, self.data.y_test)])

    def _predict_step(self, x: tf.Tensor) -> tf.Tensor:
        out = self.model(x, training=False)
        return out if self.gives_probabilities else tf.nn.softmax(out)


def count_correct(out: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The number of correct predictions, a float32 scalar."""
    is_correct = tf.equal(tf.argmax(out, axis=-1, output_type=tf.int32), y)
    return tf.reduce_sum(tf.cast(is_correct, tf.float32))
