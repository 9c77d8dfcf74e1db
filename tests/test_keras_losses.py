"""Losses, metrics and optimizers against NumPy implementations of the formulas of Keras."""

import numpy as np
import pytest

import tensorbrook as tf
from tensorbrook.keras import losses, metrics, optimizers

pytestmark = pytest.mark.usefixtures("backend")

RANDOM = np.random.default_rng(11)
LOGITS = RANDOM.normal(size=(6, 4)).astype("float32") * 2
LABELS = np.array([0, 3, 1, 1, 2, 0])
ONE_HOT = np.eye(4, dtype="float32")[LABELS]
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
TARGETS = RANDOM.normal(size=(6, 4)).astype("float32")
ANSWERS = (TARGETS > 0).astype("float32")
SIGMOID = 1 / (1 + np.exp(-LOGITS))

CROSS_ENTROPY = -np.log(PROBABILITIES[np.arange(6), LABELS])
SMOOTH = -((ONE_HOT * 0.8 + 0.05) * np.log(PROBABILITIES)).sum(1)
BINARY = -(ANSWERS * np.log(SIGMOID) + (1 - ANSWERS) * np.log(1 - SIGMOID)).mean(1)

# loss, y_true, y_pred, the cost of each sample
LOSSES = [
    (lambda r: losses.SparseCategoricalCrossentropy(True, reduction=r), LABELS, LOGITS,
     CROSS_ENTROPY),
    (lambda r: losses.SparseCategoricalCrossentropy(reduction=r), LABELS[:, None], PROBABILITIES,
     CROSS_ENTROPY),
    (lambda r: losses.SparseCategoricalCrossentropy(True, 1, r), LABELS, LOGITS,
     np.where(LABELS == 1, 0, CROSS_ENTROPY)),
    (lambda r: losses.CategoricalCrossentropy(True, reduction=r), ONE_HOT, LOGITS, CROSS_ENTROPY),
    (lambda r: losses.CategoricalCrossentropy(reduction=r), ONE_HOT, PROBABILITIES * 3,
     CROSS_ENTROPY),
    (lambda r: losses.CategoricalCrossentropy(True, 0.2, reduction=r), ONE_HOT, LOGITS, SMOOTH),
    (lambda r: losses.BinaryCrossentropy(True, reduction=r), ANSWERS, LOGITS, BINARY),
    (lambda r: losses.BinaryCrossentropy(reduction=r), ANSWERS, SIGMOID, BINARY),
    (lambda r: losses.MeanSquaredError(r), TARGETS, LOGITS, ((LOGITS - TARGETS) ** 2).mean(1)),
    (lambda r: losses.MeanAbsoluteError(r), TARGETS, LOGITS, abs(LOGITS - TARGETS).mean(1)),
]


@pytest.mark.parametrize("make, y_true, y_pred, costs", LOSSES)
def test_losses(make, y_true, y_pred, costs):
    def loss(reduction, *weights):
        return make(reduction)(y_true, y_pred, *weights).numpy()

    weights = np.arange(6, dtype="float32")
    np.testing.assert_allclose(loss("none"), costs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(loss("sum"), costs.sum(), rtol=1e-4)
    np.testing.assert_allclose(loss("sum_over_batch_size"), costs.mean(), rtol=1e-4)
    np.testing.assert_allclose(loss("mean", weights), (costs * weights).mean(), rtol=1e-4)


def test_losses_of_probabilities_0_and_1_are_finite():
    cost = losses.SparseCategoricalCrossentropy()([1], [[1.0, 0.0]])
    assert float(cost) == pytest.approx(-np.log(1e-7), rel=1e-4)
    assert np.isfinite(float(losses.BinaryCrossentropy()([[1.0, 0.0]], [[0.0, 1.0]])))
    assert np.isfinite(float(losses.SparseCategoricalCrossentropy(True)([1], [[1e4, -1e4]])))


def test_a_row_and_a_column_are_not_broadcast():
    assert float(losses.MeanSquaredError()([1.0, 2.0, 3.0], [[1.0], [2.0], [3.0]])) == 0.0
    assert float(losses.MeanSquaredError()([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0])) == 0.0


@pytest.mark.parametrize("name, kind", [
    ("mse", losses.MeanSquaredError), ("MeanSquaredError", losses.MeanSquaredError),
    ("sparse_categorical_crossentropy", losses.SparseCategoricalCrossentropy),
    ("binary_crossentropy", losses.BinaryCrossentropy)])
def test_losses_by_name(name, kind):
    assert type(losses.get(name)) is kind


def test_a_custom_loss():
    loss = losses.get(lambda y_true, y_pred: tf.abs(y_pred - y_true) * 2.0)
    assert float(loss(tf.constant([1.0, 2.0]), tf.constant([2.0, 4.0]))) == 3.0


# ── metrics ──


@pytest.mark.parametrize("y_true, y_pred, expected", [
    (LABELS, LOGITS, (LOGITS.argmax(1) == LABELS).mean()),
    (LABELS[:, None], LOGITS, (LOGITS.argmax(1) == LABELS).mean()),
    (ONE_HOT, LOGITS, (LOGITS.argmax(1) == LABELS).mean()),
    (ANSWERS[:, :1], SIGMOID[:, :1], ((SIGMOID[:, :1] > 0.5) == ANSWERS[:, :1]).mean()),
    (ANSWERS[:, 0], SIGMOID[:, :1], ((SIGMOID[:, 0] > 0.5) == ANSWERS[:, 0]).mean()),
])
def test_the_kind_of_accuracy_depends_on_the_shapes(y_true, y_pred, expected):
    metric = metrics.get("accuracy")
    assert float(metric(y_true, y_pred)) == pytest.approx(expected)
    assert metric.name == "accuracy"


def test_metrics_accumulate_over_batches():
    metric = metrics.SparseCategoricalAccuracy()
    for batch in (slice(0, 4), slice(4, 6)):
        metric.update_state(LABELS[batch], LOGITS[batch])
    assert float(metric.result()) == pytest.approx((LOGITS.argmax(1) == LABELS).mean())
    metric.reset_state()
    assert float(metric.result()) == 0.0


def test_mean_with_weights():
    mean = metrics.Mean()
    mean.update_state([1.0, 3.0])
    mean.update_state(5.0, sample_weight=2.0)
    assert float(mean.result()) == pytest.approx((1 + 3 + 5 * 2) / 4)
    mean.reset_state()
    mean.update_state([1.0, 3.0], sample_weight=[3.0, 1.0])
    assert float(mean.result()) == pytest.approx(1.5)


@pytest.mark.parametrize("name, expected", [
    ("mse", ((LOGITS - TARGETS) ** 2).mean()), ("mae", abs(LOGITS - TARGETS).mean())])
def test_metrics_by_name(name, expected):
    metric = metrics.get(name)
    assert float(metric(TARGETS, LOGITS)) == pytest.approx(expected, rel=1e-5)
    assert metric.name == name


# ── optimizers ──
# Each function is one step of the formula of Keras: (w, g, state, step) -> w.


def sgd(w, g, s, t):
    return w - 0.1 * g


def momentum(w, g, s, t):
    s["v"] = 0.9 * s["v"] - 0.1 * g
    return w + s["v"]


def nesterov(w, g, s, t):
    s["v"] = 0.9 * s["v"] - 0.1 * g
    return w + 0.9 * s["v"] - 0.1 * g


def adam_rate(t, rate=0.01):
    return rate * np.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)


def adam(w, g, s, t):
    s["m"] = s["m"] + (g - s["m"]) * (1 - 0.9)
    s["v"] = s["v"] + (g * g - s["v"]) * (1 - 0.999)
    return w - s["m"] * adam_rate(t) / (np.sqrt(s["v"]) + 1e-7)


def amsgrad(w, g, s, t):
    s["m"] = s["m"] + (g - s["m"]) * (1 - 0.9)
    s["v"] = s["v"] + (g * g - s["v"]) * (1 - 0.999)
    s["h"] = np.maximum(s["h"], s["v"])
    return w - s["m"] * adam_rate(t) / (np.sqrt(s["h"]) + 1e-7)


def adamw(w, g, s, t):
    return adam(w - w * 0.01 * 0.1, g, s, t)


def rmsprop(w, g, s, t):
    s["v"] = 0.9 * s["v"] + 0.1 * g * g
    return w - 0.01 * g / np.sqrt(s["v"] + 1e-7)


def rmsprop_centered_momentum(w, g, s, t):
    s["v"] = 0.9 * s["v"] + 0.1 * g * g
    s["a"] = 0.9 * s["a"] + 0.1 * g
    s["m"] = 0.5 * s["m"] + 0.01 * g / np.sqrt(s["v"] - s["a"] ** 2 + 1e-7)
    return w - s["m"]


def adagrad(w, g, s, t):
    s["a"] = (0.1 if t == 1 else s["a"]) + g * g
    return w - 0.1 * g / np.sqrt(s["a"] + 1e-7)


def adadelta(w, g, s, t):
    s["a"] = 0.95 * s["a"] + 0.05 * g * g
    step = g * np.sqrt(s["h"] + 1e-7) / np.sqrt(s["a"] + 1e-7)
    s["h"] = 0.95 * s["h"] + 0.05 * step * step
    return w - 0.1 * step


def adamax(w, g, s, t):
    s["m"] = s["m"] + (g - s["m"]) * (1 - 0.9)
    s["v"] = np.maximum(0.999 * s["v"], abs(g))
    return w - 0.01 * s["m"] / ((1 - 0.9 ** t) * (s["v"] + 1e-7))


def lion(w, g, s, t):
    step = np.sign(0.9 * s["m"] + 0.1 * g)
    s["m"] = 0.99 * s["m"] + 0.01 * g
    return w - 0.01 * step


def sgd_clipvalue(w, g, s, t):
    return w - 0.1 * np.clip(g, -0.2, 0.2)


def sgd_clipnorm(w, g, s, t):
    return w - 0.1 * g * min(1.0, 0.5 / np.sqrt((g * g).sum()))


OPTIMIZERS = [
    (lambda: optimizers.SGD(0.1), sgd),
    (lambda: optimizers.SGD(0.1, momentum=0.9), momentum),
    (lambda: optimizers.SGD(0.1, 0.9, nesterov=True), nesterov),
    (lambda: optimizers.Adam(0.01), adam),
    (lambda: optimizers.Adam(0.01, amsgrad=True), amsgrad),
    (lambda: optimizers.AdamW(0.01, weight_decay=0.1), adamw),
    (lambda: optimizers.RMSprop(0.01), rmsprop),
    (lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True), rmsprop_centered_momentum),
    (lambda: optimizers.Adagrad(0.1), adagrad),
    (lambda: optimizers.Adadelta(0.1), adadelta),
    (lambda: optimizers.Adamax(0.01), adamax),
    (lambda: optimizers.Lion(0.01), lion),
    (lambda: optimizers.SGD(0.1, clipvalue=0.2), sgd_clipvalue),
    (lambda: optimizers.SGD(0.1, clipnorm=0.5), sgd_clipnorm),
]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "function"])
@pytest.mark.parametrize("make, reference", OPTIMIZERS)
def test_optimizers(make, reference, compiled):
    optimizer, start = make(), RANDOM.normal(size=(3, 5)).astype("float32")
    variable, expected = tf.Variable(start), start.astype("float64")
    state: dict = dict.fromkeys("mvha", 0.0)

    def step(g):
        optimizer.apply_gradients([(g, variable)])

    run = tf.function(step) if compiled else step
    for t in range(1, 6):
        g = RANDOM.normal(size=(3, 5)).astype("float32")
        run(tf.constant(g))
        expected = reference(expected, g.astype("float64"), state, t)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=1e-6)
    assert int(optimizer.iterations) == 5


def test_global_clipnorm():
    a, b = tf.Variable([3.0]), tf.Variable([4.0])
    optimizers.SGD(1.0, global_clipnorm=1.0).apply_gradients([(tf.constant([3.0]), a),
                                                              (tf.constant([4.0]), b)])
    assert (float(a), float(b)) == (pytest.approx(2.4), pytest.approx(3.2))


def test_the_learning_rate_can_be_set_between_steps():
    optimizer, w = optimizers.get("sgd"), tf.Variable([1.0])
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    step = tf.function(lambda: optimizer.apply_gradients([(tf.constant([1.0]), w)]))
    optimizer.learning_rate = 0.5
    step()
    optimizer.learning_rate = 0.25
    step()
    assert float(w) == pytest.approx(0.25)


@pytest.mark.parametrize("name", optimizers.BY_NAME)
def test_the_update_of_a_variable_is_one_kernel(name):
    optimizer, w = optimizers.get(name), tf.Variable(tf.zeros((7, 5)))

    @tf.function
    def step(g):
        optimizer.apply_gradients([(g, w)])

    step(tf.ones((7, 5)))
    loops = [s.kernel for s in step.plan.steps if 35 in s.kernel.iteration_space]
    assert len(loops) == 1
    assert len(loops[0].writes) == 1 + len(optimizer.slots())
