"""Golden programs: typical user programs and corner cases, whose plans are compared as text."""
import numpy as np

import tensorbrook as tf
from tensorbrook.ops.control_flow import scan_loop
from tensorbrook import keras


def zeros(*shape, dtype="float32") -> tf.Tensor:
    return tf.constant(np.zeros(shape, dtype))


def variable(*shape) -> tf.Variable:
    return tf.Variable(np.zeros(shape, "float32"))


def swap():
    a, b = variable(5), variable(5)

    def step():
        old = a.value()
        a.assign(b)
        b.assign(old)

    return step, ()


def momentum():
    weight, velocity = variable(256, 256), variable(256, 256)

    def step(g):
        velocity.assign(velocity * 0.9 - g * 0.01)
        weight.assign_add(velocity)

    return step, (zeros(256, 256),)


def training(layers, shape, batch: int, optimizer):
    """One step of a classifier: forward, backward, update."""
    model = keras.Sequential([keras.Input(shape), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer.build(model.trainable_variables)

    def step(x, labels):
        with tf.GradientTape() as tape:
            total = loss(labels, model(x, training=True))
            scaled = optimizer.scale_loss(total)
        grads = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        return total

    return step, (zeros(batch, *shape), zeros(batch, dtype="int32"))


def mlp():
    layers = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)]
    return training(layers, (784,), 32, keras.optimizers.Adam(0.001))


def cnn():
    layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.MaxPooling2D(2),
              keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(10)]
    return training(layers, (8, 8, 1), 16, keras.optimizers.SGD(0.1))


def layer_norm(x, scale, shift):
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), -1, keepdims=True)
    return (x - mean) * tf.rsqrt(variance + 1e-5) * scale + shift


def attention(q, k, v):
    scores = tf.matmul(q, k, transpose_b=True) * 0.25
    return tf.matmul(tf.nn.softmax(scores), v)


def gradient_of_gradient(x):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(tf.tanh(x) * x)
        gradient = inner.gradient(y, x)
    return outer.gradient(gradient, x)


def views(x):
    y = tf.transpose(x)[::-1, 1::2]
    return y * 2.0, tf.reshape(y, (-1,)), tf.broadcast_to(x[:1], (3, 6))


def concat_and_pad(x, y):
    return tf.pad(tf.concat([x, y * 2.0], 0), ((1, 1), (0, 2)))


def recurrent():
    """A recurrent network and the gradients of its weights."""
    def loss(x, w, u):
        def step(h, x):
            return tf.tanh(tf.matmul(x, w) + tf.matmul(h, u)), ()

        with tf.GradientTape() as tape:
            tape.watch((w, u))
            last, _ = scan_loop(step, tf.zeros((2, 4)), x)
            y = tf.reduce_sum(last * last)
        return y, *tape.gradient(y, (w, u))

    return loss, (zeros(6, 2, 3), zeros(3, 4), zeros(4, 4))


def gradients(f, *shapes):
    """The gradients of the sum of the squares of f."""
    def program(*xs):
        with tf.GradientTape() as tape:
            tape.watch(list(xs))
            total = tf.reduce_sum(tf.square(f(*xs)))
        return tape.gradient(total, list(xs))

    return program, tuple(zeros(*shape) for shape in shapes)


def cross_entropy(labels, logits):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tape.gradient(loss, logits)


def adamw():
    weight = variable(40, 30)
    optimizer = keras.optimizers.AdamW(0.001)
    optimizer.build([weight])
    return lambda g: optimizer.apply([g], [weight]) or None, (zeros(40, 30),)


def convolution(x, w, b):
    return tf.nn.relu(tf.nn.conv2d(x, w, padding="SAME") + b)


def batch_norm(x, mean, variance, scale, shift):
    return (x - mean) * tf.rsqrt(variance + 1e-3) * scale + shift


def embedding(table):
    with tf.GradientTape() as tape:
        tape.watch(table)
        rows = tf.gather(table, tf.constant([1, 4, 1]))
        total = tf.reduce_sum(rows * rows)
    return tape.gradient(total, table)


PROGRAMS = {
    "chain": lambda: (lambda x, y: tf.tanh(x * 2.0 + y) * x, (zeros(64, 1), zeros(3))),
    "softmax": lambda: (tf.nn.softmax, (zeros(32, 10),)),
    "layer_norm": lambda: (layer_norm, (zeros(32, 48), zeros(48), zeros(48))),
    "attention": lambda: (attention, (zeros(2, 4, 16, 16),) * 3),
    "long_sum": lambda: (tf.reduce_sum, (zeros(300, 200),)),
    "argmax": lambda: (lambda x: tf.argmax(x, 1), (zeros(32, 10),)),
    "movements": lambda: (views, (zeros(4, 6),)),
    "regions": lambda: (concat_and_pad, (zeros(2, 5), zeros(3, 5))),
    "gather": lambda: (lambda x, i: tf.gather(x, i) + tf.one_hot(i, 3), (
        zeros(9, 3), zeros(4, dtype="int32"))),
    "random": lambda: (lambda: tf.random.normal((6,)), ()),
    "gradient_of_gradient": lambda: (gradient_of_gradient, (zeros(7),)),
    "dense_gelu": lambda: gradients(
        lambda x, w, b: tf.nn.gelu(tf.matmul(x, w) + b), (12, 9), (9, 32), (32,)),
    "gelu_layer": lambda: gradients(
        lambda x, w, b, v: tf.matmul(tf.nn.gelu(tf.matmul(x, w) + b, approximate=True), v),
        (12, 9), (9, 32), (32,), (32, 9)),
    "residual": lambda: (lambda x, w, r: r + tf.matmul(x, w), (
        zeros(9, 6), zeros(6, 20), zeros(9, 20))),
    "conv_relu": lambda: (convolution, (zeros(2, 6, 6, 3), zeros(3, 3, 3, 16), zeros(16))),
    "layer_norm_gradient": lambda: gradients(layer_norm, (32, 48), (48,), (48,)),
    "batch_norm": lambda: (batch_norm, (zeros(2, 5, 5, 8), *[zeros(8)] * 4)),
    "cross_entropy": lambda: (cross_entropy, (zeros(32, dtype="int32"), zeros(32, 10))),
    "embedding": lambda: (embedding, (zeros(9, 4),)),
    "column_sum": lambda: (lambda x: tf.reduce_sum(x, 0), (zeros(70, 33),)),
    "transpose": lambda: (lambda x: tf.transpose(x) * 2.0, (zeros(33, 70),)),
    "pooling": lambda: gradients(lambda x: tf.nn.avg_pool2d(x, 2), (2, 6, 6, 3)),
    "adamw": adamw, "swap": swap, "recurrent": recurrent, "momentum": momentum, "mlp": mlp,
    "cnn": cnn,
}
# Programs whose generated WebAssembly is compared too: one for each kind of loop.
CODE = ("recurrent", "chain", "softmax", "long_sum")
# Programs whose generated WGSL is compared.
WGSL = ("chain", "softmax", "column_sum", "transpose", "layer_norm")
# Programs whose WGSL for a device with subgroups is compared.
SUBGROUPS = ("layer_norm",)
