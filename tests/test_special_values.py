"""Special values: elementwise operations and reductions on wasm and webgpu agree with NumPy for
infinities, NaN, signed zeros, denormals and the bounds of dtypes."""
import re

import numpy as np
import pytest

import tensorbrook as tf
from backends import COMPILED, on
from tensorbrook.ir import PRIMITIVES
from tensorbrook.tensor import bind

INF, NAN = float("inf"), float("nan")
DATA = {
    "float32": [
        0.0,
        -0.0,
        1,
        -1,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        INF,
        -INF,
        NAN,
        1e-45,
        -1e-45,
        1e-38,
        3.4e38,
        -3.4e38,
        1e30,
        -1e30,
        88.7,
        88.8,
        -87.4,
        -103.9,
        -104.1,
        2**23 + 1,
        2**24,
        -(2**31),
        2**31,
        1e5,
        -1e6,
        3.1415927,
        1.5707964,
        0.9999999,
        1.0000001,
        0.49999997,
        7,
        -7,
        3,
        9.5,
        -9.5,
        255,
        256,
        300,
        1e-20,
    ],
    "int32": [
        0,
        1,
        -1,
        2,
        -2,
        7,
        -7,
        2**31 - 1,
        -(2**31),
        255,
        256,
        -255,
        65535,
        1 << 30,
        31,
        32,
        33,
    ],
    "uint8": [0, 1, 2, 3, 7, 16, 127, 128, 200, 254, 255],
    "bool": [True, False],
}
# Above 1e6 the spacing of float32 is about 1 % of a period, so larger angles are not compared.
MAX_ANGLE = {"sin": 1e6, "cos": 1e6}
ELEMENTWISE = [name for name, prim in PRIMITIVES.items() if prim.kind == "elementwise"]


def arity(name: str) -> int:
    """The number of arguments of an elementwise primitive."""
    return len(set(re.findall(r"\b[xyz]\b", PRIMITIVES[name].expression.text)))


def arguments(name: str, dtype: str) -> list[np.ndarray]:
    """Every special value, or every pair of special values."""
    data = np.array(DATA[dtype], dtype)
    if name in MAX_ANGLE:
        data = data[~(np.abs(data) > MAX_ANGLE[name])]
    if name == "select":
        return [np.array([[True], [False]]), data, data[::-1].copy()]
    return [data] if arity(name) == 1 else [data[:, None].copy(), data]


each_backend = pytest.mark.parametrize("compiled", COMPILED)


def run_on_both(call, xs, compiled: str) -> list[np.ndarray]:
    """[the result of the reference, the result of the compiled backend]."""
    results = []
    for backend in ("reference", compiled):
        with on(backend):
            results.append(np.asarray(call(*map(tf.constant, xs))))
    return results


def assert_agree(expected, actual, xs):
    assert actual.dtype == expected.dtype
    # Denormals may be flushed to 0.
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-38, err_msg=str(xs))


@each_backend
@pytest.mark.parametrize("dtype", DATA)
@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != "cast"])
def test_elementwise_operations(name, dtype, compiled):
    xs = arguments(name, dtype)
    try:
        expected, actual = run_on_both(lambda *xs: bind(name, *xs), xs, compiled)
    except tf.errors.DTypeError as error:
        assert "is not supported" in str(error)
    else:
        assert_agree(expected, actual, xs)


@each_backend
@pytest.mark.parametrize("to", DATA)
@pytest.mark.parametrize("dtype", DATA)
def test_casts(dtype, to, compiled):
    xs = [np.array(DATA[dtype], dtype)]
    assert_agree(*run_on_both(lambda x: tf.cast(x, to), xs, compiled), xs)


@each_backend
@pytest.mark.parametrize("dtype", ("float32", "int32", "uint8"))
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("name", ["reduce_max", "reduce_min", "reduce_sum"])
def test_reductions(name, axes, dtype, compiled):
    """The rows are rotated, so that NaN is in every lane. Integer sums wrap, and NaN propagates."""
    data = np.array(DATA[dtype], dtype)
    if name == "reduce_sum" and dtype == "float32":
        data = np.where(np.abs(data) > 1e6, NAN, data).astype("float32")
    rows = np.stack([np.roll(data, i) for i in range(6)] + [np.full_like(data, data[2])])
    assert_agree(*run_on_both(lambda x: bind(name, x, axes=axes), [rows], compiled), rows)


FUNCTIONS = {
    "softmax": tf.nn.softmax, "logsumexp": lambda x: tf.reduce_logsumexp(x, -1),
    "argmax": lambda x: tf.argmax(x, -1), "argmin": lambda x: tf.argmin(x, -1),
    "softplus": tf.nn.softplus, "gelu": tf.nn.gelu, "elu": tf.nn.elu, "relu6": tf.nn.relu6,
    "is_nan": tf.math.is_nan, "is_finite": tf.math.is_finite, "mod": lambda x: x % 3.0,
    "square": lambda x: x ** 2, "inverse": lambda x: x ** -1, "mean": tf.reduce_mean,
}


@each_backend
@pytest.mark.parametrize("name", FUNCTIONS)
def test_fused_functions(name, compiled):
    data = np.array(DATA["float32"], "float32")
    xs = [np.stack([data, data[::-1], np.where(np.isfinite(data), data, 0)])]
    expected, actual = run_on_both(lambda x: tf.function(FUNCTIONS[name])(x), xs, compiled)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-37)


def test_softmax_of_large_numbers_does_not_overflow(backend):
    x = tf.constant([[1e30, 1e30, -1e30], [-3e38, 3e38, 0.0], [88.0, 89.0, 90.0]])
    np.testing.assert_allclose(np.asarray(tf.nn.softmax(x)).sum(-1), 1, rtol=1e-6)
    assert np.isfinite(np.asarray(tf.nn.log_softmax(x))[2]).all()
    assert float(tf.reduce_logsumexp(tf.constant([-INF, -INF]))) == -INF
    assert float(tf.nn.softplus(tf.constant(-200.0))) == 0
    assert float(tf.nn.softplus(tf.constant(200.0))) == 200
    assert float(tf.nn.silu(tf.constant(-1e38))) == 0, "the sigmoid underflows to 0"
    cost = tf.nn.sigmoid_cross_entropy_with_logits(tf.ones(()), tf.constant(20.0))
    assert float(cost) == pytest.approx(np.exp(-20), rel=1e-5), "no cancellation"


def test_max_pooling_propagates_nan(backend):
    x = np.zeros((1, 2, 4, 1), "float32")
    x[0, 1, 2, 0] = NAN
    assert np.isnan(np.asarray(tf.nn.max_pool2d(x, 2))).ravel().tolist() == [False, True]


def test_reductions_of_empty_axes(backend):
    empty = tf.zeros((2, 0))
    assert tf.reduce_sum(empty, 1).tolist() == [0.0, 0.0]
    assert tf.reduce_max(empty, 1).tolist() == [-INF, -INF]
    assert tf.reduce_min(tf.zeros((0, 2), tf.int32), 0).tolist() == [2**31 - 1] * 2
    assert np.isnan(np.asarray(tf.reduce_mean(empty, 1))).all()
