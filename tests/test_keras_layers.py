"""Layers: shapes, parameters, values, names and weights."""

import numpy as np
import pytest

import tensorbrook as tf
from tensorbrook.keras import Sequential, initializers, layers
from tensorbrook.keras.layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    LeakyReLU,
    MaxPooling2D,
    ReLU,
    Reshape,
    Softmax,
)

pytestmark = pytest.mark.usefixtures("fresh_session")

# layer, input shape, output shape, parameters
TABLE = [
    (lambda: Dense(5), (None, 3), (None, 5), 20),
    (lambda: Dense(5, use_bias=False), (None, 7, 3), (None, 7, 5), 15),
    (lambda: Conv2D(16, 3), (None, 8, 8, 1), (None, 6, 6, 16), 160),
    (lambda: Conv2D(16, 3, padding="same"), (None, 8, 8, 4), (None, 8, 8, 16), 592),
    (lambda: Conv2D(8, (3, 2), strides=(2, 1)), (None, 9, 7, 2), (None, 4, 6, 8), 104),
    (lambda: Conv2D(4, 3, dilation_rate=2), (None, 9, 9, 1), (None, 5, 5, 4), 40),
    (lambda: Conv2D(6, 3, strides=2, padding="same"), (None, 7, 7, 3), (None, 4, 4, 6), 168),
    (lambda: Conv2D(6, 3, groups=3, use_bias=False), (None, 5, 5, 3), (None, 3, 3, 6), 54),
    (lambda: Conv2D(2, 1), (None, None, None, 3), (None, None, None, 2), 8),
    (lambda: MaxPooling2D(), (None, 8, 8, 3), (None, 4, 4, 3), 0),
    (lambda: MaxPooling2D(3, strides=2, padding="same"), (None, 7, 7, 3), (None, 4, 4, 3), 0),
    (lambda: AveragePooling2D((2, 3)), (None, 7, 7, 3), (None, 3, 2, 3), 0),
    (lambda: GlobalAveragePooling2D(), (None, 7, 7, 3), (None, 3), 0),
    (lambda: GlobalMaxPooling2D(keepdims=True), (None, 7, 7, 3), (None, 1, 1, 3), 0),
    (lambda: Flatten(), (None, 4, 4, 3), (None, 48), 0),
    (lambda: Reshape((4, -1)), (None, 12), (None, 4, 3), 0),
    (lambda: Dropout(0.5), (None, 12), (None, 12), 0),
    (lambda: Activation("relu"), (None, 12), (None, 12), 0),
    (lambda: ReLU(), (None, 2, 3), (None, 2, 3), 0),
    (lambda: Softmax(), (None, 3), (None, 3), 0),
]


def images(*shape):
    return np.random.default_rng(5).normal(size=shape).astype("float32")


@pytest.mark.parametrize("make, shape, out, parameters", TABLE)
def test_shapes_and_parameters(make, shape, out, parameters):
    layer = make()
    assert layer.compute_output_shape(shape) == out
    assert not layer.weights
    x = images(2, *(n or 6 for n in shape[1:]))
    y = layer(x)
    assert [n for n, k in zip(y.shape[1:], out[1:]) if k is not None and n != k] == []
    assert layer.count_params() == parameters


@pytest.mark.parametrize("make, shape, out, parameters", TABLE)
def test_a_layer_is_restored_from_its_config(make, shape, out, parameters):
    layer = make()
    other = type(layer).from_config(layer.get_config())
    assert other.name == layer.name
    assert other.compute_output_shape(shape) == out
    assert other.get_config() == layer.get_config()


def test_dense_is_a_matmul():
    layer, x = Dense(4, activation="tanh", bias_initializer="ones"), images(5, 3)
    y = layer(x)
    kernel, bias = layer.get_weights()
    np.testing.assert_allclose(y.numpy(), np.tanh(x @ kernel + bias), rtol=1e-5, atol=1e-6)
    assert (kernel.shape, bias.tolist()) == ((3, 4), [1.0] * 4)


def test_conv2d_values():
    layer = Conv2D(3, 2, strides=2, bias_initializer=initializers.Constant(0.5))
    x = images(2, 4, 4, 2)
    kernel = layer(x) is not None and layer.get_weights()[0]
    expected = np.zeros((2, 2, 2, 3))
    for i in range(2):
        for j in range(2):
            window = x[:, 2 * i:2 * i + 2, 2 * j:2 * j + 2, :]
            expected[:, i, j] = np.tensordot(window, kernel, 3) + 0.5
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_pooling_values():
    x = images(1, 4, 4, 1)
    windows = x.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(1, 2, 2, 1, 4)
    np.testing.assert_allclose(MaxPooling2D()(x).numpy(), windows.max(-1))
    np.testing.assert_allclose(AveragePooling2D()(x).numpy(), windows.mean(-1), rtol=1e-5,
                               atol=1e-6)
    np.testing.assert_allclose(GlobalMaxPooling2D()(x).numpy(), x.max((1, 2)))


@pytest.mark.parametrize("layer, expected", [
    (ReLU(), [0.0, 0.0, 0.5, 8.0]),
    (ReLU(max_value=6.0, negative_slope=0.5), [-1.0, 0.0, 0.5, 6.0]),
    (ReLU(threshold=1.0), [0.0, 0.0, 0.0, 8.0]),
    (LeakyReLU(), [-0.6, 0.0, 0.5, 8.0]),
    (Activation("linear"), [-2.0, 0.0, 0.5, 8.0]),
    (Activation("elu"), [np.expm1(-2.0), 0.0, 0.5, 8.0]),
    (Activation("softsign"), [-2 / 3, 0.0, 1 / 3, 8 / 9]),
    (Activation("hard_sigmoid"), [1 / 6, 0.5, 0.5 + 1 / 12, 1.0]),
    (Activation("swish"), [x / (1 + np.exp(-x)) for x in (-2.0, 0.0, 0.5, 8.0)]),
    (Activation("selu"), [1.0507009873554805 * v for v in
                          (1.6732632423543772 * np.expm1(-2.0), 0.0, 0.5, 8.0)]),
])
def test_activation_values(layer, expected):
    out = layer(np.array([[-2.0, 0.0, 0.5, 8.0]], "float32"))
    np.testing.assert_allclose(out.numpy()[0], expected, rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_only():
    layer, x = Dropout(0.25), np.ones((100, 100), "float32")
    np.testing.assert_array_equal(layer(x).numpy(), x)
    dropped = layer(x, training=True).numpy()
    assert set(np.unique(dropped)) == {np.float32(0.0), np.float32(1 / 0.75)}
    assert abs(dropped.mean() - 1.0) < 0.03
    assert (layer(x, training=True).numpy() != dropped).any()
    assert not Dropout(0.5, noise_shape=(None, 1))(x, training=True).numpy().std(axis=1).any()


def test_training_is_passed_to_nested_layers():
    inner = Sequential([Dropout(0.5)])
    outer = Sequential([inner])
    x = np.ones((8, 8), "float32")
    assert (outer(x, training=True).numpy() == 0).any()
    assert (outer(x).numpy() == 1).all()


def test_layers_convert_inputs_of_every_dtype():
    layer = Dense(2, kernel_initializer="ones")
    array = np.arange(6).reshape(2, 3)
    arrays = [array.astype(dtype) for dtype in ("float64", "float16", "uint8", "int64")]
    for x in (*arrays, array.tolist(), tf.constant(array.tolist())):
        assert layer(x).tolist() == [[3.0, 3.0], [12.0, 12.0]]


def test_default_names_are_numbered():
    unnamed = [Dense(1), Dense(1), Conv2D(1, 1), MaxPooling2D(), Dense(1)]
    assert [layer.name for layer in unnamed] == [
        "dense", "dense_1", "conv2d", "max_pooling2d", "dense_2"]
    assert Dense(1, name="out").name == "out"
    tf.keras.utils.clear_session()
    assert Dense(1).name == "dense"


def test_a_custom_layer():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
            self.unused = self.add_weight((), "zeros", trainable=False)

        def call(self, x):
            return tf.reshape(x * self.factor, (-1, 2))

    model = Sequential([tf.keras.Input((4,)), Scale(), Dense(3)])
    assert model.layers[0].factor.name == "factor"
    assert [tuple(w.shape) for w in model.weights] == [(4,), (), (2, 3), (3,)]
    assert len(model.trainable_weights) == 3
    assert len(model.non_trainable_weights) == 1


def test_a_frozen_layer_has_no_trainable_weights():
    model = Sequential([tf.keras.Input((4,)), Dense(3), Dense(2)])
    model.layers[0].trainable = False
    assert [w.name for w in model.trainable_weights] == ["kernel", "bias"]
    assert len(model.weights) == 4
    model.trainable = False
    assert model.trainable_weights == []


def test_get_and_set_weights():
    layer, x = Dense(2), images(3, 4)
    layer.build((None, 4))
    layer.set_weights([np.ones((4, 2)), [1, 2]])
    np.testing.assert_allclose(layer(x).numpy(), x.sum(1, keepdims=True) + [1, 2], rtol=1e-5)
    other = Dense(2)
    other.build((None, 4))
    other.set_weights(layer.get_weights())
    np.testing.assert_array_equal(other(x).numpy(), layer(x).numpy())


def test_get_weights_of_an_assigned_variable_is_an_error_while_tracing():
    layer = Dense(1)
    layer.build((None, 1))

    @tf.function
    def weights():
        layer.bias.assign_add([5.0])
        return layer.get_weights()

    with pytest.raises(tf.errors.FailedPreconditionError, match="is a symbolic tensor"):
        weights()


DISTRIBUTIONS = {  # name: (standard deviation, maximum magnitude) for shape (3, 3, 40, 50)
    "glorot_uniform": (np.sqrt(2 / 810), np.sqrt(6 / 810)),
    "glorot_normal": (np.sqrt(2 / 810), 2 * np.sqrt(2 / 810) / 0.8796),
    "he_uniform": (np.sqrt(2 / 360), np.sqrt(6 / 360)),
    "he_normal": (np.sqrt(2 / 360), 2 * np.sqrt(2 / 360) / 0.8796),
    "lecun_uniform": (np.sqrt(1 / 360), np.sqrt(3 / 360)),
    "lecun_normal": (np.sqrt(1 / 360), 2 * np.sqrt(1 / 360) / 0.8796),
    "random_uniform": (0.1 / np.sqrt(12), 0.05),
    "random_normal": (0.05, 1.0),
    "truncated_normal": (0.05 * 0.8796, 0.1),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_initializers_have_the_expected_distribution(name):
    value = initializers.get(name)((3, 3, 40, 50)).numpy()
    deviation, limit = DISTRIBUTIONS[name]
    assert abs(value.std() / deviation - 1) < 0.02
    assert abs(value).max() <= limit * 1.0001
    assert abs(value.mean()) < deviation / 50


def test_initializers_with_a_seed_are_deterministic():
    seeded, other = initializers.HeNormal(seed=4), initializers.HeNormal()
    assert (seeded((5, 5)).numpy() == seeded((5, 5)).numpy()).all()
    assert (other((5, 5)).numpy() != other((5, 5)).numpy()).any()
    assert initializers.get("zeros")((2,)).tolist() == [0.0, 0.0]
    assert initializers.get(initializers.Constant(2))((2,)).tolist() == [2.0, 2.0]


def test_sequential_add_and_pop():
    model = Sequential([tf.keras.Input((6,)), Dense(4)])
    assert (model.input_shape, model.output_shape) == ((None, 6), (None, 4))
    model.add(Dense(3))
    assert (model.output_shape, model.count_params()) == ((None, 3), 28 + 15)
    assert model.pop().units == 3
    assert model.output_shape == (None, 4)
    assert model.get_layer("dense") is model.layers[0] is model.get_layer(index=0)


def test_sequential_without_an_input_is_built_by_the_first_call():
    model = Sequential([Dense(4), Dense(2)])
    assert model.weights == []
    assert model(images(3, 5)).shape == (3, 2)
    assert model.count_params() == 34
    assert Sequential([Dense(2, input_shape=(3,))]).count_params() == 8


SUMMARY = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape            ┃        Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━┩
│ conv2d (Conv2D)                 │ (None, 6, 6, 16)        │            160 │
├─────────────────────────────────┼─────────────────────────┼────────────────┤
│ flatten (Flatten)               │ (None, 576)             │              0 │
├─────────────────────────────────┼─────────────────────────┼────────────────┤
│ dense (Dense)                   │ (None, 10)              │          5,770 │
└─────────────────────────────────┴─────────────────────────┴────────────────┘
 Total params: 5,930 (23.16 KB)
 Trainable params: 5,930 (23.16 KB)
 Non-trainable params: 0 (0.00 B)"""


def test_summary():
    printed = []
    model = Sequential([tf.keras.Input((8, 8, 1)), Conv2D(16, 3), Flatten(), Dense(10)])
    model.summary(print_fn=printed.append)
    assert printed == [SUMMARY]
