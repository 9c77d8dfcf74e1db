"""What passes over its data once or a few times."""

import tensorbrook as tf

from .sampling import sample, samples

OPERATIONS = {
    "softmax": tf.nn.softmax,
    "gelu": lambda x: tf.nn.gelu(x, approximate=True),
    "tanh": tf.tanh,
    "exp": tf.exp,
    "add": lambda x, y: x + y,
    "chain": lambda x, y: tf.nn.gelu(x, approximate=True) + tf.tanh(tf.exp(y)),
}
EPSILON = 1e-5


def elementwise(arrays, flavour, operation):
    f, inputs = tf.function(OPERATIONS[operation]), tuple(arrays.values())
    return f, inputs, lambda: sample(f(*inputs))


def normalized(x, gamma, beta, axes):
    """Mean 0 and variance 1 over `axes`, then scaled and moved."""
    mean, variance = tf.nn.moments(x, axes, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + EPSILON) * gamma + beta


def norm(arrays, flavour, axes, gradients):
    @tf.function
    def forward(x, gamma, beta):
        return normalized(x, gamma, beta, axes)

    @tf.function
    def with_gradients(x, gamma, beta, g):
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            out = normalized(x, gamma, beta, axes)
        return [out, *tape.gradient(out, [x, gamma, beta], output_gradients=g)]

    inputs = tuple(arrays.values())
    if gradients: return with_gradients, inputs, lambda: samples(with_gradients(*inputs))
    return forward, inputs, lambda: sample(forward(*inputs))


def cross_entropy(arrays, flavour):
    @tf.function
    def loss_and_gradient(logits, labels):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, logits)

    inputs = arrays["logits"], arrays["labels"]
    return loss_and_gradient, inputs, lambda: samples(loss_and_gradient(*inputs))


def adamw(arrays, flavour):
    """Keras's, whose moving means live in the optimizer."""
    parameters = tf.Variable(arrays["p"])
    optimizer = tf.keras.optimizers.AdamW(0.001, weight_decay=0.004)

    @tf.function
    def update(g):
        optimizer.apply_gradients([(g, parameters)])

    def check():
        update(arrays["g"])
        update(arrays["g"])
        return sample(parameters)

    return update, (arrays["g"],), check
