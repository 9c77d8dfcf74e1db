"""Steps and batch sizes of fit, evaluate and predict; metrics that are not measured each epoch."""

import warnings

import numpy as np
import pytest

import tensorbrook as tf
from tensorbrook.keras import Sequential, callbacks, layers, optimizers

X = np.arange(50, dtype="float32")[:, None]


def identity(**arguments):
    """A model that returns its input; its loss is the mean of the squared targets' differences."""
    model = Sequential([tf.keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.set_weights([[[1.0]]])
    model.compile(optimizers.SGD(0.0), "mae", **arguments)
    return model


class Batches(callbacks.Callback):
    """Records the mean of the samples of each training batch: the loss where targets are 0."""

    def __init__(self):
        super().__init__()
        self.epochs, self.sizes = [], []

    def on_epoch_begin(self, epoch, logs=None): self.epochs.append([])

    def on_train_batch_begin(self, batch, logs=None): self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None): self.epochs[-1].append(logs["loss"])


def fit(*, shuffle=False, **arguments):
    """The means of the batches of each epoch."""
    batches = Batches()
    identity().fit(X, np.zeros(50), shuffle=shuffle, verbose=0, callbacks=[batches], **arguments)
    return batches.epochs


# ── fit ──


def test_steps_per_epoch_continue_with_the_next_batches():
    means = fit(batch_size=10, steps_per_epoch=2, epochs=2)
    assert means == [pytest.approx([4.5, 14.5]), pytest.approx([24.5, 34.5])]


def test_steps_per_epoch_end_with_the_data_and_begin_again():
    with pytest.warns(UserWarning, match="fit: 5 batches of 10 samples are not a multiple of "
                                         "steps_per_epoch 3, so an epoch has 2 steps"):
        means = fit(batch_size=10, steps_per_epoch=3, epochs=3)
    assert [len(epoch) for epoch in means] == [3, 2, 3]
    assert means[2] == means[0] == pytest.approx([4.5, 14.5, 24.5])


def test_each_pass_over_the_data_is_shuffled():
    means = fit(batch_size=10, steps_per_epoch=1, epochs=10, shuffle=True)
    first, second = sum(means[:5], []), sum(means[5:], [])
    assert first != pytest.approx(second)
    assert np.mean(first) == pytest.approx(24.5) and np.mean(second) == pytest.approx(24.5)


def test_steps_per_epoch_determine_the_batch_size():
    assert fit(steps_per_epoch=2) == [pytest.approx([12.0, 37.0])]
    assert fit() == [pytest.approx([15.5, 40.5])]


def test_validation_steps():
    for arguments, expected in (({"validation_batch_size": 5}, 4.5), ({"batch_size": 20}, 19.5),
                                ({}, 24.5)):
        history = identity().fit(X, np.zeros(50), validation_data=(X, np.zeros(50)), verbose=0,
                                 validation_steps=2, epochs=2, **arguments).history
        assert history["val_loss"] == pytest.approx([expected] * 2)


# ── evaluate and predict ──


def test_steps_of_evaluate_and_predict():
    model = identity()
    assert model.evaluate(X, np.zeros(50), batch_size=10, steps=2, verbose=0) == \
        pytest.approx(9.5)
    assert model.evaluate(X, np.zeros(50), steps=2, verbose=0) == pytest.approx(24.5)
    assert model.predict(X, batch_size=10, steps=2, verbose=0).tolist() == X[:20].tolist()
    assert model.predict(X, steps=3, verbose=0).tolist() == X.tolist()
    assert model.predict(X, batch_size=30, steps=1, verbose=0).shape == (30, 1)


def test_progress_shows_the_steps(capsys):
    identity().predict(X, batch_size=10, steps=2, verbose=1)
    assert "2/2" in capsys.readouterr().out
    identity().fit(X, X, batch_size=10, steps_per_epoch=4, verbose=2)
    assert "4/4" in capsys.readouterr().out


@pytest.mark.parametrize("call", [
    lambda model: model.evaluate(X, X, batch_size=25, steps=3, verbose=0),
    lambda model: model.predict(X, batch_size=25, steps=3, verbose=0)])
def test_more_steps_than_batches_give_a_warning(call):
    with pytest.warns(UserWarning, match="2 batches of 25 samples are fewer than steps 3"):
        call(identity())


NUMBERS = {
    "fit": ["batch_size", "epochs", "steps_per_epoch", "validation_steps", "validation_batch_size",
            "validation_freq"],
    "evaluate": ["batch_size", "steps"],
    "predict": ["batch_size", "steps"],
}


@pytest.mark.parametrize("value", [0, -1, 2.5, "8", True])
@pytest.mark.parametrize("method, name", [(m, n) for m, names in NUMBERS.items() for n in names])
def test_a_number_that_is_not_valid_is_an_error(method, name, value):
    if (name, value) == ("epochs", 0):
        return                                          # trains for no epoch
    data = {"x": X, "y": X} if method != "predict" else {"x": X}
    if method == "fit":
        data["validation_data"] = X, X
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{method}: {name} is {value!r}"):
        getattr(identity(), method)(**data, verbose=0, **{name: value})


# ── metrics that are not measured each epoch ──


def test_early_stopping_continues_in_epochs_without_its_metric():
    stop = callbacks.EarlyStopping("val_loss", patience=1)
    with pytest.warns(UserWarning, match="EarlyStopping: the metric 'val_loss' was not") as caught:
        history = identity().fit(X, X + 1, epochs=12, validation_data=(X, X + 1), verbose=0,
                                 validation_freq=3, callbacks=[stop])
    # Measured in epochs 3 and 6: the second is no improvement.
    assert len(history.epoch) == 6 and stop.stopped_epoch == 5
    assert len(history.history["val_loss"]) == 2 and len(caught) == 4
    assert str(caught[0].message).endswith("measured in epoch 1; the metrics are loss")


def test_early_stopping_warns_about_a_metric_that_does_not_exist():
    with pytest.warns(UserWarning, match="EarlyStopping: the metric 'val_los' was not") as caught:
        history = identity().fit(X, X, epochs=2, validation_data=(X, X), verbose=0, callbacks=[
            callbacks.EarlyStopping("val_los", restore_best_weights=True)])
    assert len(history.epoch) == len(caught) == 2
    assert "measured in epoch 2; did you mean 'val_loss'?" in str(caught[1].message)


@pytest.mark.parametrize("name", sorted(
    name for name, kind in vars(callbacks).items() if isinstance(kind, type)
    and issubclass(kind, callbacks.Callback) and kind is not callbacks.Callback))
@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_every_callback_accepts_epochs_without_validation(name, verbose, capsys):
    callback = getattr(callbacks, name)()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "EarlyStopping: the metric 'val_loss' was not measured")
        history = identity().fit(X, X, epochs=3, validation_data=(X, X), validation_freq=2,
                                 verbose=verbose, callbacks=[callback])
    assert len(history.epoch) == 3 and len(history.history["val_loss"]) == 1


def test_every_hook_receives_logs():
    received = {}
    functions = {hook: lambda *args, hook=hook: received.setdefault(hook, args[-1])
                 for hook in callbacks.HOOKS}
    callback, model = callbacks.LambdaCallback(**functions), identity()
    model.fit(X, X, validation_data=(X, X), verbose=0, callbacks=[callback])
    model.predict(X, verbose=0, callbacks=[callback])
    assert set(received) == set(callbacks.HOOKS)
    assert all(hasattr(logs, "keys") for logs in received.values())
    assert dict(received["on_train_end"]).keys() == {"loss", "val_loss"}


# ── LossScaleOptimizer ──


@pytest.mark.parametrize("make", [
    lambda: optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=1.0), lambda: optimizers.SGD(0.1),
    lambda: optimizers.RMSprop(0.1, momentum=0.5, clipvalue=2.0)])
def test_a_loss_scale_optimizer_has_every_attribute_of_an_optimizer(make):
    inner = make()
    optimizer = optimizers.LossScaleOptimizer(inner)
    variable = tf.Variable([1.0, 2.0])
    optimizer.build([variable])
    assert optimizer.built
    for name in sorted(set(dir(optimizers.Optimizer(0.1)))):
        if not name.startswith("_"):
            getattr(optimizer, name)                    # raises for an attribute that is not set
    for name in ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm"):
        assert getattr(optimizer, name) == getattr(inner, name)
    own = [optimizer.step_counter, optimizer.dynamic_scale]
    assert list(map(id, optimizer.mutable_state)) == list(map(id, own + inner.mutable_state))
    assert optimizer.slots() == inner.slots()
    assert all(optimizer.slot(s, variable) is inner.slot(s, variable) for s in inner.slots())
    assert optimizer.uses_weight_decay(variable) == inner.uses_weight_decay(variable)
    assert float(optimizer.step_learning_rate()) == pytest.approx(float(inner.step_learning_rate()))
    optimizer.clipnorm = 3.0
    assert inner.clipnorm == 3.0
