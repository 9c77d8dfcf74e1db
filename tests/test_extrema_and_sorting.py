"""Extrema and sorting: NaN, signed zeros, infinities and ties, for lengths around vector widths.

NumPy is the oracle: NaN is the extremum, and of several equal elements the first one is selected.
Sorting is stable, and NaN is greater than every number.
"""
from math import inf, nan

import numpy as np
import pytest

import tensorbrook as tf

pytestmark = [pytest.mark.usefixtures("backend"), pytest.mark.slow(on="webgpu")]

LENGTHS = [*range(1, 10), 255, 256, 257]
DTYPES = ["float32", "float16", "int32", "uint8", "bool"]
SPECIAL = {
    "float": [nan, 0.0, -0.0, inf, -inf, 1.0, -1.0, 2.5, 2.5, -3.0, nan],
    "int32": [-2**31, 2**31 - 1, 0, 1, -1, 7, 7],
    "uint8": [0, 255, 1, 128, 127, 128],
    "bool": [True, False],
}


def values(dtype: str) -> np.ndarray:
    return np.array(SPECIAL["float" if "float" in dtype else dtype], dtype)


def rows(dtype: str, n: int) -> np.ndarray:
    """Rows of n special values: random ones with and without NaN, each position of a single NaN or
    of the largest and the smallest value among ties, and rows of equal values."""
    rng, special = np.random.default_rng(n), values(dtype)
    numbers = special[special == special]
    out = [rng.choice(special, n) for _ in range(4)] + [rng.choice(numbers, n) for _ in range(4)]
    for i in {0, n - 1, n // 2, *rng.integers(0, n, 4).tolist()}:
        for value in (special[0], numbers.max(), numbers.min()):
            row = np.full(n, numbers[0])
            row[i:] = np.where(rng.random(n - i) < 0.3, value, row[i:])
            row[i] = value
            out.append(row)
    return np.stack([*out, *(np.full(n, value) for value in special)])


def is_refused(backend: str, dtype: str) -> bool:
    """Whether the backend has no such dtype: it must raise an error instead of a wrong result."""
    if backend == "wasm" and dtype == "float16":
        with pytest.raises(tf.errors.UnimplementedError, match="float16"):
            tf.reduce_max(tf.constant(values(dtype)))
        return True
    return False


def check_reduction(function, oracle, array: np.ndarray, axis: int | None, mode: str) -> None:
    """Compare a reduction over an axis with NumPy's."""
    def call(x):
        return function(x, axis)
    call = call if mode == "eager" else tf.function(call)
    actual = np.asarray(call(tf.constant(array)))
    np.testing.assert_array_equal(actual, oracle(array, axis), f"{array.shape} {axis}")


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_argmax_and_argmin(name, dtype, mode, backend):
    if is_refused(backend, dtype):
        return
    function = getattr(tf, name)
    for n in LENGTHS:
        x = rows(dtype, n)
        for axis, array in ((1, x), (0, x.T.copy()), (-1, x)):
            check_reduction(function, getattr(np, name), array, axis, mode)


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "bool"])
@pytest.mark.parametrize("name", ["reduce_max", "reduce_min"])
def test_reduce_max_and_reduce_min(name, dtype, mode, backend):
    if is_refused(backend, dtype):
        return
    function, oracle = getattr(tf, name), getattr(np, name.removeprefix("reduce_"))
    for n in LENGTHS:
        x = rows(dtype, n)
        for axis, array in ((1, x), (0, x.T.copy()), (None, x), (None, x[-1:])):
            check_reduction(function, oracle, array, axis, mode)


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "bool"])
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_maximum_and_minimum(name, dtype, mode, backend):
    if is_refused(backend, dtype):
        return
    function = getattr(tf, name) if mode == "eager" else tf.function(getattr(tf, name))
    special = values(dtype)
    for n in LENGTHS:
        x = np.resize(special, (len(special), n))
        y = np.stack([np.roll(x[0], i) for i in range(len(special))])
        actual = np.asarray(function(tf.constant(x), tf.constant(y)))
        np.testing.assert_array_equal(actual, getattr(np, name)(x, y))
    for value in special:
        actual = np.asarray(function(tf.constant(special), tf.constant(value)))
        np.testing.assert_array_equal(actual, getattr(np, name)(special, value))


def stable_order(x: np.ndarray, descending: bool) -> np.ndarray:
    """The stable order along the last axis; NaN is greater than every number."""
    if not descending:
        return np.argsort(x, -1, kind="stable")
    return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]


def assert_same_bits(actual, expected, label: str):
    """Equal elements, including the signs of zeros; any NaN equals any other."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    np.testing.assert_array_equal(actual, expected, label)
    if expected.dtype.kind == "f":
        number = expected == expected
        np.testing.assert_array_equal(np.signbit(actual)[number], np.signbit(expected)[number])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
@pytest.mark.parametrize("direction", ["ASCENDING", "DESCENDING"])
def test_sort_and_argsort(direction, dtype, backend):
    if is_refused(backend, dtype):
        return
    for n in LENGTHS:
        x = rows(dtype, n)
        for axis, array in ((-1, x), (0, x.T.copy())):
            order = np.moveaxis(stable_order(np.moveaxis(array, axis, -1),
                                             direction == "DESCENDING"), -1, axis)
            expected = np.take_along_axis(array, order, axis)
            sort = tf.function(lambda x, axis=axis: (tf.sort(x, axis, direction),
                                                     tf.argsort(x, axis, direction)))
            actual, indices = sort(tf.constant(array))
            assert_same_bits(actual, expected, f"{n} {axis}")
            np.testing.assert_array_equal(np.asarray(indices), order)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
def test_top_k(dtype, backend):
    if is_refused(backend, dtype):
        return
    for n in LENGTHS:
        x = rows(dtype, n)
        order = stable_order(x, descending=True)
        for k in sorted({0, 1, n // 16, n // 2, n} & set(range(n + 1))):
            actual, indices = tf.math.top_k(tf.constant(x), k)
            np.testing.assert_array_equal(np.asarray(indices), order[:, :k])
            assert_same_bits(actual, np.take_along_axis(x, order[:, :k], -1), f"{k} of {n}")


def test_the_index_of_a_nan_in_a_long_row():
    for position in (0, 1, 40001, 99999):
        x = np.linspace(-1, 1, 100000, dtype="float32")
        x[position] = nan
        assert int(tf.argmax(x)) == int(tf.argmin(x)) == position
        x[[0, -1]] = nan
        assert int(tf.argmax(x)) == int(tf.argmin(x)) == 0
