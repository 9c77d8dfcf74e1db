"""Indexing: boolean masks, indices out of range, unstack, one_hot; the formatting of scalars."""
import numpy as np
import pytest

import tensorbrook as tf

pytestmark = pytest.mark.usefixtures("backend")

SHAPES = {                          # shape of the tensor: (shape of the mask, axis) of each call
    (5,): (((5,), None), ((5,), 0), ((5,), -1)),
    (0,): (((0,), None),),
    (3, 4): (((3,), None), ((4,), 1), ((3, 4), None), ((4,), -1)),
    (2, 0, 3): (((2,), None), ((2, 0), 0), ((3,), 2)),
    (2, 3, 4): (((2,), 0), ((3,), 1), ((3, 4), 1), ((2, 3), None), ((2, 3, 4), None)),
}
MASK_CASES = [(shape, *call) for shape, calls in SHAPES.items() for call in calls]


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape,mask_shape,axis", MASK_CASES)
def test_boolean_mask_selects_what_numpy_selects(shape, mask_shape, axis, dtype):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 100, shape).astype(dtype)
    begin = (axis or 0) % len(shape)
    random_mask = rng.random(mask_shape) < 0.5
    for mask in (random_mask, random_mask | True, random_mask & False):
        expected = x[(slice(None),) * begin + (mask,)]
        actual = tf.boolean_mask(tf.constant(x), mask, axis)
        assert actual.dtype == dtype and tuple(actual.shape) == expected.shape
        np.testing.assert_array_equal(np.asarray(actual), expected)
        nested = mask.tolist() if mask.size else mask
        if not begin:
            for key in (mask, tf.constant(mask), tf.Variable(mask), nested):
                np.testing.assert_array_equal(np.asarray(tf.constant(x)[key]), expected)


def test_a_mask_from_a_comparison():
    x = tf.constant([1.0, 2.0, 3.0])
    assert x[x > 1].tolist() == [2, 3]
    assert tf.Variable(x)[x > 1].tolist() == [2, 3]
    mask = x > 1
    assert tf.function(lambda x: x[mask])(x).tolist() == [2, 3], "the mask is known in the trace"


def test_the_gradient_of_a_masked_tensor_is_zero_at_other_elements():
    x = tf.constant([1.0, 2.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(x[x > 1] * tf.constant([5.0, 7.0]))
    assert tape.gradient(total, x).tolist() == [0, 5, 7]


def test_a_symbolic_mask_is_an_error_with_a_hint():
    with pytest.raises(tf.errors.FailedPreconditionError, match=r"use tf.where\(mask, x, 0\)"):
        tf.function(lambda x: x[x > 1])(tf.constant([1.0, 2.0]))


@pytest.mark.parametrize("key", [
    True, False, np.True_, (0, True), tf.constant(True), (slice(None), tf.constant(True)),
    (slice(None), tf.constant([True, False])), (slice(None), np.array([True, False])),
    (slice(None), tf.constant([0, 1])), (slice(None), [0, 1])], ids=str)
def test_a_key_that_is_not_supported_is_not_an_integer(key):
    with pytest.raises(tf.errors.InvalidArgumentError):
        _ = tf.constant([[1, 2], [3, 4]])[key]


@pytest.mark.parametrize("index", [3, -4, 10**9, np.int64(3), np.int32(-4)], ids=repr)
def test_an_index_out_of_range(index):
    x = tf.constant([1.0, 2.0, 3.0])
    for call in (lambda: x[index], lambda: tf.Variable(x)[index],
                 lambda: tf.function(lambda x: x[index])(x), lambda: tf.ones((1, 3))[0, index]):
        with pytest.raises(tf.errors.InvalidArgumentError) as raised:
            call()
        assert type(raised.value) is tf.errors.IndexOutOfRangeError
        assert isinstance(raised.value, IndexError)
        assert type(raised.value).__module__ == "tensorbrook.errors"


def test_every_error_class_is_public():
    def subclasses(error):
        return {error}.union(*map(subclasses, error.__subclasses__()))
    for error in subclasses(tf.errors.OpError):
        assert not error.__name__.startswith("_")
        if error.__module__ == tf.errors.__name__:
            assert getattr(tf.errors, error.__name__) is error
            assert error.__name__ in tf.errors.__all__


# ── formatting ────────────────────────────────────────────────────────────────────────────────


FORMATS = [
    (2.5, "", "2.5"), (2.5, ".3f", "2.500"), (2.5, ">8.1f", "     2.5"), (1e-7, "g", "1e-07"),
    (3, "", "3"), (3, "05d", "00003"), (3, ".2f", "3.00"), (255, "x", "ff"), (True, "", "True"),
    (float("nan"), "", "nan"), (-float("inf"), ".1f", "-inf"), (0.1, "", "0.10000000149011612")]


@pytest.mark.parametrize("value,style,expected", FORMATS)
def test_a_scalar_formats_its_number(value, style, expected):
    for scalar in (tf.constant(value), tf.Variable(value), tf.identity(tf.constant(value))):
        assert format(scalar, style) == expected
    assert f"{tf.constant(2.5):.3f} {tf.Variable(2.5)}" == "2.500 2.5"


def test_a_tensor_of_several_elements_formats_its_elements():
    assert f"{tf.constant([1, 2])}" == "[1, 2]" == f"{tf.Variable([1, 2])}"
    with pytest.raises(tf.errors.InvalidArgumentError, match="not have exactly one element"):
        format(tf.constant([1.0, 2.0]), ".3f")


def test_a_symbolic_scalar_formats_its_description():
    texts = []

    @tf.function
    def traced(x):
        texts.append(f"{x}")
        with pytest.raises(tf.errors.FailedPreconditionError, match="symbolic tensor"):
            format(x, ".3f")
        return x

    traced(tf.constant(1.0))
    assert texts == ["<tf.Tensor: shape=(), dtype=float32, traced>"]


# ── unstack, split and one_hot ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape,axis", [((0, 3), 0), ((0,), 0), ((3, 0), 1), ((3, 0), 0),
                                        ((1, 2), 0), ((2, 3, 4), -2), ((2, 3, 4), 2)])
def test_unstack(shape, axis):
    x = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    expected = list(np.moveaxis(x, axis, 0))
    for call in (tf.unstack, tf.function(tf.unstack)):
        for num in (None, shape[axis]):
            actual = call(tf.constant(x), num=num, axis=axis)
            assert isinstance(actual, list) and len(actual) == len(expected)
            for a, e in zip(actual, expected):
                np.testing.assert_array_equal(np.asarray(a), e)
    assert len(list(tf.constant(x))) == shape[0]


def test_errors_of_unstack_and_split():
    with pytest.raises(tf.errors.InvalidArgumentError, match="num is 3, but axis 0 has size 2"):
        tf.unstack(tf.zeros((2, 3)), num=3)
    with pytest.raises(ValueError, match="a scalar has no axes"):
        tf.unstack(tf.zeros(()))
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not divide into 0 equal parts"):
        tf.split(tf.zeros((0, 3)), 0)
    assert [tuple(part.shape) for part in tf.split(tf.zeros((0, 3)), 3)] == [(0, 3)] * 3


UINT8_FIVE = tf.constant(5, tf.uint8)
ONE_HOTS = [                        # (arguments, dtype, rows of the result), from TensorFlow 2.21
    ({}, "float32", [[1, 0], [0, 0]]),
    ({"on_value": 5}, "int32", [[5, 0], [0, 0]]),
    ({"on_value": 5, "off_value": 1}, "int32", [[5, 1], [1, 1]]),
    ({"off_value": 1}, "int32", [[1, 1], [1, 1]]),
    ({"on_value": 5.0}, "float32", [[5, 0], [0, 0]]),
    ({"on_value": True, "off_value": False}, "bool", [[True, False], [False, False]]),
    ({"on_value": 5, "dtype": tf.float32}, "float32", [[5, 0], [0, 0]]),
    ({"on_value": UINT8_FIVE}, "uint8", [[5, 0], [0, 0]]),
    ({"off_value": UINT8_FIVE}, "uint8", [[1, 5], [5, 5]]),
    ({"dtype": tf.uint8}, "uint8", [[1, 0], [0, 0]]),
    ({"dtype": tf.float32, "off_value": -1}, "float32", [[1, -1], [-1, -1]]),
    ({"on_value": np.float32(3)}, "float32", [[3, 0], [0, 0]]),
]


@pytest.mark.parametrize("arguments,dtype,expected", ONE_HOTS, ids=str)
def test_the_dtype_of_one_hot(arguments, dtype, expected):
    for call in (tf.one_hot, tf.function(lambda i, depth: tf.one_hot(i, depth, **arguments))):
        actual = call(tf.constant([0, -1]), 2, **arguments) if call is tf.one_hot else \
            call(tf.constant([0, -1]), 2)
        assert (actual.dtype, actual.tolist()) == (dtype, expected)


@pytest.mark.parametrize("arguments", [
    {"on_value": 5.0, "dtype": tf.int32}, {"on_value": 5, "off_value": 1.0},
    {"on_value": UINT8_FIVE, "dtype": tf.int32}, {"on_value": UINT8_FIVE, "off_value": 1}], ids=str)
def test_the_values_of_one_hot_have_one_dtype(arguments):
    with pytest.raises(TypeError):
        tf.one_hot([0, -1], 2, **arguments)
