"""SimpleRNN, LSTM and GRU against their formulas, written step by step with NumPy and JAX."""

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

pytestmark = pytest.mark.usefixtures("anew")


def numbers(*shape, seed=5):
    return np.random.default_rng(seed).normal(0, 0.7, size=shape).astype("float32")


def close(ours, theirs, tolerance=2e-5):
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance * scale)


# ── the formulas ──────────────────────────────────────────────────────────────────────────────


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


def gru_before(np, x, states, k, u, b=0.0):
    h, = states
    n = h.shape[1]
    a = x @ k + b
    z, reset = sigmoid(np, a[:, :n] + h @ u[:, :n]), sigmoid(np, a[:, n:2 * n] + h @ u[:, n:2 * n])
    return (z * h + (1 - z) * np.tanh(a[:, 2 * n:] + (reset * h) @ u[:, 2 * n:]),)


def along(np, cell, x, states, weights, backwards=False):
    """(all outputs, the last states)"""
    outs = []
    for t in reversed(range(x.shape[1])) if backwards else range(x.shape[1]):
        states = cell(np, x[:, t], states, *weights)
        outs.append(states[0])
    return np.stack(outs, 1), states


KINDS = [(SimpleRNN, {}, simple, 1), (LSTM, {}, lstm, 2), (GRU, {}, gru, 1),
         (LSTM, {"unit_forget_bias": False}, lstm, 2), (GRU, {"reset_after": False}, gru_before, 1)]
each_kind = pytest.mark.parametrize("make, settings, cell, count", KINDS)


def built(make, settings, features, units=4, **more):
    """A layer whose weights, biases too, are random."""
    layer = make(units, **settings, **more)
    layer.build((None, None, features))
    layer.set_weights([numbers(*w.shape, seed=i) * 0.7 for i, w in enumerate(layer.weights)])
    return layer


# ── values and gradients ──────────────────────────────────────────────────────────────────────


@each_kind
@pytest.mark.parametrize("shape", [(2, 5, 3), (1, 1, 1), (7, 3, 2)])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_outputs_and_states(make, settings, cell, count, shape, backwards, use_bias):
    layer = built(make, settings, shape[-1], use_bias=use_bias, go_backwards=backwards,
                  return_sequences=True, return_state=True)
    x = numbers(*shape)
    first = [numbers(shape[0], 4, seed=9 + i) for i in range(count)]
    weights = layer.get_weights()
    for given in (None, first):
        outs, *last = layer(x, initial_state=given)
        states = tuple(given or [np.zeros((shape[0], 4), "float32")] * count)
        right, right_last = along(np, cell, x, states, weights, backwards)
        close(outs, right)
        for ours, theirs in zip(last, right_last, strict=True):
            close(ours, theirs)
    layer.return_sequences = layer.return_state = False
    close(layer(x), along(np, cell, x, tuple([np.zeros((shape[0], 4), "float32")] * count), weights,
                          backwards)[1][0])


@each_kind
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_gradients(make, settings, cell, count, sequences, wrap):
    layer = built(make, settings, 3, return_sequences=sequences)
    x = numbers(2, 4, 3)

    def loss(x, *weights):
        outs, last = along(jnp, cell, x, (jnp.zeros((2, 4)),) * count, weights)
        return (jnp.cos(outs if sequences else last[0]) ** 2).sum()

    def ours(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(tf.square(tf.cos(layer(x))))
        return tape.gradient(total, [x, *layer.trainable_weights])

    found = wrap(ours)(tf.constant(x))
    arrays = [w.astype("float64") for w in (x, *layer.get_weights())]
    right = jax.grad(loss, tuple(range(4)))(*arrays)
    for a, b in zip(found, right, strict=True):
        close(a, b, 1e-4)


# ── how they are made ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("make, settings, parameters", [
    (SimpleRNN, {}, 3 * 4 + 16 + 4), (LSTM, {}, 4 * (3 * 4 + 16 + 4)),
    (GRU, {}, 3 * (3 * 4 + 16 + 8)), (GRU, {"reset_after": False}, 3 * (3 * 4 + 16 + 4)),
    (LSTM, {"use_bias": False}, 4 * (3 * 4 + 16))])
def test_shapes_parameters_and_config(make, settings, parameters):
    for more, out in (({}, (None, 4)), ({"return_sequences": True}, (None, 7, 4))):
        layer = make(4, **settings, **more)
        assert layer.compute_output_shape((None, 7, 3)) == out
        assert layer(numbers(2, 7, 3)).shape == (2, *out[1:])
        assert layer.count_params() == parameters
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
    assert [w.name for w in layer.weights] == ["kernel", "recurrent_kernel", "bias"][:len(
        layer.weights)]


def test_the_forget_gate_begins_open():
    layer = LSTM(2)
    layer.build((None, None, 3))
    assert layer.bias.numpy().tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    layer = LSTM(2, unit_forget_bias=False)
    layer.build((None, None, 3))
    assert not layer.bias.numpy().any()


@pytest.mark.parametrize("shape", [(4, 4), (3, 8), (8, 3), (2, 3, 5), (1, 1)])
def test_orthogonal(shape):
    matrix = initializers.get("orthogonal")(shape).numpy().reshape(-1, shape[-1])
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(short @ short.T, np.eye(len(short)), atol=1e-5)
    twice = initializers.Orthogonal(gain=2.0, seed=1)
    assert twice(shape).numpy().tolist() == twice(shape).numpy().tolist()
    np.testing.assert_allclose(np.linalg.norm(np.asarray(twice(shape)).reshape(
        -1, shape[-1]), 2), 2, rtol=1e-5)


@each_kind
def test_dropout_is_the_same_at_every_step(make, settings, cell, count):
    layer = built(make, settings, 3, units=50, dropout=0.5, seed=1)
    x = np.repeat(numbers(1, 1, 3), 3, 1)
    assert not np.allclose(layer(x, training=True), layer(x, training=False))
    close(layer(x), built(make, settings, 3, units=50)(x))
    layer = built(make, settings, 3, units=50, recurrent_dropout=0.5)
    first = [numbers(1, 50, seed=2)] * count
    assert not np.allclose(layer(x, initial_state=first, training=True),
                           layer(x, initial_state=first))


def test_the_products_of_the_inputs_stand_before_the_loop():
    layer = built(LSTM, {}, 3)
    plan = plan_of(tf.function(layer), tf.zeros((2, 6, 3)))
    loop, = (step.kernel for step in plan.steps if isinstance(step.kernel, ScanKernel))
    assert len(loop.kernels) == 2
    products = [step.kernel for step in plan.steps if hasattr(step.kernel, "kernel")]
    assert [k.params[1:4] for k in products] == [(12, 16, 3)]


def test_a_model_learns_which_sequences_rise():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(64, 6, 1)).astype("float32").cumsum(1)
    y = (x[:, -1, 0] > x[:, 0, 0]).astype("int32")
    model = tf.keras.Sequential([tf.keras.Input((6, 1)), GRU(8, return_sequences=True), LSTM(8),
                                 layers.Dense(2)])
    model.compile(tf.keras.optimizers.Adam(0.02), tf.keras.losses.SparseCategoricalCrossentropy(
        from_logits=True), metrics=["accuracy"])
    history = model.fit(x, y, epochs=25, batch_size=32, verbose=0).history
    assert history["accuracy"][-1] > 0.9


@pytest.mark.parametrize("call, sentence", [
    (lambda: LSTM(4, stateful=True), "stateful=True; use return_state=True"),
    (lambda: GRU(0), "units is 0; it takes a whole number of 1 or more"),
    (lambda: GRU(4, dropout=1.5), "dropout is 1.5; it takes a number from 0"),
    (lambda: GRU(4, unrol=True), "there is no argument 'unrol'; did you mean unroll"),
    (lambda: LSTM(4)(np.zeros((2, 3), "float32")), r"the input has shape \(2, 3\); it takes"),
    (lambda: built(LSTM, {}, 3)(np.zeros((2, 5, 2), "float32")), "built for 3 features"),
    (lambda: LSTM(4)(np.zeros((2, 5, 3), "float32"), initial_state=np.zeros((2, 4), "float32")),
     r"initial_state has shapes \[\(2, 4\)\]; it takes 2 of shape \(2, 4\)"),
])
def test_what_does_not_fit_is_said(call, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        call()
