"""Batch normalization, layer normalization and embeddings: values, gradients and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tensorbrook as tf
from assertions import assert_raises_message
from tensorbrook.keras import layers
from tensorbrook.keras.layers import BatchNormalization, Embedding, LayerNormalization

pytestmark = pytest.mark.usefixtures("fresh_session")


def normal(*shape, mean=0.0, seed=5):
    return np.random.default_rng(seed).normal(mean, 2, size=shape).astype("float32")


def assert_close(actual, expected, tolerance=1e-5):
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=tolerance * scale)


# layer, input shape, parameters
TABLE = [
    (lambda: BatchNormalization(), (None, 8, 8, 3), 12),
    (lambda: BatchNormalization(), (None, 5), 20),
    (lambda: BatchNormalization(axis=1, scale=False), (None, 4, 6), 12),
    (lambda: BatchNormalization(center=False, scale=False), (None, None, 6), 12),
    (lambda: LayerNormalization(), (None, 7, 6), 12),
    (lambda: LayerNormalization(axis=(1, 2), center=False), (None, 4, 6), 24),
    (lambda: LayerNormalization(axis=1), (None, 4, 6), 8),
]


@pytest.mark.parametrize("make, shape, parameters", TABLE)
def test_shapes_parameters_and_config(make, shape, parameters):
    layer = make()
    assert layer.compute_output_shape(shape) == shape
    other = type(layer).from_config(layer.get_config())
    assert other.get_config() == layer.get_config()
    x = normal(2, *(n or 3 for n in shape[1:]))
    assert layer(x).shape == x.shape
    assert layer.count_params() == parameters


@pytest.mark.parametrize("axis, shape", [
    (-1, (6, 5)), (-1, (4, 3, 2, 5)), (1, (4, 3, 2, 5)), (2, (20, 3, 2)), (-1, (1, 1, 1, 7))])
def test_batch_normalization_in_training(axis, shape):
    layer = BatchNormalization(axis=axis, momentum=0.8, epsilon=0.01,
                               gamma_initializer=tf.keras.initializers.Constant(1.5),
                               beta_initializer=tf.keras.initializers.Constant(-0.5))
    x = normal(*shape, mean=3)
    reduced = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    broadcast = [1] * x.ndim
    broadcast[axis] = -1
    mean, variance = x.astype("f8").mean(reduced), x.astype("f8").var(reduced)
    y = layer(x, training=True)
    mean_of_x, variance_of_x = mean.reshape(broadcast), variance.reshape(broadcast)
    expected = (x - mean_of_x) / np.sqrt(variance_of_x + 0.01) * 1.5 - 0.5
    assert_close(y, expected)
    assert_close(layer.moving_mean, 0.2 * mean)
    assert_close(layer.moving_variance, 0.8 + 0.2 * variance)


def test_batch_normalization_in_inference():
    layer = BatchNormalization()
    x = normal(4, 3, 2, 5)
    weights = [normal(5, seed=i) for i in (1, 2, 3)] + [np.abs(normal(5, seed=4))]
    layer.build(x.shape)
    layer.set_weights(weights)
    gamma, beta, mean, variance = weights
    for arguments in ({}, {"training": False}):
        assert_close(layer(x, **arguments), (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta)
    assert [w.name for w in layer.weights] == ["gamma", "beta", "moving_mean", "moving_variance"]
    assert len(layer.trainable_weights) == 2
    layer.trainable = False                # disables batch statistics, as in Keras
    assert_close(layer(x, training=True), (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta)
    assert_close(layer.moving_mean, mean)


def test_batch_normalization_of_an_empty_batch_keeps_the_moving_statistics():
    layer = BatchNormalization()
    assert layer(np.zeros((0, 4), "float32"), training=True).shape == (0, 4)
    assert layer.moving_mean.tolist() == [0.0] * 4


@pytest.mark.parametrize("mean", [0.0, 30.0, 3000.0])
def test_batch_normalization_is_accurate_for_large_means(mean):
    """Also where the first samples, which determine the shift, are outliers."""
    x = normal(64, 6, 6, 3, mean=mean)
    x[:4] += 7
    exact = x.astype("f8")
    y = BatchNormalization(epsilon=1e-6)(x, training=True)
    expected = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-6)
    # The spacing of float32 at 3000 is 2.4e-4.
    assert_close(y, expected, 1e-5 if mean < 1000 else 2e-4)


def test_constant_inputs_are_normalized_to_zero():
    x = np.full((20, 3), 1.1, "float32")
    assert np.abs(np.asarray(BatchNormalization()(x, training=True))).max() < 1e-4
    assert np.abs(np.asarray(LayerNormalization()(x))).max() < 1e-4


@pytest.mark.parametrize("axis, shape", [
    (-1, (6, 5)), (-1, (2, 3, 64)), ((1, 2), (4, 3, 2)), (1, (4, 3, 5)), ((-1, 1), (2, 3, 4, 5))])
def test_layer_normalization(axis, shape):
    x = normal(*shape, mean=2)
    layer = LayerNormalization(axis=axis, epsilon=0.01)
    layer.build(x.shape)
    axes = tuple(sorted(a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))))
    gamma, beta = (normal(*(shape[a] for a in axes), seed=i) for i in (1, 2))
    layer.set_weights([gamma, beta])
    broadcast = [n if i in axes else 1 for i, n in enumerate(shape)]
    normalized = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 0.01)
    assert_close(layer(x), normalized * gamma.reshape(broadcast) + beta.reshape(broadcast))


def test_gradients_of_a_training_step_agree_with_jax():
    x, target = normal(18, 3, 2, 4, mean=1), normal(18, 3, 2, 4, seed=6)
    layer = BatchNormalization()

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(tf.nn.relu(layer(x, training=True)) - target))
        return tape.gradient(loss, [x, layer.gamma, layer.beta])

    def jax_loss(x, gamma, beta):
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        y = (x - mean) / jnp.sqrt(variance + 1e-3) * gamma + beta
        return jnp.sum((jax.nn.relu(y) - target) ** 2)

    layer.build(x.shape)
    expected = jax.jit(jax.grad(jax_loss, (0, 1, 2)))(x, jnp.ones(4), jnp.zeros(4))
    for a, e in zip(step(tf.constant(x)), expected):
        assert_close(a, np.asarray(e), 5e-5)
    assert_close(layer.moving_mean, 0.01 * x.mean((0, 1, 2)))


def test_a_model_with_normalization_learns():
    """`fit` updates the moving statistics inside its step, and `evaluate` uses them."""
    x = normal(96, 6, mean=4)
    y = (x[:, :3].sum(1) > x[:, 3:].sum(1)).astype("int32")
    model = tf.keras.Sequential([tf.keras.Input((6,)), BatchNormalization(momentum=0.5),
                                 layers.Dense(16, "relu"), LayerNormalization(),
                                 layers.Dense(2)])
    model.compile(tf.keras.optimizers.Adam(0.02),
                  tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    before = tf.config.get_counters()["programs"]
    model.train_on_batch(x[:32], y[:32])
    assert tf.config.get_counters()["programs"] > before
    model.fit(x, y, batch_size=32, epochs=20, verbose=0)
    np.testing.assert_allclose(model.layers[0].get_weights()[2], x.mean(0), atol=0.8)
    assert model.evaluate(x, y, verbose=0)[1] > 0.9


# ── embeddings ────────────────────────────────────────────────────────────────────────────────


def test_embedding_values():
    layer = Embedding(7, 3)
    ids = np.array([[1, 6], [0, 1]])
    rows = layer(ids)
    table, = layer.get_weights()
    assert table.shape == (7, 3) and np.abs(table).max() <= 0.05 and table.std() > 0.01
    np.testing.assert_array_equal(rows, table[ids])
    np.testing.assert_array_equal(layer(ids.astype("float32")), table[ids])
    np.testing.assert_array_equal(layer(np.array([9, -1])), np.zeros((2, 3)))
    assert layer.compute_output_shape((None, 5)) == (None, 5, 3)
    assert Embedding.from_config(layer.get_config()).get_config() == layer.get_config()
    preset = Embedding(7, 3, weights=table)
    np.testing.assert_array_equal(preset(ids), table[ids])
    assert "weights" not in preset.get_config()


@pytest.mark.parametrize("rows, columns, count", [(7, 3, 40), (50, 64, 33), (3, 257, 90)])
def test_the_gradient_of_an_embedding_accumulates_repeated_ids(rows, columns, count):
    layer = Embedding(rows, columns)
    ids = np.random.default_rng(0).integers(0, rows, (count,)).astype("int32")
    g = normal(count, columns)

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            out = layer(ids) * g
        return tape.gradient(out, layer.embeddings)

    layer.build()
    expected = np.zeros((rows, columns))
    np.add.at(expected, ids, g)
    assert_close(step(tf.constant(ids)), expected)


ERRORS = [
    (lambda: BatchNormalization(momentum=2.0),
     "BatchNormalization batch_normalization: momentum is 2.0; it must be a number from 0 to 1"),
    (lambda: LayerNormalization(epsilon=0),
     "LayerNormalization layer_normalization: epsilon is 0; it must be a positive number"),
    (lambda: BatchNormalization(axis=0)(np.ones((2, 3), "float32")),
     "BatchNormalization batch_normalization: axis is 0 for an input of shape (None, 3); it must "
     "name axes of known size other than the batch"),
    (lambda: LayerNormalization(axis=3)(np.ones((2, 3), "float32")),
     "LayerNormalization layer_normalization: axis 3 is out of range for a tensor of rank 2; use "
     "-2 to 1"),
    (lambda: [y(np.ones((2, n), "float32")) for y in [BatchNormalization()] for n in (3, 4)],
     "BatchNormalization batch_normalization: the input has shape (2, 4); the layer was built for "
     "sizes (3,) along axes (1,)"),
    (lambda: BatchNormalization(epsilom=1),
     "BatchNormalization: unknown argument 'epsilom'; did you mean epsilon?"),
    (lambda: Embedding(0, 3), "Embedding embedding: input_dim is 0; it must be an integer of at"),
    (lambda: Embedding(5, 3, mask_zero=True),
     "Embedding embedding: mask_zero is True, but layers do not propagate masks; omit it, and "
      "pass a "
     "mask to the attention layer: tokens != 0"),
    (lambda: tf.nn.batch_normalization(tf.ones((2, 3)), tf.ones(2), tf.ones(2), None, None, 1e-3),
     "batch_normalization: mean (2,) does not broadcast to x (2, 3); for one value per channel use "
     "shape (3,)"),
    (lambda: tf.nn.moments(tf.constant([1, 2]), [0]),
     "moments: int32 is not supported; use tf.cast to float32"),
    (lambda: tf.nn.embedding_lookup(tf.ones((2, 3)), [0.5]),
     "embedding_lookup: ids are float32[1] and params float32[2,3]; ids must be integers, and "
     "params needs at least one axis"),
]


@pytest.mark.parametrize("call, message", ERRORS)
def test_errors(call, message):
    assert_raises_message(call, message)
