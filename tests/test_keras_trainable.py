"""`trainable`: a change on a Variable, a layer or a nested layer takes effect in the next step."""

import numpy as np
import pytest

import tensorbrook as tf
from tensorbrook.keras import Model, Sequential, callbacks, layers, optimizers

X = np.random.default_rng(3).normal(size=(24, 4)).astype("float32")
Y = X[:, :2] * 0.5 + 1.0


class Scale(layers.Layer):
    """A layer with a Variable in an attribute that `add_weight` did not create."""

    def __init__(self):
        super().__init__()
        self.factor = tf.Variable([1.0, 1.0, 1.0, 1.0])

    def call(self, x):
        return x * self.factor


class Block(layers.Layer):
    """A layer with layers in an attribute, a list and a dict; not a Model."""

    def __init__(self):
        super().__init__()
        self.first = layers.Dense(4)
        self.chain = [layers.Dense(4), {"last": layers.Dense(4)}]

    def call(self, x):
        return self.chain[1]["last"](self.chain[0](self.first(x)))


class Outer(layers.Layer):
    def __init__(self):
        super().__init__()
        self.blocks = (Block(), Scale())

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return x


class Subclass(Model):
    def __init__(self):
        super().__init__()
        self.offset = tf.Variable([0.0, 0.0, 0.0, 0.0])
        self.outer, self.out = Outer(), layers.Dense(2)

    def call(self, x):
        return self.out(self.outer(x + self.offset))


def sequential():
    return Sequential([tf.keras.Input((4,)), Outer(), Sequential([Scale()]), layers.Dense(2)])


def outer_of(model):
    return next(layer for layer in model.layers if isinstance(layer, Outer))


# Functions from a model to the Variable or layer that is toggled.
TARGETS = {
    "a weight": lambda m: m.layers[-1].kernel,
    "a Variable of a layer": lambda m: outer_of(m).blocks[1].factor,
    "a weight of an inner layer": lambda m: outer_of(m).blocks[0].chain[0].bias,
    "a layer": lambda m: m.layers[-1],
    "a layer of layers": outer_of,
    "a layer in a tuple": lambda m: outer_of(m).blocks[0],
    "a layer in an attribute": lambda m: outer_of(m).blocks[0].first,
    "a layer in a list": lambda m: outer_of(m).blocks[0].chain[0],
    "a layer in a dict": lambda m: outer_of(m).blocks[0].chain[1]["last"],
}
STEPS = {
    "fit": lambda m: m.fit(X, Y, batch_size=8, verbose=0),
    "train_on_batch": lambda m: m.train_on_batch(X, Y),
    "train_function": lambda m: m.make_train_function()((tf.constant(X), tf.constant(Y))),
}


def changed(model, step):
    """Return the indices of the weights that a step changes."""
    before = model.get_weights()
    step(model)
    return {i for i, (a, b) in enumerate(zip(before, model.get_weights())) if (a != b).any()}


def indices(model, target):
    """Return the indices of a Variable, or of the weights of a layer."""
    own = {id(target)} if isinstance(target, tf.Variable) else set(map(id, target.weights))
    return {i for i, w in enumerate(model.weights) if id(w) in own}


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("make", [sequential, Subclass])
def test_a_toggle_takes_effect_in_the_next_call(make, target, step, eagerly):
    model, step = make(), STEPS[step]
    model(X)
    model.compile(optimizers.SGD(0.05, momentum=0.5), "mse", run_eagerly=eagerly)
    toggled = TARGETS[target](model)
    all_weights = set(range(len(model.weights)))
    assert changed(model, step) == all_weights
    toggled.trainable = False
    assert changed(model, step) == all_weights - indices(model, toggled)
    toggled.trainable = True
    assert changed(model, step) == all_weights


@pytest.mark.parametrize("target", TARGETS)
def test_a_toggle_before_the_first_fit_takes_effect(target):
    model = sequential()
    model.compile("sgd", "mse")
    toggled = TARGETS[target](model)
    toggled.trainable = False
    frozen = indices(model, toggled)
    assert changed(model, STEPS["fit"]) == set(range(len(model.weights))) - frozen


def test_a_callback_may_toggle_between_epochs():
    model = sequential()
    model.compile("sgd", "mse")
    inner, kernels = outer_of(model).blocks[0].first, []

    def on_epoch_begin(epoch, logs):
        inner.trainable = epoch % 2 == 0

    def on_epoch_end(epoch, logs):
        kernels.append(inner.kernel.numpy())

    model.fit(X, Y, epochs=4, verbose=0, callbacks=[callbacks.LambdaCallback(
        on_epoch_begin=on_epoch_begin, on_epoch_end=on_epoch_end)])
    same = [(a == b).all() for a, b in zip(kernels, kernels[1:])]
    assert same == [True, False, True]


def test_the_step_is_not_traced_again_without_a_toggle():
    model, traces = sequential(), []
    inner = outer_of(model).blocks[0].first
    call = inner.call
    inner.call = lambda x: (traces.append(1), call(x))[1]
    model.compile("sgd", "mse")
    for _ in range(3):
        model.train_on_batch(X, Y)
        inner.trainable = True
    assert len(traces) == 1


def test_a_frozen_batch_normalization_uses_its_averages():
    """Also inside a layer that is not a Model."""
    class Normalized(layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm = layers.BatchNormalization()

        def call(self, x):
            return self.norm(x)

    model = Sequential([tf.keras.Input((4,)), Normalized(), layers.Dense(2)])
    model.compile("sgd", "mse")
    norm = model.layers[0].norm
    model.fit(X, Y, verbose=0)
    mean = norm.moving_mean.numpy()
    norm.trainable = False
    model.fit(X, Y, verbose=0)
    assert (norm.moving_mean.numpy() == mean).all()
    norm.trainable = True
    model.fit(X, Y, verbose=0)
    assert (norm.moving_mean.numpy() != mean).any()


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_frozen_model_trains_nothing_and_reports_its_loss(eagerly):
    model = sequential()
    model.compile("adam", "mse", run_eagerly=eagerly)
    model.trainable = False
    expected, before = model.evaluate(X, Y, verbose=0), model.get_weights()
    with pytest.warns(UserWarning, match="the model has no trainable weights"):
        history = model.fit(X, Y, epochs=2, batch_size=24, verbose=0)
    assert history.history["loss"] == pytest.approx([expected] * 2, rel=1e-5)
    assert all((a == b).all() for a, b in zip(before, model.get_weights()))
    assert int(model.optimizer.iterations) == 0
    with pytest.warns(UserWarning, match="the model has no trainable weights"):
        model.compile("adam", "mse", run_eagerly=eagerly)
        assert model.train_on_batch(X, Y) == pytest.approx(expected, rel=1e-5)
