"""Policies, what layers compute in and keep, and the scale of losses."""
import copy
import pickle

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from assertions import assert_raises_message
from gpu_programs import mixed_step
from tensorbrook.base.task_local import suspended_stacks
from tensorbrook.keras import Sequential, layers, losses, mixed_precision, optimizers, dtype_policies
from test_float16 import FLOAT16_BACKENDS

MIXED = mixed_precision.Policy("mixed_float16")
HALF = 1e-2


@pytest.fixture(params=FLOAT16_BACKENDS)
def halves(request):
    with on(request.param):
        yield request.param


@pytest.fixture
def mixed():
    mixed_precision.set_global_policy("mixed_float16")
    yield
    mixed_precision.set_global_policy("float32")


def digits(count):
    (x, y), _ = tf.keras.datasets.digits.load_data()
    return np.asarray(x[:count], "float32"), np.asarray(y[:count])


# ── policies ──────────────────────────────────────────────────────────────────────────────────


class Waits(layers.Layer):
    """Another task calls a layer in the midst of this one's call, and then there is an interrupt
    on the way out."""

    def call(self, x, training=False):
        with suspended_stacks():
            self.others = layers.Dropout(0.5)(x).numpy(), self.scale.dtype
        self.own = layers.Dropout(0.5)(x).numpy(), self.scale.dtype
        dtype_policies._autocast_dtype.append(tf.float16)
        return x

    def build(self, input_shape):
        self.scale = self.add_weight(())


def test_what_a_layer_is_in_the_midst_of_is_its_tasks_own():
    waits, x = Waits(dtype=MIXED), tf.ones(64)
    with on("reference"):
        waits(x, training=True)
    assert (waits.others[0] == 1).all() and not (waits.own[0] == 1).all()
    assert (waits.others[1], waits.own[1]) == (tf.float32, tf.float16)
    assert waits.scale.dtype is tf.float32


def test_a_policy_names_two_dtypes():
    assert (MIXED.compute_dtype, MIXED.variable_dtype) == ("float16", "float32")
    assert MIXED == mixed_precision.Policy.from_config(MIXED.get_config()) != tf.float32
    assert repr(MIXED) == '<DTypePolicy "mixed_float16">' and len({MIXED, copy.copy(MIXED)}) == 1


def test_layers_take_the_global_policy_or_their_own(mixed):
    assert mixed_precision.global_policy() == MIXED
    given = {"mixed_float16": None, "float32": "float32", "float16": tf.float16}
    for name, dtype in given.items():
        layer = layers.Dense(2, dtype=dtype)
        assert layer.dtype_policy.name == name == layer.get_config()["dtype"]
        assert layers.Dense.from_config(layer.get_config()).dtype_policy == layer.dtype_policy
    config = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
    assert layers.Dense(2, dtype=config).compute_dtype == "float32"


def test_the_usual_policy_is_float32():
    layer = layers.Dense(1)
    assert (layer.dtype, layer.compute_dtype, layer.input_dtype) == ("float32",) * 3


# ── layers ────────────────────────────────────────────────────────────────────────────────────

LAYERS = {
    "dense": (lambda: layers.Dense(3, "gelu"), (4, 5)),
    "convolution": (lambda: layers.Conv2D(4, 3, activation="relu"), (2, 6, 6, 3)),
    "along steps": (lambda: layers.Conv1D(4, 3), (2, 7, 3)),
    "depthwise": (lambda: layers.SeparableConv2D(4, 3), (2, 6, 6, 3)),
    "transposed": (lambda: layers.Conv2DTranspose(2, 2, 2), (2, 3, 3, 2)),
    "max pooling": (lambda: layers.MaxPooling2D(), (2, 6, 6, 3)),
    "average pooling": (lambda: layers.AveragePooling2D(), (2, 6, 6, 3)),
    "global pooling": (lambda: layers.GlobalAveragePooling2D(), (2, 6, 6, 3)),
    "batch normalization": (lambda: layers.BatchNormalization(), (8, 5)),
    "layer normalization": (lambda: layers.LayerNormalization(), (4, 9)),
    "attention": (lambda: _of_itself(layers.MultiHeadAttention(2, 4)), (2, 5, 6)),
    "a gru": (lambda: layers.GRU(4), (2, 5, 3)),
    "an lstm": (lambda: layers.LSTM(4, return_sequences=True), (2, 5, 3)),
    "softmax": (lambda: layers.Softmax(), (3, 7)),
    "prelu": (lambda: layers.PReLU(), (3, 7)),
    "rescaling": (lambda: layers.Rescaling(0.5, 1.0), (3, 7)),
    "a shortcut": (lambda: _Shortcut(), (3, 7)),
}


class _Shortcut(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.sum = layers.Dense(7), layers.Add()

    def call(self, x):
        return self.sum([x, self.inner(x)])


def _of_itself(attention):
    class Both(layers.Layer):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def call(self, x):
            return self.attention(x, x, use_causal_mask=True)
    return Both()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("where, training", [
    ("reference", False), ("reference", True), ("webgpu", True)])
def test_a_layer_computes_in_float16_what_it_does_in_float32(name, where, training, mixed):
    make, shape = LAYERS[name]
    tf.random.set_seed(3)
    x = tf.Variable(tf.random.Generator(5).normal(shape))
    layer = make()
    with on(where):
        found, slopes = measured(layer, x, training)
        assert layer.compute_output_shape((None, *shape[1:]))[1:] == found.shape[1:]
    assert found.dtype is tf.float16
    assert all(w.dtype is g.dtype is tf.float32 for w, g in zip(layer.trainable_weights, slopes))
    for each in every(layer):
        each.dtype_policy = "float32"
    with on("wasm"):
        right, right_slopes = measured(layer, x, training)
    assert right.dtype is tf.float32
    for a, b in zip([found, *slopes], [right, *right_slopes]):
        np.testing.assert_allclose(a, b, rtol=0, atol=HALF * max(1, np.abs(b).max()))


def every(layer):
    yield layer
    for inner in layer._tracked(layers.Layer):
        yield from every(inner)


def measured(layer, x, training):
    """(the output, the gradients of the weights and of the input)."""
    @tf.function
    def run():
        with tf.GradientTape() as tape:
            out = layer(x, training=training)
            total = tf.reduce_sum(tf.square(tf.cast(out, tf.float32)))
        return out, tape.gradient(total, [*layer.trainable_weights, x])

    layer(x)                                                  # so that the weights are there
    return run()


def test_a_table_keeps_its_floats_and_large_numbers(halves, mixed):
    layer = layers.Embedding(3001, 2)
    out = layer(np.array([[3000.0]]))
    assert out.dtype is tf.float16 and layer.embeddings.dtype is tf.float32
    np.testing.assert_allclose(out[0, 0], layer.embeddings[3000], atol=1e-4)


def test_layers_within_have_policies_of_their_own(halves, mixed):
    model = Sequential([layers.Dense(4), layers.Dense(3, dtype="float32"), layers.Dense(2)])
    assert model(np.ones((1, 5), "float32")).dtype is tf.float16
    assert [layer.compute_dtype for layer in model.layers] == ["float16", "float32", "float16"]
    assert {w.dtype for w in model.weights} == {tf.float32}


def test_a_layer_all_in_float16(halves):
    layer = layers.Dense(2, dtype="float16")
    assert layer(tf.ones((1, 3))).dtype is layer.kernel.dtype is tf.float16
    layer.set_weights([np.ones((3, 2), "float32"), np.zeros(2, "float32")])
    assert layer(tf.ones((1, 3))).tolist() == [[3.0, 3.0]]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.ones((1, 3))))
    grads = tape.gradient(loss, layer.weights)
    optimizers.Adam(0.5).apply_gradients(zip(grads, layer.weights))
    np.testing.assert_allclose(layer.kernel.numpy(), 0.5, atol=1e-3)
    assert layer.kernel.numpy().dtype == "float16"


class Counts(layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight((2,), "ones", name="scale")
        self.seen = self.add_weight((), "zeros", trainable=False, name="seen")

    def call(self, x):
        product = tf.matmul(x, self.scale[:, None])
        self.read = self.scale.dtype, (self.scale * 2.0).dtype, product.dtype
        self.seen.assign_add(tf.reduce_sum(x) * 0.001)
        self.seen.assign_sub(0.5)
        self.scale.assign(x[0])
        return x * self.scale


def test_weights_are_read_as_float16_within_a_call_and_kept_as_float32(halves, mixed):
    layer = Counts()
    out = layer(tf.constant([[0.1, 0.2], [3.0, 4.0]]))
    assert layer.read == (tf.float16,) * 3 and out.dtype is tf.float16
    assert layer.seen.dtype is layer.scale.dtype is tf.float32
    assert float(layer.seen) == pytest.approx(0.0073 - 0.5, abs=2e-5)
    assert layer.scale.tolist() == np.array([0.1, 0.2], "float16").tolist()


def test_a_copied_weight_is_still_one(mixed):
    layer = Counts()
    layer.build((None, 2))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other.scale) is type(layer.scale) and other.scale.autocast
        assert other.scale.tolist() == [1.0, 1.0]


def test_losses_and_metrics_measure_in_float32(halves):
    seen = []

    def cost(y_true, y_pred):
        seen.append((y_true.dtype, y_pred.dtype))
        return tf.reduce_mean(tf.square(y_pred - y_true), axis=-1)

    y, p = tf.ones((2, 3)), tf.constant(np.full((2, 3), 300.0, "float16"))
    assert float(losses.get(cost)(y, p)) == pytest.approx(299.0**2)
    metric = tf.keras.metrics.MeanMetricWrapper(cost)
    assert float(metric(y, p)) == pytest.approx(299.0**2)
    assert float(losses.MeanSquaredError()(y, p)) == pytest.approx(299.0**2)
    assert seen == [(tf.float32, tf.float32)] * 2


# ── the scale of losses ───────────────────────────────────────────────────────────────────────


def stepped(optimizer, w, gradient):
    """One step of a compiled function, with a gradient given for the scaled loss."""
    g = tf.constant(gradient)
    tf.function(lambda: optimizer.apply_gradients([(g * 1.0, w)]))()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_overflow_skips_the_step_and_halves_the_scale(bad, backend):
    w = tf.Variable([1.0, 2.0])
    optimizer = optimizers.LossScaleOptimizer(optimizers.Adam(0.1), initial_scale=8.0)
    stepped(optimizer, w, [8.0, -8.0])
    np.testing.assert_allclose(w, [0.9, 2.1], atol=1e-6)
    before = [v.tolist() for v in (w, *optimizer.inner_optimizer.mutable_state)]
    assert (float(optimizer.dynamic_scale), int(optimizer.step_counter)) == (8.0, 1)
    stepped(optimizer, w, [1.0, bad])
    assert [v.tolist() for v in (w, *optimizer.inner_optimizer.mutable_state)] == before
    assert (float(optimizer.dynamic_scale), int(optimizer.step_counter)) == (4.0, 0)
    assert int(optimizer.iterations) == 1


def test_the_scale_grows_after_so_many_steps(backend):
    w = tf.Variable([1.0])
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(1.0), 2.0, dynamic_growth_steps=3)
    seen = []
    step = tf.function(lambda g: optimizer.apply_gradients([(g, w)]))
    for _ in range(4):
        step(tf.constant([0.5]))
        seen.append((float(optimizer.dynamic_scale), int(optimizer.step_counter)))
    assert seen == [(2.0, 1), (2.0, 2), (4.0, 0), (4.0, 1)]
    assert w.tolist() == [1.0 - 3 * 0.25 - 0.125]


@pytest.mark.parametrize("make", [
    lambda: optimizers.SGD(0.1, momentum=0.9), lambda: optimizers.Adam(0.1, amsgrad=True),
    lambda: optimizers.AdamW(0.1), lambda: optimizers.RMSprop(0.1, momentum=0.5, centered=True),
    lambda: optimizers.Adagrad(0.1), lambda: optimizers.Adadelta(0.1), lambda: optimizers.Lion(0.1),
    lambda: optimizers.Adamax(0.1), lambda: optimizers.Adam(0.1, clipnorm=0.5)])
def test_scaled_steps_are_the_plain_ones(make, backend):
    plain, scaled = make(), optimizers.LossScaleOptimizer(make(), 1024.0)
    v, w = tf.Variable([1.0, -2.0, 3.0]), tf.Variable([1.0, -2.0, 3.0])

    @tf.function
    def step(x):
        for optimizer, u in ((plain, v), (scaled, w)):
            with tf.GradientTape() as tape:
                loss = optimizer.scale_loss(tf.reduce_sum(u * u * x))
            optimizer.apply_gradients(zip(tape.gradient(loss, [u]), [u]))

    for x in ([0.5, 1.0, 2.0], [1.0, 0.25, -1.0]):
        step(tf.constant(x))
    np.testing.assert_allclose(v, w, rtol=1e-6)


def test_compile_scales_the_loss_of_mixed_models_alone(mixed):
    def compiled(dtype, **settings):
        model = Sequential([layers.Dense(1, dtype=dtype)])
        model.dtype_policy = dtype
        model.compile("sgd", "mse", **settings)
        return type(model.optimizer).__name__

    assert compiled("mixed_float16") == "LossScaleOptimizer"
    assert compiled("float32") == compiled("mixed_float16", auto_scale_loss=False) == "SGD"
    model, own = Sequential([layers.Dense(1)]), optimizers.LossScaleOptimizer(optimizers.SGD())
    model.compile(own, "mse")
    assert model.optimizer is own


def test_a_loss_scale_optimizer_speaks_for_the_one_within():
    optimizer = mixed_precision.LossScaleOptimizer(optimizers.SGD(0.5))
    optimizer.learning_rate = 0.25
    assert float(optimizer.inner_optimizer.learning_rate) == float(optimizer.learning_rate) == 0.25
    assert float(optimizer.scale_loss(2.0)) == 2.0**16 == float(optimizer.get_scaled_loss(2.0))
    assert [v.name for v in optimizer.variables] == [
        "step_counter", "dynamic_scale", "iteration", "learning_rate"]
    config = optimizer.get_config()
    assert config["inner_optimizer"]["class_name"] == "SGD" and config["initial_scale"] == 2.0**15
    again = type(optimizer).from_config(config)
    assert type(again.inner_optimizer) is optimizers.SGD and again.get_config() == config


def test_a_summary_counts_the_bytes_that_weights_take(halves, mixed):
    lines = []
    Sequential([tf.keras.Input((3,)), layers.Dense(4, dtype="float16"), layers.Dense(2)]).summary(
        print_fn=lines.append)
    assert "Total params: 26 (72.00 B)" in "".join(lines)


MISTAKES = [
    (lambda: optimizers.LossScaleOptimizer("adam"), "LossScaleOptimizer: inner_optimizer is 'ad"),
    (lambda: optimizers.LossScaleOptimizer(optimizers.SGD(), 0.0), "LossScaleOptimizer: initial_"),
    (lambda: optimizers.LossScaleOptimizer(optimizers.SGD(), name="s").get_unscaled_gradients([]),
     "s: its steps divide gradients by the scale themselves"),
    (lambda: mixed_precision.set_global_policy("mixed_bfloat16"),
     "DTypePolicy: there is no policy 'mixed_bfloat16'; did you mean 'mixed_float16'?"),
]


@pytest.mark.parametrize("mistake, message", MISTAKES)
def test_message(mistake, message):
    assert_raises_message(mistake, message, tf.errors.OpError)


# ── training ──────────────────────────────────────────────────────────────────────────────────


def trained(policy, make, epochs):
    """(the losses of a model that learns digits, its accuracy at the end)."""
    mixed_precision.set_global_policy(policy)
    tf.random.set_seed(7)
    x, y = digits(512)
    model = make()
    model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=64, epochs=epochs, verbose=0).history
    return history["loss"], history["accuracy"][-1]


NETWORKS = {
    "mlp": (lambda: Sequential([layers.Flatten(), layers.Dense(32, "relu"), layers.Dense(10),
                                layers.Activation("softmax", dtype="float32")]), 6),
    "cnn": (lambda: Sequential([
        layers.Reshape((8, 8, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(),
        layers.BatchNormalization(), layers.Flatten(), layers.Dense(10),
        layers.Activation("softmax", dtype="float32")]), 6),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_digits_are_learnt_as_well_as_in_float32(name, halves, mixed):
    make, epochs = NETWORKS[name]
    with on("wasm"):
        right, accuracy = trained("float32", make, epochs)
    found, as_well = trained("mixed_float16", make, epochs)
    np.testing.assert_allclose(found, right, atol=0.05)
    assert as_well >= accuracy - 0.02 and accuracy > 0.9


def test_a_scale_too_high_is_halved_until_steps_count(halves, mixed):
    model = Sequential([layers.Dense(4), layers.Dense(1, dtype="float32")])
    model.compile(optimizers.LossScaleOptimizer(optimizers.SGD(0.01), initial_scale=2.0**22), "mse")
    x = np.full((4, 3), 2.0, "float32")
    history = model.fit(x, np.zeros((4, 1)), epochs=12, batch_size=4, verbose=0, shuffle=False)
    scale, steps = float(model.optimizer.dynamic_scale), int(model.optimizer.iterations)
    assert 0 < steps < 12 and scale == 2.0**(22 - (12 - steps))
    assert np.isfinite(history.history["loss"]).all()


def test_a_step_is_one_call_and_one_submit():
    with on("webgpu"):
        f, arguments = mixed_step()
        step = tf.function(f)
        step(*arguments)
        before = tf.config.get_counters()
        step(*arguments)
        after = tf.config.get_counters()
    told = ("host_calls", "programs", "submits", "compiled", "pipelines")
    assert [after[name] - before[name] for name in told] == [1, 1, 1, 0, 0]
