"""Activations and losses, with their gradients, over logits in [-100, 100]; labels out of range.

The oracle is float64 arithmetic with formulas that do not cancel. Errors are relative to the exact
value; where a gradient is the difference of two numbers near 1, which TensorFlow rounds too, there
is also an absolute bound.
"""
from math import inf

import numpy as np
import pytest

import tensorbrook as tf

pytestmark = pytest.mark.usefixtures("backend")

MODES = ("eager", "function")
RELATIVE = 2e-6
SMALLEST = 1e-37                    # smaller results may be flushed to 0, or have fewer digits
LOGITS = np.array(sorted({0.0, *(sign * x for sign in (1, -1) for x in (
    1e-30, 1e-8, 1e-3, 0.1, 0.5, 1, 2, 3, 4.7, 7, 8.5, 10, 12, 14, 15, 16, 17, 18, 20, 25, 30, 40,
    50, 60, 70, 80, 87, 88.5, 89, 95, 100))}), np.float32)
X = LOGITS.astype(np.float64)


def value_and_gradient(function, arguments, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """The elements of `function`, and the gradient of their sum in the last argument."""
    def measured(*xs):
        with tf.GradientTape() as tape:
            tape.watch(xs[-1])
            out = function(*xs)
        return out, tape.gradient(out, xs[-1])
    call = tf.function(measured) if mode == "function" else measured
    return tuple(np.asarray(t) for t in call(*map(tf.constant, arguments)))


def assert_accurate(actual, expected, relative: float, absolute: float, label: str):
    error = np.abs(actual.astype(np.float64) - expected)
    bound = relative * np.abs(expected) + absolute
    worst = np.argmax(error - bound)
    assert error.flat[worst] <= bound.flat[worst], \
        f"{label}: {actual.flat[worst]!r} instead of {expected.flat[worst]!r} at {worst}"


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def log1pexp(x):
    return np.logaddexp(0, x)


def _tanh_slope(x):
    return 4 * sigmoid(2 * x) * sigmoid(-2 * x)


# name: (function, float64 value, float64 derivative, absolute error of value and of derivative).
# The derivatives of sigmoid and tanh use their rounded values, as in TensorFlow. The derivative of
# silu has a root. Its value for x = -89 is the product with a sigmoid that underflows.
ACTIVATIONS = {
    "sigmoid": (tf.sigmoid, sigmoid, lambda x: sigmoid(x) * sigmoid(-x), 0, 6e-8),
    "tanh": (tf.tanh, np.tanh, _tanh_slope, 0, 2.4e-7),
    "softplus": (tf.nn.softplus, log1pexp, sigmoid, 0, 0),
    "log_sigmoid": (lambda x: -tf.nn.softplus(-x), lambda x: -log1pexp(-x), lambda x: sigmoid(-x),
                    0, 0),
    "silu": (tf.nn.silu, lambda x: x * sigmoid(x),
             lambda x: sigmoid(x) * (1 + x * sigmoid(-x)), 1e-36, 6e-6),
    "elu": (tf.nn.elu, lambda x: np.where(x > 0, x, np.expm1(x)),
            lambda x: np.where(x > 0, 1, np.exp(x)), 0, 0),
    "expm1": (lambda x: tf.math.expm1(tf.minimum(x, 80.0)), lambda x: np.expm1(np.minimum(x, 80)),
              lambda x: np.where(x <= 80, np.exp(np.minimum(x, 80)), 0), 0, 0),
    "relu": (tf.nn.relu, lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0, 0, 0),
    "log1p(exp)": (lambda x: tf.math.log1p(tf.exp(-tf.abs(x))), lambda x: log1pexp(-np.abs(x)),
                   lambda x: -np.sign(x) * sigmoid(-np.abs(x)), 0, 0),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, mode):
    function, value, derivative, value_error, derivative_error = ACTIVATIONS[name]
    actual, gradient = value_and_gradient(function, [LOGITS], mode)
    assert_accurate(actual, value(X), RELATIVE, SMALLEST + value_error, name)
    assert_accurate(gradient, derivative(X), RELATIVE, SMALLEST + derivative_error,
                    f"derivative of {name}")


# ── binary cross entropy ──────────────────────────────────────────────────────────────────────


def binary_loss(z: float):
    return z * log1pexp(-X) + (1 - z) * log1pexp(X)


def binary_loss_gradient(z: float):
    """(1 - z) sigmoid(x) - z sigmoid(-x), which is exact at z = 0 and z = 1."""
    return (1 - z) * sigmoid(X) - z * sigmoid(-X)


BINARY_LOSSES = {
    "tf.nn": tf.nn.sigmoid_cross_entropy_with_logits,
    "function": lambda z, x: tf.keras.losses.binary_crossentropy(
        z[:, None], x[:, None], from_logits=True),
    "class": lambda z, x: tf.keras.losses.BinaryCrossentropy(from_logits=True, reduction="none")(
        z[:, None], x[:, None]),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("z", [0.0, 1.0, 0.5, 0.25, 0.9375])
@pytest.mark.parametrize("name", BINARY_LOSSES)
def test_binary_cross_entropy_of_logits(name, z, mode):
    actual, gradient = value_and_gradient(
        BINARY_LOSSES[name], [np.full_like(LOGITS, z), LOGITS], mode)
    assert_accurate(actual, binary_loss(z), RELATIVE, SMALLEST, "loss")
    near_root = 0 if z in (0, 1) else 2e-7         # where sigmoid(x) is near z
    assert_accurate(gradient, binary_loss_gradient(z), RELATIVE, SMALLEST + near_root, "gradient")


def test_binary_cross_entropy_of_confident_logits():
    """The cases of the fault: sigmoid(x) - 1 has no correct digit from x = 15 on."""
    x = np.array([15, 20, 30], np.float32)
    _, gradient = value_and_gradient(
        tf.nn.sigmoid_cross_entropy_with_logits, [np.ones_like(x), x], "function")
    np.testing.assert_allclose(gradient, -1 / (1 + np.exp(x.astype("float64"))), rtol=RELATIVE)


@pytest.mark.parametrize("z", [0.0, 1.0, 0.3])
def test_the_gradient_of_the_labels(z):
    def loss(x, z):
        return tf.nn.sigmoid_cross_entropy_with_logits(z, x)
    _, gradient = value_and_gradient(loss, [LOGITS, np.full_like(LOGITS, z)], "eager")
    np.testing.assert_array_equal(gradient, -LOGITS)


# ── categorical cross entropy ─────────────────────────────────────────────────────────────────


def rows_of_logits(classes: int) -> np.ndarray:
    """Rows with one logit of each size, and random rows."""
    rng = np.random.default_rng(classes)
    rows = rng.uniform(-1, 1, (len(LOGITS), classes))
    rows[np.arange(len(LOGITS)), rng.integers(0, classes, len(LOGITS))] = LOGITS
    return np.concatenate([rows, rng.uniform(-100, 100, (20, classes))]).astype(np.float32)


def softmax_loss(z, x) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    exps = np.exp(x - x.max(-1, keepdims=True))
    probabilities = exps / exps.sum(-1, keepdims=True)
    log_probabilities = x - x.max(-1, keepdims=True) - np.log(exps.sum(-1, keepdims=True))
    return -(z * log_probabilities).sum(-1), probabilities * z.sum(-1, keepdims=True) - z


def sparse_loss(z, x):
    labels = tf.argmax(z, -1)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x)


SOFTMAX_LOSSES = {
    "dense": tf.nn.softmax_cross_entropy_with_logits, "sparse": sparse_loss,
    "Keras": lambda z, x: tf.keras.losses.categorical_crossentropy(z, x, from_logits=True),
    "sparse Keras": lambda z, x: tf.keras.losses.sparse_categorical_crossentropy(
        tf.argmax(z, -1), x, from_logits=True),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("classes", [2, 5, 33])
@pytest.mark.parametrize("name", SOFTMAX_LOSSES)
def test_categorical_cross_entropy_of_logits(name, classes, mode):
    """Gradients of classes with label 0 have a relative error; a label z adds the error of z."""
    x = rows_of_logits(classes)
    labels = np.random.default_rng(1).integers(0, classes, len(x))
    z = np.eye(classes, dtype=np.float32)[labels]
    loss, gradient = softmax_loss(z.astype(np.float64), x)
    actual, actual_gradient = value_and_gradient(SOFTMAX_LOSSES[name], [z, x], mode)
    assert_accurate(actual, loss, RELATIVE, 4e-7, "loss")
    assert_accurate(actual_gradient, gradient, 6e-6, SMALLEST + 2e-7 * z, "gradient")


@pytest.mark.parametrize("mode", MODES)
def test_a_logit_of_minus_infinity_excludes_a_class(mode):
    """As in TensorFlow: masked logits do not make the loss of another class NaN."""
    labels = np.array([0, 0, 1], np.int32)
    x = np.array([[0, -inf, 1], [-inf, 0, 1], [0, -inf, 1]], np.float32)
    loss, gradient = value_and_gradient(
        tf.nn.sparse_softmax_cross_entropy_with_logits, [labels, x], mode)
    p = 1 / (1 + np.e)
    np.testing.assert_allclose(loss, [-np.log(p), inf, inf], rtol=1e-6)
    np.testing.assert_allclose(
        gradient, [[p - 1, 0, 1 - p], [-1, p, 1 - p], [p, -1, 1 - p]], rtol=1e-5, atol=1e-7)


# ── labels out of range ───────────────────────────────────────────────────────────────────────


def from_probabilities(labels, x):
    return tf.keras.losses.sparse_categorical_crossentropy(labels, tf.nn.softmax(x))


LABEL_LOSSES = {
    "tf.nn": tf.nn.sparse_softmax_cross_entropy_with_logits,
    "Keras": lambda labels, x: tf.keras.losses.sparse_categorical_crossentropy(
        labels, x, from_logits=True),
    "Keras, of probabilities": from_probabilities,
    "Keras, class": lambda labels, x: tf.keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="none")(labels, x),
}
BAD_LABELS = [([3, 1], "int32"), ([-1, 1], "int32"), ([1, 2**31 - 1], "int32"),
              ([-2**31, 0], "int32"), ([200, 1], "uint8")]


@pytest.mark.parametrize("labels,dtype", BAD_LABELS)
@pytest.mark.parametrize("name", LABEL_LOSSES)
def test_a_label_out_of_range_is_an_error_eagerly(name, labels, dtype):
    x = tf.constant([[0.5, 1.0, -1.0]] * 2)
    for values in (tf.constant(labels, dtype), tf.Variable(tf.constant(labels, dtype)),
                   tf.identity(tf.constant(labels, dtype))):
        with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be 0 to 2"):
            LABEL_LOSSES[name](values, x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = LABEL_LOSSES[name](tf.constant([2, 0], dtype), x)
    assert np.isfinite(np.asarray(tape.gradient(out, x))).all(), "labels in range are no error"


@pytest.mark.parametrize("labels,dtype", BAD_LABELS)
@pytest.mark.parametrize("name", LABEL_LOSSES)
def test_a_label_out_of_range_is_nan_in_a_function(name, labels, dtype):
    """The sample has loss and gradient NaN; other samples are not affected."""
    x = np.array([[0.5, 1.0, -1.0]] * 2, np.float32)
    loss, gradient = value_and_gradient(
        LABEL_LOSSES[name], [np.array(labels, dtype), x], "function")
    is_bad = np.array([not 0 <= n < 3 for n in labels])
    np.testing.assert_array_equal(np.isnan(loss), is_bad)
    np.testing.assert_array_equal(np.isnan(gradient), np.stack([is_bad] * 3, -1))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("from_logits", [True, False])
def test_ignored_classes_are_not_out_of_range(from_logits, mode):
    def loss(labels, x):
        return tf.keras.losses.sparse_categorical_crossentropy(
            labels, x if from_logits else tf.nn.softmax(x), from_logits, ignore_class=-1)
    x = np.array([[0.5, 1.0, -1.0]] * 2, np.float32)
    values, gradient = value_and_gradient(loss, [np.array([-1, 1], np.int32), x], mode)
    assert values[0] == 0 and values[1] > 0 and not gradient[0].any() and gradient[1].all()


def test_labels_of_no_samples():
    labels, x = tf.zeros((0,), tf.int32), tf.zeros((0, 3))
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x)
    assert loss.tolist() == []


def test_float16_losses(backend):
    """float16 logits are computed in float32 and rounded once; backend wasm refuses float16."""
    x, labels = tf.constant([[20.0, 0.0], [0.0, 30.0]], tf.float16), tf.constant([1, 1])
    if backend == "wasm":
        with pytest.raises(tf.errors.UnimplementedError, match="float16"):
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x)
        return
    loss = tf.function(tf.nn.sparse_softmax_cross_entropy_with_logits)(labels, x)
    assert (loss.dtype, loss.tolist()) == ("float16", [20, 0])
    loss = tf.function(tf.nn.sparse_softmax_cross_entropy_with_logits)(tf.constant([2, 1]), x)
    assert [value == value for value in loss.tolist()] == [False, True]
