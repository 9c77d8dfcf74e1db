"""Sorting and top-k: NaN, stability, dtypes, long rows, gradients and errors."""
import jax.numpy as jnp
import numpy as np
import pytest

import tensorbrook as tf
from assertions import assert_raises_message

pytestmark = pytest.mark.usefixtures("backend")
SPECIAL = [2.0, np.nan, -0.0, np.inf, 0.0, -np.inf, np.nan, -1e-40, 1e-40, -0.0, 2.0]


@pytest.mark.parametrize("count", [1, 7])      # a short row, and a row for the radix sort
def test_nan_is_above_all_numbers_and_both_zeros_are_equal(count):
    x = np.array(SPECIAL * count, "float32")
    order = np.argsort(x, kind="stable")
    np.testing.assert_array_equal(tf.argsort(x), order)
    np.testing.assert_array_equal(np.asarray(tf.sort(x)).view("i4"), x[order].view("i4"))
    descending = tf.argsort(x, direction="DESCENDING").numpy()
    nans, numbers = np.split(x[descending], [2 * count])
    assert np.isnan(nans).all() and not np.isnan(numbers).any()
    np.testing.assert_array_equal(numbers, -np.sort(-x)[:-2 * count])
    zeros = descending[x[descending] == 0]
    np.testing.assert_array_equal(zeros, np.sort(zeros))       # the sort is stable
    top = tf.math.top_k(x, 2 * count + 1)
    np.testing.assert_array_equal(top.indices, descending[:2 * count + 1])


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int32"])
def test_integers_and_bools_keep_their_dtype(dtype):
    x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 200, (3, 50)).astype(dtype)
    assert tf.sort(x).dtype.name == dtype
    np.testing.assert_array_equal(tf.sort(x), np.sort(x))
    np.testing.assert_array_equal(tf.math.top_k(x, 3).values, np.sort(x)[:, :-4:-1])


def test_the_bounds_of_int32():
    x = np.array([5, -2**31, 2**31 - 1, 0, -1], "int32")
    np.testing.assert_array_equal(tf.argsort(x), [1, 4, 3, 0, 2])
    np.testing.assert_array_equal(tf.argsort(x, direction="DESCENDING"), [2, 0, 3, 4, 1])


@pytest.mark.parametrize("n", [65536, 65537, 200000])
def test_rows_of_any_length_agree_with_jax(n):
    x = np.random.default_rng(n).normal(size=(2, n)).astype("float32")
    x[0, ::3] = x[0, 0]
    np.testing.assert_array_equal(tf.argsort(x), jnp.argsort(x, stable=True))
    np.testing.assert_array_equal(tf.sort(x, direction="DESCENDING"), jnp.sort(x, descending=True))


def test_top_k_is_a_named_pair():
    top = tf.nn.top_k([[1.0, 9.0, 3.0]], k=2)
    assert (top.values.tolist(), top.indices.tolist()) == ([[9.0, 3.0]], [[1, 2]])
    values, indices = tf.math.top_k(tf.range(100), 3, sorted=False)
    assert (values.tolist(), indices.tolist()) == ([99, 98, 97], [99, 98, 97])
    assert tf.math.top_k([3.0, 1.0]).values.tolist() == [3.0]


def test_in_top_k_with_ties_inf_nan_and_invalid_targets():
    rows = [[0.1, 0.9, 0.9], [np.inf, 0.0, 1.0], [np.nan, 0.0, 1.0], [1.0, 2.0, 3.0]]
    out = tf.math.in_top_k([2, 0, 0, 3], rows, k=1)
    assert out.tolist() == [True, False, False, False]       # a tie, inf, NaN, no such class


def test_the_gradient_is_scattered_to_the_sorted_elements():
    x, g = tf.constant([3.0, 1.0, 2.0]), tf.constant([10.0, 20.0, 30.0])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        in_order, top = tf.sort(x), tf.math.top_k(x, 1).values
    assert tape.gradient(in_order, x, output_gradients=g).tolist() == [30, 10, 20]
    assert tape.gradient(top, x).tolist() == [1.0, 0.0, 0.0]


ERRORS = [
    (lambda: tf.sort(tf.ones((2, 3)), axis=2),
     "sort: axis 2 is out of range for a tensor of rank 2; use -2 to 1"),
    (lambda: tf.sort(tf.ones(())), "sort: axis -1 is out of range for a tensor of rank 0; a scalar "
     "has no axes"),
    (lambda: tf.argsort(tf.ones(3), direction="down"),
     "argsort: direction is 'down'; use \"ASCENDING\" or \"DESCENDING\""),
    (lambda: tf.math.top_k(tf.ones((2, 3)), 4),
     "top_k: k is 4 for an input of shape (2, 3); use an int from 0 to 3, the size of the last "
     "axis"),
    (lambda: tf.math.top_k(tf.ones(3), 1.5),
     "top_k: k is 1.5 for an input of shape (3,); use an int from 0 to 3"),
    (lambda: tf.math.top_k(tf.ones(())),
     "top_k: k is 1 for an input of shape (); the input needs at least one axis"),
    (lambda: tf.math.in_top_k([0, 1], tf.ones((3, 2)), 1),
     "in_top_k: targets are int32[2] and predictions float32[3,2]; pass class indices (batch,) "
     "and predictions (batch, classes)"),
]


@pytest.mark.parametrize("call, message", ERRORS)
def test_errors(call, message):
    assert_raises_message(call, message)
