"""Tensors and Variables as Python objects: copies, comparison, conversion."""
import copy
import pickle

import numpy as np
import pytest

import backends
import tensorbrook as tf

TENSORS = [
    tf.constant(2.5), tf.constant([[1, 2], [3, 4]]), tf.constant([True, False]), tf.zeros((0, 3))]


def pickle_copy(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("x", TENSORS, ids=str)
@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy, pickle_copy])
def test_a_copy_has_equal_contents(x, make_copy):
    y = make_copy(x)
    assert (y.shape, y.dtype, y.tolist()) == (x.shape, x.dtype, x.tolist())


def test_a_copied_variable_is_independent():
    v = tf.Variable([1.0, 2.0], trainable=False, name="v")
    w = copy.deepcopy(v)
    w.assign_add([1.0, 1.0])
    assert (v.tolist(), w.tolist()) == ([1.0, 2.0], [2.0, 3.0])
    assert (w.name, w.trainable) == ("v", False)


def test_a_shape_equals_tuples_and_lists_and_is_hashable():
    shape = tf.zeros((2, 3)).shape
    assert shape == (2, 3) and shape == [2, 3] and shape != [3, 2] and shape != (2,)
    assert {(2, 3): "found"}[shape] == "found"
    assert (shape.rank, shape.as_list(), shape.num_elements()) == (2, [2, 3], 6)


def test_backends_can_be_switched_repeatedly():
    x = tf.constant([1.0, 2.0])
    for name in backends.ALL * 2:
        with backends.on(name):
            assert (x + x).tolist() == [2.0, 4.0]


def test_float16_arrays_convert_without_loss():
    array = np.array([[1.5, -2.0], [0.25, 65504.0]], "float16")
    for x in (array, array[:, ::-1], array[0, 0], array[:0]):
        float16, float32 = tf.constant(x), tf.constant(x, tf.float32)
        assert float16.dtype is tf.float16 and float32.dtype is tf.float32
        assert float16.tolist() == float32.tolist() == x.tolist()
        assert float16.numpy().dtype == np.asarray(float16).dtype == x.dtype


def test_a_string_is_no_bool():
    with pytest.raises(tf.errors.DTypeError, match="str 'no' is not a number"):
        tf.constant(["no"], tf.bool)


def test_constant_values_of_pad_have_the_dtype_of_the_tensor():
    x = tf.constant([1, 2])
    assert tf.pad(x, tf.constant([[1, 0]]), constant_values=7).tolist() == [7, 1, 2]
    with pytest.raises(tf.errors.DTypeError, match="1.5 is not an integer"):
        tf.pad(x, [(1, 0)], constant_values=1.5)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"float32\[\], the tensor int32"):
        tf.pad(x, [(1, 0)], constant_values=tf.constant(1.0))
