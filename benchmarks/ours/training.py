"""Whole training steps: with a GradientTape and Adam written out, and with Keras."""

import tensorbrook as tf

from .correctness_samples import losses


class Adam:
    """Kingma and Ba, 2015 (arXiv:1412.6980), with TensorFlow's epsilon."""

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


def step_of(model, parameters, arrays, checked_steps):
    """The step of a user's own loop: one captured program, called again and again."""
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
    """Pairs of weights and biases, in order."""
    count = len(arrays) // 2
    return [(tf.Variable(arrays[f"w{i}"]), tf.Variable(arrays[f"b{i}"])) for i in range(1, count)]


def dense(x, layers):
    *hidden, (w, b) = layers
    for v, c in hidden:
        x = tf.nn.relu(x @ v + c)
    return x @ w + b


def mlp(arrays, flavour, checked_steps):
    if flavour == "keras":
        return keras_step(MLP_LAYERS(), arrays, checked_steps)
    layers = variables(arrays)
    return step_of(lambda x: dense(x, layers), [p for pair in layers for p in pair], arrays,
                   checked_steps)


def lenet(arrays, flavour, checked_steps):
    if flavour == "keras":
        return keras_step(LENET_LAYERS(), arrays, checked_steps)
    layers = variables(arrays)

    def model(x):
        for w, b in layers[:2]:
            x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, w, 1, "VALID") + b), 2, 2, "VALID")
        return dense(tf.reshape(x, (x.shape[0], -1)), layers[2:])

    return step_of(model, [p for pair in layers for p in pair], arrays,
                   checked_steps)


def MLP_LAYERS():
    layers = tf.keras.layers
    return [layers.Input((784,)), layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"), layers.Dense(10)]


def LENET_LAYERS():
    layers = tf.keras.layers
    return [layers.Input((28, 28, 1)),
            layers.Conv2D(6, 5, activation="relu"), layers.MaxPooling2D(2),
            layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(2), layers.Flatten(),
            layers.Dense(120, activation="relu"), layers.Dense(84, activation="relu"),
            layers.Dense(10)]


def keras_step(layers, arrays, checked_steps):
    """`train_on_batch` of a model that begins with the weights all contenders begin with."""
    model = tf.keras.Sequential(layers)
    for variable, value in zip(model.trainable_variables, start(arrays)):
        variable.assign(value)
    return trained(model, tf.keras.optimizers.Adam(0.001), arrays, "keras", checked_steps)


def start(arrays):
    return [arrays[f"{kind}{i}"] for i in range(1, len(arrays) // 2) for kind in "wb"]


def trained(model, optimizer, arrays, flavour, checked_steps):
    """A model of Keras, trained by a user's own loop or by `train_on_batch`."""
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    x, y = arrays["x"], arrays["y"]
    if flavour == "keras":
        return by_keras(model, optimizer, loss, x, y, checked_steps)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables))
        return value

    return step, (x, y), lambda: losses(step, x, y, checked_steps)


def by_keras(model, optimizer, loss, x, y, checked_steps):
    model.compile(optimizer=optimizer, loss=loss)

    def fresh(x, y):
        model.reset_metrics()  # what train_on_batch returns is the mean since then
        return model.train_on_batch(x, y)

    return model.train_on_batch, (x, y), lambda: losses(fresh, x, y, checked_steps)
