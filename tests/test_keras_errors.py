"""Error messages: one sentence that names the layer, the values and a hint."""

import numpy as np
import pytest

import tensorbrook as tf
from tensorbrook.keras import (
    Model,
    Sequential,
    callbacks,
    layers,
    losses,
    metrics,
    optimizers,
    utils,
)

X, Y = np.zeros((8, 4), "float32"), np.zeros(8, "int32")


@pytest.fixture(autouse=True)
def reset_names():
    tf.keras.utils.clear_session()


def model(*layers_after, loss="mse", **arguments):
    compiled = Sequential([tf.keras.Input((4,)), *(layers_after or [layers.Dense(3)])])
    compiled.compile("sgd", loss, **arguments)
    return compiled


def sparse_classifier():
    return model(loss=losses.SparseCategoricalCrossentropy(True))


def uncompiled():
    return Sequential([layers.Dense(3)])


class StopGradient(layers.Layer):
    def call(self, x):
        return tf.stop_gradient(x)


LAYERS = [
    (lambda: layers.Dense(3, activaton="relu"),
     "Dense: unknown argument 'activaton'; did you mean activation? the arguments are units, "
     "activation, use_bias, kernel_initializer, bias_initializer, name, trainable, dtype, "),
    (lambda: layers.Dense(0), "Dense dense: units is 0; it must be an integer of at least 1"),
    (lambda: layers.Dense(2.5), "Dense dense: units is 2.5; it must be an integer"),
    (lambda: layers.Dense(3, activation="rleu"),
     "activation: unknown activation 'rleu'; did you mean 'relu'? use one of elu, "),
    (lambda: layers.Dense(3, kernel_initializer="glorot"),
     "initializer: unknown initializer 'glorot'; "),
    (lambda: layers.Dense(3, dtype="float17"), "DTypePolicy: unknown policy 'float17'; did you "
     "mean 'float16'? use one of float16, float32, mixed_float16"),
    (lambda: layers.Dropout(1), "Dropout dropout: rate is 1; it must be a number in [0, 1)"),
    (lambda: layers.Conv2D(4, (3, 3, 3)), "Conv2D conv2d: kernel_size is (3, 3, 3); it must be "),
    (lambda: layers.Conv2D(4, 3, strides=0), "Conv2D conv2d: strides is 0; it must be an integer "),
    (lambda: layers.Conv2D(4, 3, padding="full"),
     "Conv2D conv2d: padding is 'full'; it must be 'valid' or 'same'"),
    (lambda: layers.Conv2D(4, 3, groups=3), "Conv2D conv2d: 4 filters do not divide into 3 "),
    (lambda: layers.Conv2D(4, 3, data_format="channels_first"),
     "Conv2D conv2d: data_format is 'channels_first'; it must be 'channels_last'"),
    (lambda: layers.Conv2D(4, 3)(np.zeros((8, 8, 1))),
     "Conv2D conv2d: the input has shape (8, 8, 1); it must be (batch, height, width, channels); "),
    (lambda: layers.Conv2D(4, 5)(np.zeros((1, 4, 4, 1))),
     "Conv2D conv2d: a window of 5 x 5 does not fit into an input of 4 x 4; use "),
    (lambda: layers.Conv2D(4, 3, groups=2)(np.zeros((1, 4, 4, 3))),
     "Conv2D conv2d: the input has shape (None, 4, 4, 3), and groups is 2; the channels must be "),
    (lambda: layers.MaxPooling2D(9).compute_output_shape((None, 8, 8, 1)),
     "MaxPooling2D max_pooling2d: a window of 9 x 9 does not fit into an input of 8 x 8; "),
    (lambda: layers.Dense(3)(np.zeros(5)), "Dense dense: the input has shape (5,); it must be "),
    (lambda: model().layers[0](np.zeros((2, 5))),
     "Dense dense: the input has shape (2, 5); the layer was built for 4 features in the last "
     "axis"),
    (lambda: layers.Reshape((3, 5))(np.zeros((2, 14))),
     "Reshape reshape: the input of shape (2, 14) has 14 elements for each sample, which do not "
     "fill (3, 5); the product of the sizes must be 14"),
    (lambda: layers.Dense(3)(layers.Input((4,))), "Dense dense: it was called on tf.keras.Input; "),
    (lambda: layers.Dense(3).count_params(), "Dense dense: its weights are not created yet; "),
    (lambda: layers.Dense(2**31)(np.zeros((1, 8))),
     "Dense dense: kernel of shape (8, 2147483648) needs 64.00 GB; use fewer units or filters, "),
    (lambda: model().set_weights([np.zeros((4, 3))]),
     "1 arrays were passed for 2 weights; pass one "),
    (lambda: model().set_weights([np.zeros((4, 2)), np.zeros(3)]),
     "kernel has shape (4, 3), its array (4, 2); the shapes must be equal"),
    (lambda: layers.Input(8), "Input: shape is 8; use a tuple: (8,)"),
    (lambda: layers.Input((0, 2)), "Input: each size of shape is 0; it must be an integer of at "),
]

MODELS = [
    (lambda: Sequential([layers.Dense(3), "relu"]), "Sequential sequential: 'relu' is not a "),
    (lambda: Sequential([layers.Dense(3, name="a"), layers.Dense(3, name="a")]),
     "Sequential sequential: there is already a layer a; give each layer a unique name"),
    (lambda: Sequential([layers.Dense(3), layers.Input((3,))]),
     "Sequential sequential: Input comes after other layers; pass one Input, as the first"),
    (lambda: model()(np.zeros((2, 5))),
     "Sequential sequential: the input has shape (2, 5); the model was built for (None, 4), "
     "where "),
    (lambda: Sequential([layers.Dense(3)]).output_shape, "Sequential sequential: the model is "),
    (lambda: Model(inputs=1, outputs=2), "Model: models of inputs and outputs are not supported; "),
    (lambda: model().get_layer("out"), "unknown layer 'out'; the layers are dense"),
]

TRAINING = [
    (lambda: uncompiled().fit(X, Y), "fit: sequential is not compiled; call "),
    (lambda: uncompiled().train_on_batch(X, Y), "train_on_batch: sequential is not compiled; "),
    (lambda: uncompiled().evaluate(X, Y), "evaluate: sequential is not compiled; call "),
    (lambda: uncompiled().compile("adem"),
     "compile: unknown optimizer 'adem'; did you mean 'adam'? use one of adadelta, adagrad, "),
    (lambda: uncompiled().compile("adam", "crossentropy"), "compile: unknown loss "),
    (lambda: uncompiled().compile("adam", "mse", metrics=["acuracy"]),
     "compile: unknown metric 'acuracy'; did you mean 'accuracy'? use one of "),
    (lambda: uncompiled().compile("adam", "mse", metrics="accuracy"),
     "compile: metrics is 'accuracy'; it must be a list, such as metrics=[\"accuracy\"]"),
    (lambda: uncompiled().compile("adam", "mse", metric=["mae"]),
     "compile: unknown argument 'metric'; the arguments are optimizer, loss, metrics and "
     "run_eagerly"),
    (lambda: optimizers.Adam(lr=0.1),
     "Adam: unknown argument 'lr'; the arguments are learning_rate, beta_1, beta_2, epsilon, "),
    (lambda: optimizers.SGD(-1), "SGD: learning_rate is -1; it must be a number of at least 0"),
    (lambda: optimizers.SGD("fast"), "SGD: learning_rate is 'fast'; it must be a number of "),
    (lambda: model().fit(X, X[:5, :3]),
     "fit: the numbers of samples differ: x has 8 and y has 5; pass the same number of samples in "
     "each"),
    (lambda: model().fit(X[:0], X[:0, :3]), "fit: x is empty, with shape (0, 4); pass at least "),
    (lambda: model().fit(None, X), "fit: x is None; pass the samples as x and the targets as y"),
    (lambda: model().fit(X), "fit: the loss mean_squared_error needs y, which is None; pass the "),
    (lambda: model(loss=None).fit(X, X), "fit: sequential was compiled without a loss; pass "),
    (lambda: model().fit(iter([X]), X), "fit: x is a list_iterator; pass arrays, or call "),
    (lambda: model().fit(3.0, X),
     "fit: x is a scalar, 3.0; its first axis must be the batch of samples"),
    (lambda: model().fit(X, X[:, :3], batch_size=2.5),
     "fit: batch_size is 2.5; it must be an integer "),
    (lambda: model().fit(X, X[:, :3], validation_split=1.0),
     "fit: validation_split is 1.0; it must be a number in [0, 1)"),
    (lambda: model().fit(X[:2], X[:2, :3], validation_split=0.9),
     "fit: validation_split 0.9 of 2 samples leaves no training samples; use a smaller "
     "fraction"),
    (lambda: model().fit(X, X[:, :3], validation_data=X),
     "fit: validation_data is not a pair; pass validation_data=(x_test, y_test)"),
    (lambda: model().fit(X, X[:, :3], callbacks=["stop"], verbose=0), "fit: 'stop' is not a "),
    (lambda: model().fit(X, X), "mean_squared_error: y has shape (8, 4), the prediction (8, 3); "),
    (lambda: sparse_classifier().fit(X, Y + 3),
     "fit: labels range from 3 to 3, but the model has 3 outputs; labels must be 0 to 2; the "),
    (lambda: sparse_classifier().evaluate(X, Y - 1),
     "evaluate: labels range from -1 to -1, but the "),
    (lambda: sparse_classifier().fit(X, np.zeros((8, 3)), verbose=0),
     "sparse_categorical_crossentropy: labels have shape (8, 3), the prediction (8, 3); labels "),
    (lambda: model(layers.Dense(4), StopGradient()).fit(X, X, verbose=0),
     "sgd: no Variable has a gradient; "),
    (lambda: utils.to_categorical([0, 5], 3), "to_categorical: labels range from 0 to 5, but "),
    (lambda: metrics.get("f1"), "compile: unknown metric 'f1'; use one of "),
    (lambda: model().fit(np.array(["a", "b"]), X[:2, :3]), "constant: "),
]


@pytest.mark.parametrize("call, message", LAYERS + MODELS + TRAINING)
def test_errors_are_one_sentence(call, message):
    with pytest.raises((ValueError, TypeError, RuntimeError, MemoryError)) as caught:
        call()
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert len(text) < 400


def test_an_unknown_argument_is_a_type_error():
    with pytest.raises(TypeError):
        layers.Dense(3, unit=4)


def test_a_model_is_usable_after_an_allocation_failure():
    small = Sequential([tf.keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(tf.errors.ResourceExhaustedError, match="Dense dense_1: kernel of shape "):
        small.add(layers.Dense(2**32))
    assert small.predict(X, verbose=0).shape == (8, 3)


def test_out_of_memory_in_fit_has_a_hint():
    small = model(layers.Dense(3))

    class OutOfMemory(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            raise MemoryError

    with pytest.raises(tf.errors.ResourceExhaustedError, match=(
            "fit: 15 weights and a batch of 32 do not fit into memory; use a smaller batch_size")):
        small.fit(X, X[:, :3], verbose=0, callbacks=[OutOfMemory()])


def test_a_weight_without_a_gradient_is_warned_about_once():
    used, unused = tf.Variable([1.0]), tf.Variable([1.0], name="unused")
    optimizer = optimizers.SGD(0.5)
    with pytest.warns(UserWarning, match="the loss does not depend on unused") as caught:
        for _ in range(2):
            optimizer.apply_gradients([(tf.constant([1.0]), used), (None, unused)])
    assert len(caught) == 1
    assert float(used) == 0.0
