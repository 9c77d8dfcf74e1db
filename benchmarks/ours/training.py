"""Training steps: with a GradientTape and an explicit Adam, and with Keras."""

import tensorbrook as tf

from .correctness_samples import losses


class Adam:
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980) with TensorFlow's epsilon."""

    def __init__(self, parameters):
        self.parameters, self.t = parameters, tf.Variable(0.0)
        self.means = [tf.Variable(tf.zeros_like(p)) for p in parameters]
        self.squares = [tf.Variable(tf.zeros_like(p)) for p in parameters]

    def apply(self, gradients):
        self.t.assign_add(1.0)
        rate = 0.001 * tf.sqrt(1 - 0.999 ** self.t) / (1 - 0.9 ** self.t)
        for p, m, v, g in zip(self.parameters, self.means, self.squares, gradients):
            m.assign_add((g - m) * 0.1)
            v.assign_add((g * g - v) * 0.001)
            p.assign_sub(rate * m / (tf.sqrt(v) + 1e-7))


def custom_step(model, parameters, arrays, checked_steps):
    """The step of a custom training loop: one captured program."""
    optimizer = Adam(parameters)
    x, y = arrays["x"], arrays["y"]

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x)))
        optimizer.apply(tape.gradient(loss, parameters))
        return loss

    return step, (x, y), lambda: losses(step, x, y, checked_steps)


def variables(arrays):
    """Pairs of weights and biases, in the order of the layers."""
    count = len(arrays) // 2
    return [(tf.Variable(arrays[f"w{i}"]), tf.Variable(arrays[f"b{i}"])) for i in range(1, count)]


def dense(x, layers):
    *hidden, (w, b) = layers
    for v, c in hidden:
        x = tf.nn.relu(x @ v + c)
    return x @ w + b


def mlp(arrays, api, checked_steps):
    if api == "keras":
        return keras_step(mlp_layers(), arrays, checked_steps)
    layers = variables(arrays)
    return custom_step(lambda x: dense(x, layers), [p for pair in layers for p in pair], arrays,
                       checked_steps)


def lenet(arrays, api, checked_steps):
    if api == "keras":
        return keras_step(lenet_layers(), arrays, checked_steps)
    layers = variables(arrays)

    def model(x):
        for w, b in layers[:2]:
            x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, w, 1, "VALID") + b), 2, 2, "VALID")
        return dense(tf.reshape(x, (x.shape[0], -1)), layers[2:])

    return custom_step(model, [p for pair in layers for p in pair], arrays, checked_steps)


def mlp_layers():
    layers = tf.keras.layers
    return [layers.Input((784,)), layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"), layers.Dense(10)]


def lenet_layers():
    layers = tf.keras.layers
    return [layers.Input((28, 28, 1)),
            layers.Conv2D(6, 5, activation="relu"), layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
            layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"),
            layers.Dense(10)]


def keras_step(layers, arrays, checked_steps):
    """`train_on_batch` of a Sequential model with the workload's initial weights."""
    model = tf.keras.Sequential(layers)
    for variable, value in zip(model.trainable_variables, initial_weights(arrays)):
        variable.assign(value)
    return training_step(model, tf.keras.optimizers.Adam(0.001), arrays, "keras", checked_steps)


def initial_weights(arrays):
    return [arrays[f"{kind}{i}"] for i in range(1, len(arrays) // 2) for kind in "wb"]


def training_step(model, optimizer, arrays, api, checked_steps):
    """A training step of a Keras model: of a custom loop, or `train_on_batch`."""
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x, y = arrays["x"], arrays["y"]
    if api == "keras":
        return train_on_batch_step(model, optimizer, loss, x, y, checked_steps)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables))
        return value

    return step, (x, y), lambda: losses(step, x, y, checked_steps)


def train_on_batch_step(model, optimizer, loss, x, y, checked_steps):
    model.compile(optimizer=optimizer, loss=loss)

    def loss_of_step(x, y):
        model.reset_metrics()  # train_on_batch returns the mean since the last reset
        return model.train_on_batch(x, y)

    return model.train_on_batch, (x, y), lambda: losses(loss_of_step, x, y, checked_steps)
