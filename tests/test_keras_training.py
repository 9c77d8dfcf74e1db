"""compile, fit, evaluate and predict: results, callbacks, and one host call per step."""

import copy
import pickle
import re

import numpy as np
import pytest

import backends
import tensorbrook as tf
from tensorbrook.keras import Model, Sequential, callbacks, layers, losses, metrics, optimizers

RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(50, 6)).astype("float32")
Y = (X[:, :3].argmax(1)).astype("int64")


@pytest.fixture(autouse=True)
def seed(fresh_session):
    tf.random.set_seed(7)


def classifier(*hidden, optimizer="adam", **arguments):
    model = Sequential([tf.keras.Input((6,)), layers.Dense(8, activation="tanh"), *hidden,
                        layers.Dense(3)])
    model.compile(optimizer, losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"], **arguments)
    return model


def probabilities(model, x):
    logits = model(x).numpy().astype("float64")
    exps = np.exp(logits - logits.max(1, keepdims=True))
    return exps / exps.sum(1, keepdims=True)


def loss_and_accuracy(model, x=X, y=Y):
    p = probabilities(model, x)
    return [-np.log(p[np.arange(len(y)), y]).mean(), (p.argmax(1) == y).mean()]


class Recorder(callbacks.Callback):
    """Records the calls of its hooks."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None): self.calls.append("train")
    def on_epoch_begin(self, epoch, logs=None): self.calls.append(f"epoch {epoch}")
    def on_train_batch_end(self, batch, logs=None): self.calls.append(("batch", batch, *logs))
    def on_test_end(self, logs=None): self.calls.append(("test", *logs))
    def on_epoch_end(self, epoch, logs=None): self.calls.append(("end", epoch, *logs))
    def on_train_end(self, logs=None): self.calls.append("done")


# ── fit ──


def test_history_has_every_epoch():
    model = classifier()
    history = model.fit(X, Y, epochs=3, validation_data=(X[:9], Y[:9]), verbose=0)
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(len(values) == 3 for values in history.history.values())
    assert history.epoch == [0, 1, 2]
    assert model.history is history
    expected = loss_and_accuracy(model, X[:9], Y[:9])
    assert history.history["val_loss"][-1] == pytest.approx(expected[0], rel=1e-4)
    assert history.history["val_accuracy"][-1] == pytest.approx(expected[1])


def test_fit_is_gradient_descent():
    """Two epochs without shuffling, against NumPy."""
    x, y = X[:, :2].astype("float64"), X[:, 2:3].astype("float64")
    model = Sequential([tf.keras.Input((2,)), layers.Dense(1)])
    w, b = (v.astype("float64") for v in model.get_weights())
    model.compile(optimizers.SGD(0.1), "mse")
    history = model.fit(X[:, :2], X[:, 2], batch_size=20, epochs=2, shuffle=False, verbose=0)
    means = []
    for _ in range(2):
        total = 0.0
        for i in range(0, 50, 20):
            xb, yb = x[i:i + 20], y[i:i + 20]
            error = xb @ w + b - yb
            total += (error ** 2).sum()
            w -= 0.1 * 2 * xb.T @ error / len(xb)
            b -= 0.1 * 2 * error.mean(0)
        means.append(total / 50)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-4)
    np.testing.assert_allclose(model.get_weights()[1], b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(history.history["loss"], means, rtol=1e-4)


def test_an_epoch_visits_every_sample_once():
    model = Sequential([tf.keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.compile(optimizers.SGD(0.0), losses.MeanAbsoluteError("sum"))
    model.set_weights([[[0.0]]])
    targets = []

    class RecordTargets(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None): self.model.reset_metrics()
        def on_train_batch_end(self, batch, logs=None): targets.append(round(logs["loss"]))

    powers = 2.0 ** np.arange(10)
    model.fit(np.ones(10), powers, batch_size=1, epochs=2, verbose=0, callbacks=[RecordTargets()])
    assert sorted(targets[:10]) == sorted(targets[10:]) == powers.tolist()
    assert targets[:10] != targets[10:] != powers.tolist()


def test_callbacks_may_evaluate_and_predict_during_fit():
    def train(*extra_callbacks):
        tf.random.set_seed(4)
        model = classifier()
        model.fit(X, Y, batch_size=10, verbose=0, callbacks=extra_callbacks)
        return model.get_weights()

    def evaluate_and_predict(batch, logs):
        callback.model.evaluate(X, Y, verbose=0)
        callback.model.predict(X, verbose=0)

    callback = callbacks.LambdaCallback(on_train_batch_end=evaluate_and_predict)
    assert all((a == b).all() for a, b in zip(train(), train(callback)))


def test_the_same_seed_gives_the_same_training():
    def run(seed):
        tf.random.set_seed(seed)
        model = classifier(layers.Dropout(0.3))
        return model.fit(X, Y, epochs=2, verbose=0).history["loss"], model.get_weights()

    (losses_a, weights_a), (losses_b, weights_b), (losses_c, _) = run(5), run(5), run(6)
    assert losses_a == losses_b != losses_c
    assert all((a == b).all() for a, b in zip(weights_a, weights_b))


def test_all_backends_have_the_same_losses():
    losses_by_backend = []
    for name in backends.ALL:
        with backends.on(name):
            tf.random.set_seed(1)
            model = classifier(layers.Dropout(0.2))
            losses_by_backend.append(model.fit(X, Y, epochs=4, verbose=0).history["loss"])
    for actual in losses_by_backend[1:]:
        np.testing.assert_allclose(actual, losses_by_backend[0], rtol=1e-4)


def test_validation_split_holds_out_the_last_samples():
    model = classifier(optimizer=optimizers.SGD(0.0))
    history = model.fit(X, Y, validation_split=0.2, verbose=0)
    for key, part in (("loss", slice(40)), ("val_loss", slice(40, 50))):
        expected = loss_and_accuracy(model, X[part], Y[part])
        assert history.history[key] == [pytest.approx(expected[0], rel=1e-4)]


def test_sample_and_class_weights():
    model = classifier(optimizer=optimizers.SGD(0.0))
    p = probabilities(model, X)
    costs = -np.log(p[np.arange(50), Y])
    weights = np.linspace(0, 2, 50)
    by_class = np.array([1.0, 3.0, 0.5])
    history = model.fit(X, Y, sample_weight=weights, batch_size=50, verbose=0).history
    assert history["loss"] == [pytest.approx((costs * weights).mean(), rel=1e-4)]
    class_weight = dict(enumerate(by_class))
    history = model.fit(X, Y, class_weight=class_weight, batch_size=50, verbose=0).history
    assert history["loss"] == [pytest.approx((costs * by_class[Y]).mean(), rel=1e-4)]


def test_evaluate_converts_data_of_every_dtype():
    model = classifier(optimizer=optimizers.SGD(0.0))
    expected = pytest.approx(loss_and_accuracy(model)[0], rel=1e-4)
    for x, y in ((X.astype("float64"), Y), (X.tolist(), Y.tolist()), (X, Y[:, None]),
                 (tf.constant(X), tf.constant(Y)), (X, Y.astype("float32"))):
        assert model.evaluate(x, y, verbose=0)[0] == expected


# ── evaluate, predict, single batches ──


def test_evaluate_and_predict():
    model = classifier()
    expected = loss_and_accuracy(model)
    assert model.evaluate(X, Y, verbose=0, batch_size=7) == pytest.approx(expected, rel=1e-4)
    assert model.evaluate(X, Y, verbose=0, return_dict=True) == pytest.approx(
        {"accuracy": expected[1], "loss": expected[0]}, rel=1e-4)
    predicted = model.predict(X, batch_size=3, verbose=0)
    assert isinstance(predicted, np.ndarray)
    np.testing.assert_allclose(predicted, model(X).numpy(), rtol=1e-4, atol=1e-6)


def test_a_model_with_only_a_loss_evaluates_to_a_number():
    model = Sequential([tf.keras.Input((6,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    assert isinstance(model.evaluate(X, X[:, 0], verbose=0), float)


def test_train_on_batch_returns_running_means():
    model = classifier(optimizer=optimizers.SGD(0.0))
    first, second = (loss_and_accuracy(model, X[i:i + 10], Y[i:i + 10]) for i in (0, 10))
    assert model.train_on_batch(X[:10], Y[:10]) == pytest.approx(first, rel=1e-4)
    mean = model.train_on_batch(X[10:20], Y[10:20])
    assert mean == pytest.approx(np.mean([first, second], 0), rel=1e-4)
    model.reset_metrics()
    assert model.test_on_batch(X[10:20], Y[10:20], return_dict=True) == pytest.approx(
        {"loss": second[0], "accuracy": second[1]}, rel=1e-4)
    np.testing.assert_allclose(model.predict_on_batch(X[:4]), model(X[:4]).numpy(), rtol=1e-5)


def test_the_train_function_can_be_called_directly():
    model = classifier()
    train, data = model.make_train_function(), (tf.constant(X), tf.constant(Y))
    start = loss_and_accuracy(model)[0]
    for _ in range(30):
        logs = train(data)
    assert loss_and_accuracy(model)[0] < start
    assert float(logs["loss"]) < start
    assert model.make_train_function() is train


# ── subclassed models ──


class Classifier(Model):
    def __init__(self):
        super().__init__()
        self.hidden = [layers.Dense(8, activation="relu") for _ in range(2)]
        self.drop = layers.Dropout(0.1)
        self.out = layers.Dense(3, activation="softmax")

    def call(self, x, training=False):
        for layer in self.hidden:
            x = layer(x)
        return self.out(self.drop(x, training=training))


def test_a_subclassed_model():
    model = Classifier()
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    first, last = model.fit(X, Y, epochs=40, verbose=0).history["loss"][::39]
    assert last < first * 0.7
    assert len(model.trainable_weights) == 6
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dropout", "dense_2"]


def test_a_custom_train_step():
    class DoubledLoss(Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True)) * 2.0
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
            return {"doubled": loss}

    model = DoubledLoss([tf.keras.Input((6,)), layers.Dense(1)])
    model.compile(optimizers.SGD(0.0), "mse")
    cost = ((model(X).numpy() - X[:, :1]) ** 2).mean()
    history = model.fit(X, X[:, 0], batch_size=50, verbose=0).history
    assert history == {"doubled": [pytest.approx(2 * cost, rel=1e-4)]}


def test_fit_does_not_change_a_frozen_layer():
    model = classifier()
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = False
    frozen, trainable = model.layers[0].get_weights()[0], model.layers[1].get_weights()[0]
    model.fit(X, Y, verbose=0)
    assert (model.layers[0].get_weights()[0] == frozen).all()
    assert (model.layers[1].get_weights()[0] != trainable).any()


def test_a_new_learning_rate_does_not_recompile():
    model = classifier(optimizer=optimizers.SGD(0.0))
    model.fit(X, Y, verbose=0)
    before, function = model.get_weights()[0], model.train_function
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] == before).all()
    model.optimizer.learning_rate = 0.1
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] != before).any()
    assert model.train_function is function


def test_metrics_by_name_object_and_function():
    def constant_two(y_true, y_pred):
        return tf.zeros(y_pred.shape[:1]) + 2.0

    model = Sequential([tf.keras.Input((6,)), layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[
        "mae", metrics.MeanSquaredError(name="other"), constant_two])
    logs = model.evaluate(X, X[:, 0], verbose=0, return_dict=True)
    assert sorted(logs) == ["constant_two", "loss", "mae", "other"]
    assert logs["other"] == pytest.approx(logs["loss"])
    assert logs["constant_two"] == 2.0


def test_run_eagerly_gives_the_same_losses():
    def run(eagerly):
        tf.random.set_seed(3)
        return classifier(run_eagerly=eagerly).fit(X, Y, epochs=1, verbose=0).history["loss"]

    np.testing.assert_allclose(run(True), run(False), rtol=1e-5)


# ── callbacks ──


def test_callbacks_are_called_in_order():
    recorder = Recorder()
    classifier().fit(X, Y, batch_size=25, verbose=0, callbacks=[recorder], validation_data=(X, Y))
    names = ("accuracy", "loss")
    assert recorder.calls == [
        "train", "epoch 0", ("batch", 0, *names), ("batch", 1, *names), ("test", *names),
        ("end", 0, "accuracy", "loss", "val_accuracy", "val_loss"), "done"]


def test_early_stopping_restores_the_best_weights():
    model, best = classifier(optimizer=optimizers.SGD(0.0)), None
    stop = callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True)

    def change_weights(epoch, logs):
        nonlocal best
        best = model.get_weights() if epoch == 0 else best
        model.set_weights([w + 9 for w in model.get_weights()])

    history = model.fit(X, Y, epochs=9, verbose=0, callbacks=[
        stop, callbacks.LambdaCallback(on_epoch_end=change_weights)])
    assert len(history.epoch) == stop.stopped_epoch + 1 == 3
    assert all((a == b).all() for a, b in zip(model.get_weights(), best))


def diverging():
    model = Sequential([tf.keras.Input((6,)), layers.Dense(1)])
    model.compile(optimizers.SGD(1e30), "mse")
    return model


def test_a_loss_that_is_not_finite_is_warned_about_once():
    model = diverging()
    with pytest.warns(RuntimeWarning, match="the loss is (nan|inf) after epoch 1; lower") as caught:
        history = model.fit(X, X[:, 0], epochs=3, verbose=0)
    assert len(caught) == 1
    assert len(history.epoch) == 3


def test_terminate_on_nan(capsys):
    model = diverging()
    with pytest.warns(RuntimeWarning):
        history = model.fit(X, X[:, 0], epochs=3, verbose=0, callbacks=[callbacks.TerminateOnNaN()])
    assert len(history.epoch) == 1
    assert "Invalid loss, terminating training" in capsys.readouterr().out


# ── progress output ──


@pytest.mark.parametrize("verbose, pattern", [
    (1, r"Epoch 1/1\n2/2 ━{20} \d+s \d+(m|u)?s/step - accuracy: \d\.\d{4} - loss: \d\.\d{4}\n"),
    (2, r"Epoch 1/1\n2/2 - \d+s - \d+(m|u)?s/step - accuracy: \d\.\d{4} - loss: \d\.\d{4}\n"),
    (0, ""),
])
def test_progress_output(verbose, pattern, capsys):
    model = classifier()
    model.fit(X, Y, batch_size=25, verbose=verbose)
    printed = capsys.readouterr().out
    assert bool(pattern) == bool(printed)
    assert matches(pattern, printed)
    model.evaluate(X, Y, batch_size=25, verbose=1)
    printed = capsys.readouterr().out
    assert matches(r"2/2 ━{20} \d+s \d+(m|u)?s/step - accuracy: .* - loss: .*\n", printed)
    model.predict(X, batch_size=25)
    assert matches(r"2/2 ━{20} \d+s \d+(m|u)?s/step\n", capsys.readouterr().out)


def matches(pattern, text):
    return re.fullmatch(pattern, text) is not None


# ── one host call per step ──


class CounterDeltas(callbacks.Callback):
    """Records by how much each training step increases the counters of tf.config."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self.before = tf.config.get_counters()

    def on_train_batch_end(self, batch, logs=None):
        after = tf.config.get_counters()
        self.steps.append({name: after[name] - self.before[name] for name in after})


def small_cnn():
    model = Sequential([
        tf.keras.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dropout(0.2), layers.Dense(10)])
    model.compile("adam", losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    return model


def digits():
    (x, y), _ = tf.keras.datasets.digits.load_data()
    return x[:100], y[:100]


def test_a_step_of_fit_is_one_host_call(backend):
    model, deltas = small_cnn(), CounterDeltas()
    model.fit(*digits(), batch_size=16, epochs=3, verbose=0, callbacks=[deltas])
    # The first epoch compiles both signatures. The first step of an epoch is excluded: the results
    # of the previous epoch still alias the metrics, so a GPU copies the metrics first.
    steps = [step for i, step in enumerate(deltas.steps[7:]) if i % 7]
    assert len(steps) == 12
    assert {step["programs"] for step in steps} == {1}
    assert {step["host_calls"] for step in steps} == {int(backend != "reference")}


def test_a_step_of_a_custom_loop_is_one_host_call(backend):
    model, optimizer = small_cnn(), optimizers.SGD(0.1, momentum=0.9)
    cross_entropy = losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = cross_entropy(y, model(x, training=True))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    x, y = map(tf.constant, digits())
    batches = [(x[i:i + 20], y[i:i + 20]) for i in range(0, 100, 20)]
    first = float(step(*batches[0]))
    before = tf.config.get_counters()
    for _ in range(4):
        for batch in batches:
            loss = step(*batch)
    after = tf.config.get_counters()
    assert after["programs"] - before["programs"] == 20
    assert after["host_calls"] - before["host_calls"] == 20 * (backend != "reference")
    assert float(loss) < first


def test_class_weight_applies_to_one_hot_labels():
    by_class, rows = {0: 1.0, 1: 5.0, 2: 0.5}, np.eye(3, dtype="float32")[Y]
    histories = []
    for loss, y in (("sparse_categorical_crossentropy", Y), ("categorical_crossentropy", rows)):
        tf.random.set_seed(3)
        model = Sequential([tf.keras.Input((6,)), layers.Dense(3, activation="softmax")])
        model.compile("sgd", loss)
        histories.append(model.fit(X, y, class_weight=by_class, shuffle=False, verbose=0).history)
    assert histories[0]["loss"] == pytest.approx(histories[1]["loss"], rel=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"one class for each .*\(50, 2, 3"):
        model.fit(X, np.ones((50, 2, 3)), class_weight=by_class, verbose=0)


def test_a_copy_of_a_model_trains_independently():
    model = classifier(layers.Dropout(0.5))
    model.fit(X, Y, epochs=2, verbose=0)
    for clone in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(clone.predict(X, verbose=0), model.predict(X, verbose=0))
        before = model.get_weights()
        clone.fit(X, Y, verbose=0)
        assert all((a == b).all() for a, b in zip(before, model.get_weights()))
        assert any((a != b).any() for a, b in zip(before, clone.get_weights()))
