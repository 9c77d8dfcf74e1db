"""Tensors and Variables as Python objects: copied, compared, shown."""
import copy
import pickle

import numpy as np
import pytest

import backends
import tensorbrook as tf

HELD = [
    tf.constant(2.5), tf.constant([[1, 2], [3, 4]]), tf.constant([True, False]), tf.zeros((0, 3))]


def pickled(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("x", HELD, ids=str)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_holds_the_same(x, copied):
    y = copied(x)
    assert (y.shape, y.dtype, y.tolist()) == (x.shape, x.dtype, x.tolist())


def test_a_copied_variable_is_another_one():
    v = tf.Variable([1.0, 2.0], trainable=False, name="v")
    w = copy.deepcopy(v)
    w.assign_add([1.0, 1.0])
    assert (v.tolist(), w.tolist()) == ([1.0, 2.0], [2.0, 3.0])
    assert (w.name, w.trainable) == ("v", False)


def test_a_shape_equals_a_tuple_and_a_list_and_can_be_a_key():
    shape = tf.zeros((2, 3)).shape
    assert shape == (2, 3) and shape == [2, 3] and shape != [3, 2] and shape != (2,)
    assert {(2, 3): "found"}[shape] == "found"
    assert (shape.rank, shape.as_list(), shape.num_elements()) == (2, [2, 3], 6)


def test_choosing_a_backend_again_finds_its_programs():
    x = tf.constant([1.0, 2.0])
    for name in backends.ALL * 2:
        with backends.on(name):
            assert (x + x).tolist() == [2.0, 4.0]


def test_half_floats_stay_what_they_are():
    halves = np.array([[1.5, -2.0], [0.25, 65504.0]], "float16")
    for x in (halves, halves[:, ::-1], halves[0, 0], halves[:0]):
        made, wide = tf.constant(x), tf.constant(x, tf.float32)
        assert made.dtype is tf.float16 and made.tolist() == wide.tolist() == x.tolist()
        assert wide.dtype is tf.float32 and made.numpy().dtype == np.asarray(made).dtype == x.dtype


def test_text_is_no_bool():
    with pytest.raises(tf.errors.DTypeError, match="str 'no' is not a number"):
        tf.constant(["no"], tf.bool)


def test_padding_takes_one_number_of_the_tensors_dtype():
    x = tf.constant([1, 2])
    assert tf.pad(x, tf.constant([[1, 0]]), constant_values=7).tolist() == [7, 1, 2]
    with pytest.raises(tf.errors.DTypeError, match="1.5 is not a whole number"):
        tf.pad(x, [(1, 0)], constant_values=1.5)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"float32\[\], the tensor int32"):
        tf.pad(x, [(1, 0)], constant_values=tf.constant(1.0))
