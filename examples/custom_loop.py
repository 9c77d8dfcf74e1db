"""A custom training loop: GradientTape inside tf.function, so that a step is one program."""

import tensorbrook as tf

tf.random.set_seed(0)
(x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
x_train, y_train, x_test, y_test = map(tf.constant, (x_train, y_train, x_test, y_test))

hidden = tf.keras.layers.Dense(64, activation="relu")
out = tf.keras.layers.Dense(10)
model = tf.keras.Sequential([tf.keras.Input((8, 8, 1)), tf.keras.layers.Flatten(), hidden, out])
optimizer = tf.keras.optimizers.Adam(0.005)
cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@tf.function
def step(x, y):
    with tf.GradientTape() as tape:
        loss = cross_entropy(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    return loss


@tf.function
def accuracy(x, y):
    correct = tf.equal(tf.argmax(model(x), axis=-1), y)
    return tf.reduce_mean(tf.cast(correct, tf.float32))


BATCH = 64
starts = range(0, len(x_train) - BATCH + 1, BATCH)
batches = [(x_train[i:i + BATCH], y_train[i:i + BATCH]) for i in starts]
for epoch in range(10):
    for x, y in batches:
        loss = step(x, y)
    print(f"epoch {epoch + 1}: loss {float(loss):.4f}, "
          f"held-out accuracy {float(accuracy(x_test, y_test)):.1%}")
