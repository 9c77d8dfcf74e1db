"""Classify handwritten digits with a small convolutional network: 98 % accuracy within seconds.

`--losses FILE` writes the loss of every step, one per line, to compare machines and hosts; the
file `-` is the standard output.
"""

import argparse
import time

import tensorbrook as tf
from tensorbrook.keras import layers, losses, optimizers


class StepLosses(tf.keras.callbacks.Callback):
    """Records the loss of every step; `fit` itself reports the mean of an epoch."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


def digit_classifier():
    model = tf.keras.Sequential([
        tf.keras.Input((8, 8, 1)),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(10),
    ])
    model.compile(
        optimizer=optimizers.Adam(0.003),
        loss=losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--losses", type=argparse.FileType("w"), metavar="FILE",
                        help="write the loss of every step to this file")
    options = parser.parse_args()

    tf.random.set_seed(options.seed)
    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    model, steps = digit_classifier(), StepLosses()

    start = time.perf_counter()
    model.fit(x_train, y_train, batch_size=64, epochs=options.epochs, verbose=2,
              callbacks=[steps] if options.losses else [])
    seconds = time.perf_counter() - start

    if options.losses:
        options.losses.writelines(f"{loss:.9g}\n" for loss in steps.losses)
        options.losses.flush()
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"held-out accuracy: {accuracy:.2%}, loss {loss:.4f}, trained {seconds:.1f} s")


if __name__ == "__main__":
    main()
