"""Mixed precision: dtype policies, layers, loss scaling, and training."""
import copy
import pickle

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from assertions import assert_raises_message
from gpu_programs import mixed_step
from tensorbrook.base.task_local import suspended_stacks
from tensorbrook.keras import (
    Sequential,
    dtype_policies,
    layers,
    losses,
    mixed_precision,
    optimizers,
)
from test_float16 import FLOAT16_BACKENDS

MIXED = mixed_precision.Policy("mixed_float16")
TOLERANCE = 1e-2


@pytest.fixture(params=FLOAT16_BACKENDS)
def float16_backend(request):
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


class SuspendedCall(layers.Layer):
    """A layer whose call is suspended for another task, and leaves an autocast dtype behind."""

    def call(self, x, training=False):
        with suspended_stacks():
            self.in_other_task = layers.Dropout(0.5)(x).numpy(), self.scale.dtype
        self.in_this_task = layers.Dropout(0.5)(x).numpy(), self.scale.dtype
        dtype_policies._autocast_dtypes.append(tf.float16)
        return x

    def build(self, input_shape):
        self.scale = self.add_weight(())


def test_the_call_context_of_a_layer_is_task_local():
    layer, x = SuspendedCall(dtype=MIXED), tf.ones(64)
    with on("reference"):
        layer(x, training=True)
    assert (layer.in_other_task[0] == 1).all() and not (layer.in_this_task[0] == 1).all()
    assert (layer.in_other_task[1], layer.in_this_task[1]) == (tf.float32, tf.float16)
    assert layer.scale.dtype is tf.float32


def test_a_policy_has_a_compute_and_a_variable_dtype():
    assert (MIXED.compute_dtype, MIXED.variable_dtype) == ("float16", "float32")
    assert MIXED == mixed_precision.Policy.from_config(MIXED.get_config()) != tf.float32
    assert repr(MIXED) == '<DTypePolicy "mixed_float16">' and len({MIXED, copy.copy(MIXED)}) == 1


def test_layers_have_the_global_policy_by_default(mixed):
    assert mixed_precision.global_policy() == MIXED
    dtypes = {"mixed_float16": None, "float32": "float32", "float16": tf.float16}
    for name, dtype in dtypes.items():
        layer = layers.Dense(2, dtype=dtype)
        assert layer.dtype_policy.name == name == layer.get_config()["dtype"]
        assert layers.Dense.from_config(layer.get_config()).dtype_policy == layer.dtype_policy
    config = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}
    assert layers.Dense(2, dtype=config).compute_dtype == "float32"


def test_the_default_policy_is_float32():
    layer = layers.Dense(1)
    assert (layer.dtype, layer.compute_dtype, layer.input_dtype) == ("float32",) * 3


# ── layers ────────────────────────────────────────────────────────────────────────────────────

LAYERS = {
    "dense": (lambda: layers.Dense(3, "gelu"), (4, 5)),
    "convolution": (lambda: layers.Conv2D(4, 3, activation="relu"), (2, 6, 6, 3)),
    "conv1d": (lambda: layers.Conv1D(4, 3), (2, 7, 3)),
    "separable convolution": (lambda: layers.SeparableConv2D(4, 3), (2, 6, 6, 3)),
    "transposed convolution": (lambda: layers.Conv2DTranspose(2, 2, 2), (2, 3, 3, 2)),
    "max pooling": (lambda: layers.MaxPooling2D(), (2, 6, 6, 3)),
    "average pooling": (lambda: layers.AveragePooling2D(), (2, 6, 6, 3)),
    "global pooling": (lambda: layers.GlobalAveragePooling2D(), (2, 6, 6, 3)),
    "batch normalization": (lambda: layers.BatchNormalization(), (8, 5)),
    "layer normalization": (lambda: layers.LayerNormalization(), (4, 9)),
    "attention": (lambda: _self_attention(layers.MultiHeadAttention(2, 4)), (2, 5, 6)),
    "gru": (lambda: layers.GRU(4), (2, 5, 3)),
    "lstm": (lambda: layers.LSTM(4, return_sequences=True), (2, 5, 3)),
    "softmax": (lambda: layers.Softmax(), (3, 7)),
    "prelu": (lambda: layers.PReLU(), (3, 7)),
    "rescaling": (lambda: layers.Rescaling(0.5, 1.0), (3, 7)),
    "shortcut": (lambda: _Shortcut(), (3, 7)),
}


class _Shortcut(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.sum = layers.Dense(7), layers.Add()

    def call(self, x):
        return self.sum([x, self.inner(x)])


def _self_attention(attention):
    class SelfAttention(layers.Layer):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def call(self, x):
            return self.attention(x, x, use_causal_mask=True)
    return SelfAttention()


@pytest.mark.slow(on="webgpu")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("backend, training", [
    ("reference", False), ("reference", True), ("webgpu", True)])
def test_float16_layers_agree_with_float32(name, backend, training, mixed):
    make, shape = LAYERS[name]
    tf.random.set_seed(3)
    x = tf.Variable(tf.random.Generator(5).normal(shape))
    layer = make()
    with on(backend):
        out, gradients = forward_and_backward(layer, x, training)
        assert layer.compute_output_shape((None, *shape[1:]))[1:] == out.shape[1:]
    assert out.dtype is tf.float16
    assert all(w.dtype is g.dtype is tf.float32
               for w, g in zip(layer.trainable_weights, gradients))
    for each in nested_layers(layer):
        each.dtype_policy = "float32"
    with on("wasm"):
        expected_out, expected_gradients = forward_and_backward(layer, x, training)
    assert expected_out.dtype is tf.float32
    for a, e in zip([out, *gradients], [expected_out, *expected_gradients]):
        np.testing.assert_allclose(a, e, rtol=0, atol=TOLERANCE * max(1, np.abs(e).max()))


def nested_layers(layer):
    yield layer
    for inner in layer._tracked(layers.Layer):
        yield from nested_layers(inner)


def forward_and_backward(layer, x, training):
    """Return (the output, the gradients of the weights and of the input)."""
    @tf.function
    def run():
        with tf.GradientTape() as tape:
            out = layer(x, training=training)
            total = tf.reduce_sum(tf.square(tf.cast(out, tf.float32)))
        return out, tape.gradient(total, [*layer.trainable_weights, x])

    layer(x)                                                  # builds the weights
    return run()


def test_an_embedding_has_float32_weights_and_exact_ids(float16_backend, mixed):
    layer = layers.Embedding(3001, 2)
    out = layer(np.array([[3000.0]]))
    assert out.dtype is tf.float16 and layer.embeddings.dtype is tf.float32
    np.testing.assert_allclose(out[0, 0], layer.embeddings[3000], atol=1e-4)


def test_nested_layers_have_separate_policies(float16_backend, mixed):
    model = Sequential([layers.Dense(4), layers.Dense(3, dtype="float32"), layers.Dense(2)])
    assert model(np.ones((1, 5), "float32")).dtype is tf.float16
    assert [layer.compute_dtype for layer in model.layers] == ["float16", "float32", "float16"]
    assert {w.dtype for w in model.weights} == {tf.float32}


def test_a_pure_float16_layer(float16_backend):
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


class AssigningLayer(layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight((2,), "ones", name="scale")
        self.total = self.add_weight((), "zeros", trainable=False, name="total")

    def call(self, x):
        product = tf.matmul(x, self.scale[:, None])
        self.read_dtypes = self.scale.dtype, (self.scale * 2.0).dtype, product.dtype
        self.total.assign_add(tf.reduce_sum(x) * 0.001)
        self.total.assign_sub(0.5)
        self.scale.assign(x[0])
        return x * self.scale


def test_weights_are_autocast_to_float16_inside_a_call(float16_backend, mixed):
    layer = AssigningLayer()
    out = layer(tf.constant([[0.1, 0.2], [3.0, 4.0]]))
    assert layer.read_dtypes == (tf.float16,) * 3 and out.dtype is tf.float16
    assert layer.total.dtype is layer.scale.dtype is tf.float32
    assert float(layer.total) == pytest.approx(0.0073 - 0.5, abs=2e-5)
    assert layer.scale.tolist() == np.array([0.1, 0.2], "float16").tolist()


def test_copied_weights_are_autocast_variables(mixed):
    layer = AssigningLayer()
    layer.build((None, 2))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(other.scale) is type(layer.scale) and other.scale.autocast
        assert other.scale.tolist() == [1.0, 1.0]


def test_losses_and_metrics_compute_in_float32(float16_backend):
    dtypes = []

    def cost(y_true, y_pred):
        dtypes.append((y_true.dtype, y_pred.dtype))
        return tf.reduce_mean(tf.square(y_pred - y_true), axis=-1)

    y, p = tf.ones((2, 3)), tf.constant(np.full((2, 3), 300.0, "float16"))
    assert float(losses.get(cost)(y, p)) == pytest.approx(299.0**2)
    metric = tf.keras.metrics.MeanMetricWrapper(cost)
    assert float(metric(y, p)) == pytest.approx(299.0**2)
    assert float(losses.MeanSquaredError()(y, p)) == pytest.approx(299.0**2)
    assert dtypes == [(tf.float32, tf.float32)] * 2


# ── loss scaling ──────────────────────────────────────────────────────────────────────────────


def apply_compiled(optimizer, w, gradient):
    """Apply a gradient of the scaled loss in a compiled step."""
    g = tf.constant(gradient)
    tf.function(lambda: optimizer.apply_gradients([(g * 1.0, w)]))()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_overflow_skips_the_step_and_halves_the_scale(bad, backend):
    w = tf.Variable([1.0, 2.0])
    optimizer = optimizers.LossScaleOptimizer(optimizers.Adam(0.1), initial_scale=8.0)
    apply_compiled(optimizer, w, [8.0, -8.0])
    np.testing.assert_allclose(w, [0.9, 2.1], atol=1e-6)
    before = [v.tolist() for v in (w, *optimizer.inner_optimizer.mutable_state)]
    assert (float(optimizer.dynamic_scale), int(optimizer.step_counter)) == (8.0, 1)
    apply_compiled(optimizer, w, [1.0, bad])
    assert [v.tolist() for v in (w, *optimizer.inner_optimizer.mutable_state)] == before
    assert (float(optimizer.dynamic_scale), int(optimizer.step_counter)) == (4.0, 0)
    assert int(optimizer.iterations) == 1


def test_the_scale_grows_after_dynamic_growth_steps(backend):
    w = tf.Variable([1.0])
    optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(1.0), 2.0, dynamic_growth_steps=3)
    states = []
    step = tf.function(lambda g: optimizer.apply_gradients([(g, w)]))
    for _ in range(4):
        step(tf.constant([0.5]))
        states.append((float(optimizer.dynamic_scale), int(optimizer.step_counter)))
    assert states == [(2.0, 1), (2.0, 2), (4.0, 0), (4.0, 1)]
    assert w.tolist() == [1.0 - 3 * 0.25 - 0.125]


@pytest.mark.parametrize("make", [
    lambda: optimizers.SGD(0.1, momentum=0.9), lambda: optimizers.Adam(0.1, amsgrad=True),
    lambda: optimizers.AdamW(0.1), lambda: optimizers.RMSprop(0.1, momentum=0.5, centered=True),
    lambda: optimizers.Adagrad(0.1), lambda: optimizers.Adadelta(0.1), lambda: optimizers.Lion(0.1),
    lambda: optimizers.Adamax(0.1), lambda: optimizers.Adam(0.1, clipnorm=0.5)])
def test_loss_scaling_changes_no_update(make, backend):
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


def test_compile_scales_the_loss_of_mixed_precision_models_only(mixed):
    def optimizer_name(dtype, **options):
        model = Sequential([layers.Dense(1, dtype=dtype)])
        model.dtype_policy = dtype
        model.compile("sgd", "mse", **options)
        return type(model.optimizer).__name__

    assert optimizer_name("mixed_float16") == "LossScaleOptimizer"
    assert optimizer_name("float32") == "SGD"
    assert optimizer_name("mixed_float16", auto_scale_loss=False) == "SGD"
    model, scaled = Sequential([layers.Dense(1)]), optimizers.LossScaleOptimizer(optimizers.SGD())
    model.compile(scaled, "mse")
    assert model.optimizer is scaled


def test_a_loss_scale_optimizer_delegates_to_its_inner_optimizer():
    optimizer = mixed_precision.LossScaleOptimizer(optimizers.SGD(0.5))
    optimizer.learning_rate = 0.25
    assert float(optimizer.inner_optimizer.learning_rate) == float(optimizer.learning_rate) == 0.25
    assert float(optimizer.scale_loss(2.0)) == 2.0**16 == float(optimizer.get_scaled_loss(2.0))
    assert [v.name for v in optimizer.variables] == [
        "step_counter", "dynamic_scale", "iteration", "learning_rate"]
    config = optimizer.get_config()
    assert config["inner_optimizer"]["class_name"] == "SGD" and config["initial_scale"] == 2.0**15
    other = type(optimizer).from_config(config)
    assert type(other.inner_optimizer) is optimizers.SGD and other.get_config() == config


def test_a_summary_counts_the_bytes_of_weights(float16_backend, mixed):
    lines = []
    Sequential([tf.keras.Input((3,)), layers.Dense(4, dtype="float16"), layers.Dense(2)]).summary(
        print_fn=lines.append)
    assert "Total params: 26 (72.00 B)" in "".join(lines)


ERRORS = [
    (lambda: optimizers.LossScaleOptimizer("adam"), "LossScaleOptimizer: inner_optimizer is 'ad"),
    (lambda: optimizers.LossScaleOptimizer(optimizers.SGD(), 0.0), "LossScaleOptimizer: initial_"),
    (lambda: optimizers.LossScaleOptimizer(optimizers.SGD(), name="s").get_unscaled_gradients([]),
     "s: apply_gradients divides the gradients by the scale"),
    (lambda: mixed_precision.set_global_policy("mixed_bfloat16"),
     "DTypePolicy: unknown policy 'mixed_bfloat16'; did you mean 'mixed_float16'?"),
]


@pytest.mark.parametrize("call, message", ERRORS)
def test_errors(call, message):
    assert_raises_message(call, message, tf.errors.OpError)


# ── training ──────────────────────────────────────────────────────────────────────────────────


def train(policy, make, epochs):
    """Return (the losses of training on the digits, the final accuracy)."""
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


@pytest.mark.slow(on="webgpu")
@pytest.mark.parametrize("name", NETWORKS)
def test_training_reaches_the_accuracy_of_float32(name, float16_backend, mixed):
    make, epochs = NETWORKS[name]
    with on("wasm"):
        expected_losses, expected_accuracy = train("float32", make, epochs)
    actual_losses, accuracy = train("mixed_float16", make, epochs)
    np.testing.assert_allclose(actual_losses, expected_losses, atol=0.05)
    assert accuracy >= expected_accuracy - 0.02 and expected_accuracy > 0.9


def test_an_overflowing_scale_is_halved_until_steps_succeed(float16_backend, mixed):
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
    counters = ("host_calls", "programs", "submits", "compiled", "pipelines")
    assert [after[name] - before[name] for name in counters] == [1, 1, 1, 0, 0]
