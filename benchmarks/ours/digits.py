"""Training on real digits, from random weights to a target accuracy on held-out digits."""

import time

import tensorbrook as tf


def model():
    layers = tf.keras.layers
    network = tf.keras.Sequential([
        layers.Input((8, 8, 1)),
        layers.Conv2D(16, 3, activation="relu"), layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(64, activation="relu"), layers.Dense(10)])
    network.compile(optimizer=tf.keras.optimizers.Adam(0.002),
                    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                    metrics=["accuracy"])
    return network


def train(target_accuracy, max_epochs, seed=0):
    """Seconds of training and epochs until the held-out accuracy reaches the target."""
    tf.random.set_seed(seed)
    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    network, seconds, epochs, accuracy = model(), 0.0, 0, 0.0
    while accuracy < target_accuracy and epochs < max_epochs:
        start = time.perf_counter()
        network.fit(x_train, y_train, batch_size=32, epochs=1, verbose=0)
        seconds, epochs = seconds + time.perf_counter() - start, epochs + 1
        accuracy = network.evaluate(x_test, y_test, verbose=0)[1]
    return {"seconds of training": seconds, "epochs": epochs, "held-out accuracy": accuracy}


def first_step():
    """The first step of a new page: one batch of a new network."""
    (x_train, y_train), _ = tf.keras.datasets.digits.load_data()
    start = time.perf_counter()
    loss = model().train_on_batch(x_train[:64], y_train[:64])
    return {"loss": loss, "seconds": time.perf_counter() - start}
