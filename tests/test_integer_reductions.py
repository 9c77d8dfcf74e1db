"""Reductions of every dtype and size, against exact arithmetic.

Integer sums and products wrap around, as in TensorFlow. The mean of integers is exact and truncated
towards 0, because TensorFlow accumulates it in 64 bits.
"""
from fractions import Fraction
from math import prod, trunc

import numpy as np
import pytest

import tensorbrook as tf

pytestmark = [pytest.mark.usefixtures("backend"), pytest.mark.slow(on="webgpu")]

INTEGERS = ("int32", "uint8")
COUNTS = [1, 2, 3, 5, 7, 8, 9, 100, 255, 256, 257, 300, 65535, 65537]


def rows(dtype: str, n: int) -> np.ndarray:
    """Rows of n values: the bounds of the dtype, alternating bounds, small and random values."""
    info, rng = np.iinfo(dtype), np.random.default_rng(n)
    low, high = info.min, info.max
    alternating = np.resize([low, high], n)
    return np.stack([
        np.full(n, low), np.full(n, high), alternating, alternating[::-1], np.arange(n) % 2,
        rng.integers(low, high, n, endpoint=True), rng.integers(max(low, -3), 3, n),
        np.where(np.arange(n) == n - 1, low, high), np.zeros(n)]).astype(dtype)


def exact_mean(row: np.ndarray) -> int:
    return trunc(Fraction(sum(row.tolist()), len(row)))


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("n", COUNTS)
def test_the_mean_of_integers_is_exact(n, dtype, mode):
    x = rows(dtype, n)
    expected = [exact_mean(row) for row in x]
    for array, axis in ((x, 1), (x.T.copy(), 0)):
        def mean(x, axis=axis):
            return tf.reduce_mean(x, axis)
        actual = (mean if mode == "eager" else tf.function(mean))(tf.constant(array))
        assert (actual.dtype, actual.tolist()) == (dtype, expected)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_mean_of_integers_over_several_axes(dtype):
    x = rows(dtype, 60).reshape(9, 3, 4, 5)
    for axes in ((0,), (1, 3), (0, 2, 3), (0, 1, 2, 3), ()):
        kept = tuple(a for a in range(4) if a not in axes)
        flat = x.transpose(kept + axes).reshape(prod(x.shape[a] for a in kept), -1)
        expected = [exact_mean(row) for row in flat]
        for keepdims in (False, True):
            actual = tf.reduce_mean(tf.constant(x), axes, keepdims)
            assert tuple(actual.shape) == x.sum(axes or (), keepdims=keepdims).shape
            assert np.asarray(actual).ravel().tolist() == expected
    assert int(tf.reduce_mean(tf.constant(x))) == exact_mean(x.ravel())


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_mean_of_no_integers_is_0(dtype):
    assert tf.reduce_mean(tf.zeros((0,), dtype)).tolist() == 0
    assert tf.reduce_mean(tf.zeros((2, 0), dtype), 1).tolist() == [0, 0]
    assert tf.reduce_mean(tf.zeros((0, 2), dtype), 1).tolist() == []


@pytest.mark.parametrize("n", [0, *COUNTS])
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ["reduce_sum", "reduce_prod"])
def test_integer_sums_and_products_wrap(name, dtype, n):
    x = rows(dtype, n) if n else np.zeros((3, 0), dtype)
    exact = [(sum if name == "reduce_sum" else prod)(row.tolist()) for row in x[:, :300]]
    if n <= 300:
        expected = np.array([value % 2**32 for value in exact], np.uint32).astype(dtype)
        actual = getattr(tf, name)(tf.constant(x), 1)
        np.testing.assert_array_equal(np.asarray(actual), expected)
    oracle = x.sum(1, dtype=dtype) if name == "reduce_sum" else x.prod(1, dtype=dtype)
    for actual in (getattr(tf, name)(tf.constant(x.T.copy()), 0),
                   tf.function(getattr(tf, name))(tf.constant(x), axis=1)):
        assert actual.dtype == dtype
        np.testing.assert_array_equal(np.asarray(actual), oracle)


FLOAT_REDUCTIONS = {                # name: (float64 oracle, tolerance relative to the result)
    "reduce_sum": (np.sum, 1e-5), "reduce_mean": (np.mean, 1e-5),
    "reduce_variance": (np.var, 2e-5), "reduce_std": (np.std, 2e-5),
}


FLOATS = {"reference": ("float16", "float32", "float64"), "wasm": ("float32",),
          "webgpu": ("float16", "float32")}


@pytest.mark.parametrize("name", FLOAT_REDUCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_floating_reductions(name, dtype, backend):
    """float16 is reduced in float32, so a mean of many elements does not overflow or lose digits.

    A backend without the dtype raises an error.
    """
    if dtype not in FLOATS[backend]:
        with pytest.raises(tf.errors.UnimplementedError, match=dtype):
            getattr(tf, name)(tf.ones(3, dtype))
        return
    oracle, tolerance = FLOAT_REDUCTIONS[name]
    tolerance = {"float16": 1e-3, "float32": tolerance, "float64": 1e-12}[dtype]
    for n in COUNTS:
        x = (np.random.default_rng(n).uniform(0.5, 1.5, (3, n)) * [[1], [0.25], [0.01]])
        x = x.astype(dtype)
        expected = oracle(x.astype("float64"), 1)
        if dtype == "float16":
            with np.errstate(over="ignore"):
                expected = expected.astype(dtype).astype("float64")
        for array, axis in ((x, 1), (x.T.copy(), 0)):
            actual = getattr(tf, name)(tf.constant(array), axis)
            np.testing.assert_allclose(np.asarray(actual, "float64"), expected, rtol=tolerance,
                                       atol=1e-7)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool"])
@pytest.mark.parametrize("reduce", [tf.math.reduce_variance, tf.math.reduce_std,
                                    lambda x: tf.nn.moments(x, [0])])
def test_variance_is_not_defined_for_integers(reduce, dtype):
    with pytest.raises(TypeError, match=f"{dtype} is not supported; use tf.cast to float32"):
        reduce(tf.constant([1, 0, 1], dtype))
