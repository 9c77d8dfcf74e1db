"""Memory-bound operations: elementwise, normalization, losses, an optimizer's update."""

import tensorbrook as tf

from .correctness_samples import sample, samples
from .preset_weights import PresetLayers

OPERATIONS = {
    "softmax": tf.nn.softmax,
    "gelu": lambda x: tf.nn.gelu(x, approximate=True),
    "tanh": tf.tanh,
    "exp": tf.exp,
    "add": lambda x, y: x + y,
    "chain": lambda x, y: tf.nn.gelu(x, approximate=True) + tf.tanh(tf.exp(y)),
}


def elementwise(arrays, api, operation):
    f, inputs = tf.function(OPERATIONS[operation]), tuple(arrays.values())
    return f, inputs, lambda: sample(f(*inputs))


def layer_of(arrays, axes):
    """The Keras layer that normalizes over these axes."""
    preset = PresetLayers({f"norm.{name}": array for name, array in arrays.items()})
    return preset.layer_norm("norm") if axes == [-1] else preset.batch_norm("norm")


def norm(arrays, api, axes, gradients):
    layer, x = layer_of(arrays, axes), arrays["x"]
    layer(x)

    @tf.function
    def forward(x):
        return layer(x, training=True)

    @tf.function
    def with_gradients(x, g):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = layer(x, training=True)
        return [out, *tape.gradient(out, [x, layer.gamma, layer.beta], output_gradients=g)]

    if not gradients: return forward, (x,), lambda: sample(forward(x))
    g = arrays["g"]
    return with_gradients, (x, g), lambda: samples(with_gradients(x, g))


def cross_entropy(arrays, api):
    @tf.function
    def loss_and_gradient(logits, labels):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, logits)

    inputs = arrays["logits"], arrays["labels"]
    return loss_and_gradient, inputs, lambda: samples(loss_and_gradient(*inputs))


def adamw(arrays, api):
    """An update of Keras's AdamW, which holds the moments."""
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
