"""Layers for residual and mobile networks, sequences and images: shapes, values and errors."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import tensorbrook as tf
from assertions import assert_raises_message
from tensorbrook.keras import layers
from tensorbrook.keras.layers import (
    Add,
    Average,
    AveragePooling1D,
    Concatenate,
    Conv1D,
    Conv2DTranspose,
    Cropping2D,
    DepthwiseConv2D,
    ELU,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Identity,
    Maximum,
    MaxPooling1D,
    Minimum,
    Multiply,
    Permute,
    PReLU,
    RepeatVector,
    Rescaling,
    SeparableConv2D,
    SpatialDropout1D,
    SpatialDropout2D,
    Subtract,
    UpSampling2D,
    ZeroPadding2D,
)

pytestmark = pytest.mark.usefixtures("fresh_session")

# layer, input shape, output shape, parameters
TABLE = [
    (lambda: DepthwiseConv2D(3), (None, 8, 8, 4), (None, 6, 6, 4), 40),
    (lambda: DepthwiseConv2D((3, 2), strides=2, padding="same", depth_multiplier=2, use_bias=False),
     (None, 7, 8, 3), (None, 4, 4, 6), 36),
    (lambda: DepthwiseConv2D(3, dilation_rate=2), (None, None, None, 4), (None, None, None, 4), 40),
    (lambda: SeparableConv2D(5, 3), (None, 8, 8, 4), (None, 6, 6, 5), 36 + 20 + 5),
    (lambda: SeparableConv2D(2, 3, depth_multiplier=2, padding="same", strides=(2, 2)),
     (None, 7, 7, 3), (None, 4, 4, 2), 54 + 12 + 2),
    (lambda: Conv2DTranspose(5, 3), (None, 4, 6, 2), (None, 6, 8, 5), 95),
    (lambda: Conv2DTranspose(5, 3, 2, "same"), (None, 4, 6, 2), (None, 8, 12, 5), 95),
    (lambda: Conv2DTranspose(1, 2, 3, use_bias=False), (None, 4, 4, 2), (None, 12, 12, 1), 8),
    (lambda: ZeroPadding2D(), (None, 4, 5, 3), (None, 6, 7, 3), 0),
    (lambda: ZeroPadding2D((1, 2)), (None, None, 5, 3), (None, None, 9, 3), 0),
    (lambda: ZeroPadding2D(((0, 1), (2, 0))), (None, 4, 5, 3), (None, 5, 7, 3), 0),
    (lambda: Cropping2D(((1, 0), (0, 2))), (None, 4, 5, 3), (None, 3, 3, 3), 0),
    (lambda: UpSampling2D((2, 3)), (None, 4, 5, 3), (None, 8, 15, 3), 0),
    (lambda: Conv1D(5, 3), (None, 8, 4), (None, 6, 5), 65),
    (lambda: Conv1D(6, 3, padding="causal", dilation_rate=2), (None, 8, 4), (None, 8, 6), 78),
    (lambda: Conv1D(6, 3, padding="same", strides=2, groups=2), (None, 7, 4), (None, 4, 6), 42),
    (lambda: MaxPooling1D(), (None, 7, 4), (None, 3, 4), 0),
    (lambda: AveragePooling1D(3, strides=2, padding="same"), (None, 7, 4), (None, 4, 4), 0),
    (lambda: GlobalAveragePooling1D(), (None, 7, 4), (None, 4), 0),
    (lambda: GlobalMaxPooling1D(keepdims=True), (None, None, 4), (None, 1, 4), 0),
    (lambda: Permute((3, 1, 2)), (None, 2, 3, 4), (None, 4, 2, 3), 0),
    (lambda: RepeatVector(3), (None, 5), (None, 3, 5), 0),
    (lambda: Identity(), (None, 5), (None, 5), 0),
    (lambda: ELU(), (None, 5), (None, 5), 0),
    (lambda: PReLU(), (None, 4, 5), (None, 4, 5), 20),
    (lambda: PReLU(shared_axes=[1, 2]), (None, 4, 5, 3), (None, 4, 5, 3), 3),
    (lambda: Rescaling(0.5, offset=1.0), (None, 5), (None, 5), 0),
    (lambda: SpatialDropout1D(0.5), (None, 5, 2), (None, 5, 2), 0),
    (lambda: SpatialDropout2D(0.5), (None, 5, 5, 2), (None, 5, 5, 2), 0),
    (lambda: GaussianNoise(0.5), (None, 5), (None, 5), 0),
]


def normal(*shape, seed=5):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def assert_close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make, shape, out, parameters", TABLE)
def test_shapes_parameters_and_config(make, shape, out, parameters):
    layer = make()
    assert layer.compute_output_shape(shape) == out
    other = type(layer).from_config(layer.get_config())
    assert other.get_config() == layer.get_config()
    assert other.compute_output_shape(shape) == out
    for each in (make(), layer):
        y = each(normal(2, *(n or 9 for n in shape[1:])), training=True)
        assert [n for n, k in zip(y.shape[1:], out[1:]) if k not in (None, n)] == []
    assert layer.count_params() == parameters


# ── convolutions ──────────────────────────────────────────────────────────────────────────────


def convolve(x, w, strides=(1, 1), padding="VALID", groups=1, dilation=(1, 1)):
    return lax.conv_general_dilated(
        x, w, strides, padding, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("multiplier, stride", [(1, 1), (2, 2), (3, 1)])
def test_depthwise_and_separable(multiplier, stride, padding):
    x = normal(2, 7, 6, 3)
    layer = DepthwiseConv2D(3, stride, padding, multiplier, activation="relu",
                            bias_initializer="ones")
    layer.build(x.shape)
    kernel, bias = layer.get_weights()
    grouped_kernel = kernel.reshape(3, 3, 1, 3 * multiplier)
    depthwise = convolve(x, grouped_kernel, (stride, stride), padding.upper(), 3)
    assert_close(layer(x), jnp.maximum(depthwise + bias, 0))
    separable = SeparableConv2D(4, 3, stride, padding, depth_multiplier=multiplier)
    separable.build(x.shape)
    separable.set_weights([kernel, normal(1, 1, 3 * multiplier, 4), normal(4)])
    assert_close(separable(x), convolve(depthwise, normal(1, 1, 3 * multiplier, 4)) + normal(4))


@pytest.mark.parametrize("padding, stride", [("valid", 1), ("valid", 2), ("same", 2), ("same", 1)])
def test_a_transposed_convolution_is_the_gradient_of_one(padding, stride):
    x = normal(2, 3, 4, 5)
    layer = Conv2DTranspose(2, 3, stride, padding)
    y = layer(x)
    kernel, _ = layer.get_weights()
    expected = lax.conv_transpose(
        x, kernel, (stride, stride), padding.upper(), transpose_kernel=True,
        dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert_close(y, expected)


def test_conv1d():
    x, layer = normal(2, 9, 4), Conv1D(3, 2, padding="causal", dilation_rate=3)
    layer.build(x.shape)
    kernel, bias = layer.get_weights()
    padded = np.pad(x, ((0, 0), (3, 0), (0, 0)))
    assert_close(layer(x), padded[:, :9] @ kernel[0] + padded[:, 3:] @ kernel[1] + bias)
    strided = Conv1D(3, 2, strides=2, activation="tanh")
    strided.build(x.shape)
    strided.set_weights([kernel, normal(3)])
    assert_close(strided(x), np.tanh(x[:, 0:8:2] @ kernel[0] + x[:, 1:9:2] @ kernel[1] + normal(3)))


def test_pooling_1d():
    x = normal(2, 6, 3)
    windows = x.reshape(2, 3, 2, 3)
    assert_close(MaxPooling1D()(x), windows.max(2))
    assert_close(AveragePooling1D()(x), windows.mean(2))
    assert_close(GlobalMaxPooling1D()(x), x.max(1))
    assert_close(GlobalAveragePooling1D()(x), x.mean(1))


# ── padding, reshaping, elementwise layers and noise ──────────────────────────────────────────


def test_padding_and_reshaping():
    x = normal(2, 3, 4, 2)
    padded = ZeroPadding2D(((0, 1), (2, 0)))(x)
    assert_close(padded, np.pad(x, ((0, 0), (0, 1), (2, 0), (0, 0))))
    assert_close(Cropping2D(((0, 1), (2, 0)))(padded), x)
    assert_close(UpSampling2D((2, 3))(x), x.repeat(2, 1).repeat(3, 2))
    assert_close(Permute((3, 1, 2))(x), x.transpose(0, 3, 1, 2))
    assert_close(RepeatVector(3)(x[:, 0, 0]), np.stack([x[:, 0, 0]] * 3, 1))


def test_elementwise_layers():
    x = np.array([[-2.0, 0.0, 3.0]], "float32")
    assert_close(ELU(0.5)(x), [[0.5 * np.expm1(-2), 0, 3]])
    assert_close(PReLU(alpha_initializer=tf.keras.initializers.Constant(0.25))(x), [[-0.5, 0, 3]])
    assert_close(Rescaling(1 / 255)(np.array([[0, 51, 255]], "uint8")), [[0, 0.2, 1]])
    assert_close(Rescaling(2.0, -1.0)(x), [[-5, -1, 5]])


def test_noise_acts_in_training_only():
    x = np.ones((4, 50, 8), "float32")
    dropped = SpatialDropout1D(0.5)(x, training=True).numpy()
    assert set(np.unique(dropped)) == {0.0, 2.0} and not dropped.std(axis=1).any()
    images = SpatialDropout2D(0.5)(x[:, None], training=True).numpy()
    assert set(np.unique(images)) == {0.0, 2.0} and not images.std(axis=(1, 2)).any()
    noisy = GaussianNoise(0.5, seed=1)(x, training=True).numpy()
    assert abs(noisy.mean() - 1) < 0.05 and abs(noisy.std() - 0.5) < 0.05
    for layer in (SpatialDropout1D(0.5), GaussianNoise(0.5)):
        np.testing.assert_array_equal(layer(x), x)


# ── merging ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("layer, function, reference", [
    (Add(), layers.add, lambda x, y: x + y), (Subtract(), layers.subtract, lambda x, y: x - y),
    (Multiply(), layers.multiply, lambda x, y: x * y),
    (Average(), layers.average, lambda x, y: (x + y) / 2),
    (Maximum(), layers.maximum, np.maximum), (Minimum(), layers.minimum, np.minimum),
    (Concatenate(), layers.concatenate, lambda x, y: np.concatenate([x, y], -1))])
def test_merging(layer, function, reference):
    x, y = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    assert_close(layer([x, y]), reference(x, y))
    assert_close(function([tf.constant(x), tf.constant(y)]), reference(x, y))
    if not isinstance(layer, Concatenate):
        assert_close(layer([x, y[:, :1]]), reference(x, y[:, :1]))
        assert layer.compute_output_shape([(None, 3, 4), (None, 1, 4)]) == (None, 3, 4)
    if not isinstance(layer, Subtract):
        is_average = isinstance(layer, Average)
        expected = (x + y + x) / 3 if is_average else reference(reference(x, y), x)
        assert_close(layer([x, y, x]), expected)


def test_concatenate_shapes():
    assert Concatenate(1).compute_output_shape([(None, 3, 4), (None, 5, 4)]) == (None, 8, 4)
    assert Concatenate().compute_output_shape([(None, None), (None, 5)]) == (None, None)
    assert_close(Concatenate(axis=1)([normal(2, 3), normal(2, 1)]),
          np.concatenate([normal(2, 3), normal(2, 1)], 1))


def test_a_residual_block_learns():
    """The block of MobileNetV2: a shortcut around normalized convolutions."""
    class Block(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.expand = layers.Conv2D(8, 1, use_bias=False)
            self.depthwise = DepthwiseConv2D(3, padding="same", use_bias=False)
            self.project = layers.Conv2D(4, 1, use_bias=False)
            self.norms = [layers.BatchNormalization(momentum=0.5) for _ in range(3)]
            self.relu6, self.add = layers.ReLU(max_value=6.0), Add()
            self.pool, self.out = layers.GlobalAveragePooling2D(), layers.Dense(2)

        def call(self, x, training=False):
            y = self.relu6(self.norms[0](self.expand(x)))
            y = self.relu6(self.norms[1](self.depthwise(y)))
            y = self.add([x, self.norms[2](self.project(y))])
            return self.out(self.pool(y))

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 64).astype("int32")
    x = rng.normal(size=(64, 6, 6, 4)).astype("float32")
    x[labels == 1] = x[labels == 1].cumsum(1)
    model = Block()
    model.compile(tf.keras.optimizers.Adam(0.01),
                  tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    model.fit(x, labels, batch_size=32, epochs=25, verbose=0)
    assert model.evaluate(x, labels, verbose=0)[1] > 0.85


ERRORS = [
    (lambda: Add()(np.ones((2, 3), "float32")),
     "Add add: the input is one tensor of shape (2, 3); it must be a list of at least 2 "
     "tensors, such as [x, y]"),
    (lambda: Add()([tf.ones((2, 3))]),
     "Add add: the input is a list of 1; it must be a list of at least 2 tensors, such as [x, "
     "y]"),
    (lambda: Add()([tf.ones((2, 3)), tf.ones((2, 4))]),
     "Add add: the inputs have shapes (2, 3), (2, 4); along each axis the sizes must be "
     "equal or 1"),
    (lambda: Add()([tf.ones((2, 3)), tf.ones((3,))]),
     "Add add: the inputs have shapes (2, 3), (3,); they must have the same rank"),
    (lambda: Subtract()([tf.ones(2)] * 3),
     "Subtract subtract: the input is a list of 3; it must be two tensors: [x, y]"),
    (lambda: Concatenate()([tf.ones((2, 3)), tf.ones((3, 3))]),
     "Concatenate concatenate: the inputs have shapes (2, 3), (3, 3); they may differ along axis "
     "-1 only"),
    (lambda: ZeroPadding2D("same"),
     "ZeroPadding2D zero_padding2d: padding is 'same'; it must be an integer, a pair, or "
     "((top, bottom), (left, right))"),
    (lambda: ZeroPadding2D(-1),
     "ZeroPadding2D zero_padding2d: padding is -1; it must be an integer of at least 0"),
    (lambda: Cropping2D(2)(tf.ones((1, 4, 5, 1))),
     "Cropping2D cropping2d: the input has shape (1, 4, 5, 1), cropping is ((2, 2), (2, 2)), "
     "and no pixel remains; crop less"),
    (lambda: DepthwiseConv2D(9)(tf.ones((1, 4, 5, 1))),
     "DepthwiseConv2D depthwise_conv2d: a window of 9 x 9 does not fit into an input of 4 x 5;"),
    (lambda: Conv1D(3, 9)(tf.ones((1, 4, 5))),
     "Conv1D conv1d: a window of 9 steps does not fit into 4 steps; use padding=\"same\", a "
      "smaller "
     "window, or a longer input"),
    (lambda: Conv1D(3, 2)(tf.ones((4, 5))),
     "Conv1D conv1d: the input has shape (4, 5); it must be (batch, steps, channels); add an axis "
     "for a single channel with x[..., None]"),
    (lambda: Permute((1, 3)), "Permute permute: dims is (1, 3); it must be a permutation"),
    (lambda: GaussianNoise(-1),
     "GaussianNoise gaussian_noise: stddev is -1; it must be a positive number"),
    (lambda: tf.nn.conv2d_transpose(tf.ones((1, 3, 3, 2)), tf.ones((3, 3, 4, 2)), (1, 9, 9, 4), 2),
     "conv2d_transpose: a convolution of output_shape (1, 9, 9, 4) has size (5, 5), but the input "
     "has size (3, 3); choose an output_shape that matches strides (2, 2)"),
]


@pytest.mark.parametrize("call, message", ERRORS)
def test_errors(call, message):
    assert_raises_message(call, message)
