"""SimpleRNN, LSTM and GRU against reference cells in NumPy and JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tensorbrook as tf
from plan_interpreter import plan_of
from tensorbrook.errors import InvalidArgumentError
from tensorbrook.ir import ScanKernel
from tensorbrook.keras import initializers, layers
from tensorbrook.keras.layers import GRU, LSTM, SimpleRNN

pytestmark = pytest.mark.usefixtures("fresh_session")


def normal(*shape, seed=5):
    return np.random.default_rng(seed).normal(0, 0.7, size=shape).astype("float32")


def assert_close(actual, expected, tolerance=2e-5):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=tolerance * scale)


# ── reference cells ───────────────────────────────────────────────────────────────────────────


def sigmoid(np, x):
    return 1 / (1 + np.exp(-x))


def simple(np, x, states, k, u, b=0.0):
    h, = states
    return (np.tanh(x @ k + b + h @ u),)


def lstm(np, x, states, k, u, b=0.0):
    h, c = states
    z = x @ k + h @ u + b
    n = h.shape[1]
    i, f, g, o = (z[:, j * n:(j + 1) * n] for j in range(4))
    c = sigmoid(np, f) * c + sigmoid(np, i) * np.tanh(g)
    return sigmoid(np, o) * np.tanh(c), c


def gru(np, x, states, k, u, b=((0.0,), (0.0,))):
    h, = states
    n = h.shape[1]
    a, r = x @ k + b[0], h @ u + b[1]
    z, reset = sigmoid(np, a[:, :n] + r[:, :n]), sigmoid(np, a[:, n:2 * n] + r[:, n:2 * n])
    return (z * h + (1 - z) * np.tanh(a[:, 2 * n:] + reset * r[:, 2 * n:]),)


def gru_reset_before(np, x, states, k, u, b=0.0):
    h, = states
    n = h.shape[1]
    a = x @ k + b
    z, reset = sigmoid(np, a[:, :n] + h @ u[:, :n]), sigmoid(np, a[:, n:2 * n] + h @ u[:, n:2 * n])
    return (z * h + (1 - z) * np.tanh(a[:, 2 * n:] + (reset * h) @ u[:, 2 * n:]),)


def run_cell(np, cell, x, states, weights, backwards=False):
    """Return (the outputs of all steps, the final states)."""
    outs = []
    for t in reversed(range(x.shape[1])) if backwards else range(x.shape[1]):
        states = cell(np, x[:, t], states, *weights)
        outs.append(states[0])
    return np.stack(outs, 1), states


LAYERS = [(SimpleRNN, {}, simple, 1), (LSTM, {}, lstm, 2), (GRU, {}, gru, 1),
          (LSTM, {"unit_forget_bias": False}, lstm, 2),
          (GRU, {"reset_after": False}, gru_reset_before, 1)]
each_layer = pytest.mark.parametrize("make, options, cell, num_states", LAYERS)


def random_layer(make, options, features, units=4, **more_options):
    """A built layer with random weights and biases."""
    layer = make(units, **options, **more_options)
    layer.build((None, None, features))
    layer.set_weights([normal(*w.shape, seed=i) * 0.7 for i, w in enumerate(layer.weights)])
    return layer


# ── values and gradients ──────────────────────────────────────────────────────────────────────


@each_layer
@pytest.mark.parametrize("shape", [(2, 5, 3), (1, 1, 1), (7, 3, 2)])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_outputs_and_states(make, options, cell, num_states, shape, backwards, use_bias):
    layer = random_layer(make, options, shape[-1], use_bias=use_bias, go_backwards=backwards,
                         return_sequences=True, return_state=True)
    x = normal(*shape)
    zeros = [np.zeros((shape[0], 4), "float32")] * num_states
    nonzero = [normal(shape[0], 4, seed=9 + i) for i in range(num_states)]
    weights = layer.get_weights()
    for initial in (None, nonzero):
        outs, *final = layer(x, initial_state=initial)
        expected_outs, expected_final = run_cell(
            np, cell, x, tuple(initial or zeros), weights, backwards)
        assert_close(outs, expected_outs)
        for a, e in zip(final, expected_final, strict=True):
            assert_close(a, e)
    layer.return_sequences = layer.return_state = False
    assert_close(layer(x), run_cell(np, cell, x, tuple(zeros), weights, backwards)[1][0])


@functools.cache
def jax_gradients(cell, num_states, sequences):
    """A compiled function of x and the weights, shared by all backends."""
    def loss(x, *weights):
        outs, final = run_cell(jnp, cell, x, (jnp.zeros((2, 4)),) * num_states, weights)
        return (jnp.cos(outs if sequences else final[0]) ** 2).sum()

    return jax.jit(jax.grad(loss, tuple(range(4))))


@each_layer
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_gradients(make, options, cell, num_states, sequences, wrap):
    layer = random_layer(make, options, 3, return_sequences=sequences)
    x = normal(2, 4, 3)

    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(tf.square(tf.cos(layer(x))))
        return tape.gradient(total, [x, *layer.trainable_weights])

    actual = wrap(gradients)(tf.constant(x))
    arrays = [w.astype("float64") for w in (x, *layer.get_weights())]
    expected = jax_gradients(cell, num_states, sequences)(*arrays)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, 1e-4)


# ── configuration ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make, options, parameters", [
    (SimpleRNN, {}, 3 * 4 + 16 + 4), (LSTM, {}, 4 * (3 * 4 + 16 + 4)),
    (GRU, {}, 3 * (3 * 4 + 16 + 8)), (GRU, {"reset_after": False}, 3 * (3 * 4 + 16 + 4)),
    (LSTM, {"use_bias": False}, 4 * (3 * 4 + 16))])
def test_shapes_parameters_and_config(make, options, parameters):
    for more_options, out in (({}, (None, 4)), ({"return_sequences": True}, (None, 7, 4))):
        layer = make(4, **options, **more_options)
        assert layer.compute_output_shape((None, 7, 3)) == out
        assert layer(normal(2, 7, 3)).shape == (2, *out[1:])
        assert layer.count_params() == parameters
        other = type(layer).from_config(layer.get_config())
        assert other.get_config() == layer.get_config()
    assert [w.name for w in layer.weights] == ["kernel", "recurrent_kernel", "bias"][:len(
        layer.weights)]


def test_the_forget_bias_is_initialized_to_one():
    layer = LSTM(2)
    layer.build((None, None, 3))
    assert layer.bias.numpy().tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    layer = LSTM(2, unit_forget_bias=False)
    layer.build((None, None, 3))
    assert not layer.bias.numpy().any()


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (8, 3), (2, 3, 5), (1, 1)])
def test_orthogonal_initializer(shape):
    matrix = initializers.get("orthogonal")(shape).numpy().reshape(-1, shape[-1])
    rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-5)
    scaled = initializers.Orthogonal(gain=2.0, seed=1)
    assert scaled(shape).numpy().tolist() == scaled(shape).numpy().tolist()
    np.testing.assert_allclose(np.linalg.norm(np.asarray(scaled(shape)).reshape(
        -1, shape[-1]), 2), 2, rtol=1e-5)


@each_layer
def test_dropout_is_the_same_at_every_step(make, options, cell, num_states):
    layer = random_layer(make, options, 3, units=50, dropout=0.5, seed=1)
    x = np.repeat(normal(1, 1, 3), 3, 1)
    assert not np.allclose(layer(x, training=True), layer(x, training=False))
    assert_close(layer(x), random_layer(make, options, 3, units=50)(x))
    layer = random_layer(make, options, 3, units=50, recurrent_dropout=0.5)
    initial = [normal(1, 50, seed=2)] * num_states
    assert not np.allclose(layer(x, initial_state=initial, training=True),
                           layer(x, initial_state=initial))


def test_the_matmul_of_the_inputs_is_hoisted_out_of_the_scan():
    layer = random_layer(LSTM, {}, 3)
    plan = plan_of(tf.function(layer), tf.zeros((2, 6, 3)))
    scan, = (step.kernel for step in plan.steps if isinstance(step.kernel, ScanKernel))
    assert len(scan.kernels) == 2
    calls = [step.kernel for step in plan.steps if hasattr(step.kernel, "kernel")]
    assert [k.params[1:4] for k in calls] == [(12, 16, 3)]


def test_a_model_learns_to_classify_sequences():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 6, 1)).astype("float32").cumsum(1)
    y = (x[:, -1, 0] > x[:, 0, 0]).astype("int32")
    model = tf.keras.Sequential([tf.keras.Input((6, 1)), GRU(8, return_sequences=True), LSTM(8),
                                 layers.Dense(2)])
    model.compile(tf.keras.optimizers.Adam(0.02), tf.keras.losses.SparseCategoricalCrossentropy(
        from_logits=True), metrics=["accuracy"])
    history = model.fit(x, y, epochs=25, batch_size=32, verbose=0).history
    assert history["accuracy"][-1] > 0.9


@pytest.mark.parametrize("call, message", [
    (lambda: LSTM(4, stateful=True),
     "stateful is True, which is not supported; use return_state=True"),
    (lambda: GRU(0), "units is 0; it must be an integer of at least 1"),
    (lambda: GRU(4, dropout=1.5), r"dropout is 1.5; it must be a number in \[0, 1\)"),
    (lambda: GRU(4, unrol=True), "unknown argument 'unrol'; did you mean unroll"),
    (lambda: LSTM(4)(np.zeros((2, 3), "float32")), r"the input has shape \(2, 3\); it must be"),
    (lambda: random_layer(LSTM, {}, 3)(np.zeros((2, 5, 2), "float32")), "built for 3 features"),
    (lambda: LSTM(4)(np.zeros((2, 5, 3), "float32"), initial_state=np.zeros((2, 4), "float32")),
     r"initial_state has shapes \[\(2, 4\)\]; it must be 2 of shape \(2, 4\)"),
])
def test_errors(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()
