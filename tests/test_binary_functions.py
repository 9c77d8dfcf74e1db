"""Binary functions on operands of all magnitudes, against NumPy and exact rational arithmetic.

Arithmetic, comparisons and remainders are exact or rounded once; quotients on a GPU have an error
of up to 2.5 ulp. As in TensorFlow, a remainder has the sign of the divisor, and floor division is
the floor of the rounded quotient.
"""
import re
from fractions import Fraction
from math import floor, inf, nan, pi

import numpy as np
import pytest

import tensorbrook as tf
from tensorbrook.ir import PRIMITIVES
from tensorbrook.tensor import bind

pytestmark = pytest.mark.usefixtures("backend")

MODES = ("eager", "function")
EDGES = np.array([
    0.0, -0.0, 1e-45, -1e-45, 4e-45, 1e-40, 1.17549421e-38, 1.17549435e-38, 1e-30, 0.1, -0.5, 0.3,
    1, -1, 1.4142135, 3, -7, 16777215, 16777216, -33554432, 1e9, pi, 1e30, -3.4028235e38,
    3.4028235e38, inf, -inf, nan], np.float32)


def any_bits(rng, n: int) -> np.ndarray:
    return rng.integers(0, 2**32, n, dtype=np.uint64).astype(np.uint32).view(np.float32)


def of_magnitude(rng, n: int, decades: float) -> np.ndarray:
    return (10 ** rng.uniform(-decades, decades, n) * rng.choice([-1, 1], n)).astype(np.float32)


def float_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Random bits, small and large quotients, integers, exact multiples, and all pairs of edges."""
    rng, n = np.random.default_rng(11), 5000
    x, y = [any_bits(rng, n)], [any_bits(rng, n)]
    for decades in (1, 8, 37):
        x, y = [*x, of_magnitude(rng, n, decades)], [*y, of_magnitude(rng, n, 1)]
    integers = rng.integers(-1000, 1000, (2, n)).astype(np.float32)
    x, y = [*x, integers[0], integers[0] * integers[1]], [*y, integers[1], integers[1]]
    x, y = [*x, np.repeat(EDGES, len(EDGES))], [*y, np.tile(EDGES, len(EDGES))]
    return np.concatenate(x), np.concatenate(y)


def integer_pairs(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    info, rng = np.iinfo(dtype), np.random.default_rng(12)
    edges = np.array(sorted({info.min, info.min + 1, info.max, info.max - 1, info.max // 2, 0, 1, 2,
                             3, 7, *((-1, -2, -7) if info.min else ())}), dtype)
    bits = rng.integers(0, info.bits, 4000)
    x, y = (rng.integers(info.min, info.max, 4000, endpoint=True) >> shift for shift in (0, bits))
    return (np.concatenate([x.astype(dtype), np.repeat(edges, len(edges))]),
            np.concatenate([y.astype(dtype), np.tile(edges, len(edges))]))


def floor_mod(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """TensorFlow's floormod: C's fmod, which is exact, plus y if the signs differ."""
    r = np.fmod(x, y)
    return np.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)


def squared(x: np.ndarray) -> np.ndarray:
    return x * x


FLOAT_FUNCTIONS = {                 # name: (function, oracle, error on a GPU in ulp)
    "add": (tf.add, np.add, 0), "subtract": (tf.subtract, np.subtract, 0),
    "multiply": (tf.multiply, np.multiply, 0), "divide": (tf.divide, np.divide, 2.5),
    "floordiv": (tf.math.floordiv, lambda x, y: np.floor(x / y), 0),
    "mod": (tf.math.mod, floor_mod, 0),
    "maximum": (tf.maximum, np.maximum, 0), "minimum": (tf.minimum, np.minimum, 0),
    "squared_difference": (tf.math.squared_difference, lambda x, y: squared(x - y), 0),
    "divide_no_nan": (
        tf.math.divide_no_nan, lambda x, y: np.where(y == 0, np.float32(0), x / y), 2.5),
    **{name: (getattr(tf, name), getattr(np, name), 0) for name in (
        "equal", "not_equal", "less", "less_equal", "greater", "greater_equal")},
}


def in_mode(mode: str, function):
    return tf.function(function) if mode == "function" else function


def assert_within_ulp(actual, expected: np.ndarray, bound: float, pairs):
    actual = np.asarray(actual)
    assert actual.dtype == expected.dtype
    is_equal = (actual == expected) | (actual != actual) & (expected != expected)
    if bound:
        with np.errstate(all="ignore"):
            error = np.abs(actual.astype("float64") - expected)
            is_equal |= error <= bound * np.spacing(np.abs(expected)).astype("float64")
            # The quotient may be flushed to zero, as may the reciprocal of a large divisor.
            is_equal |= (np.abs(expected) < 2e-38) & (error < 2e-38) | (np.abs(pairs[1]) > 8e37)
    bad = np.flatnonzero(~is_equal)[:5]
    worst = [(*(p[i] for p in pairs), actual[i], expected[i]) for i in bad]
    assert not worst, f"(x, y, actual, expected): {worst}"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", FLOAT_FUNCTIONS)
def test_functions_of_floats(name, mode, backend):
    function, oracle, gpu_error = FLOAT_FUNCTIONS[name]
    x, y = float_pairs()
    with np.errstate(all="ignore"):
        expected = oracle(x, y)
    actual = in_mode(mode, function)(tf.constant(x), tf.constant(y))
    assert_within_ulp(actual, expected, gpu_error if backend == "webgpu" else 0, (x, y))


def test_every_binary_float_primitive_is_tested():
    """FLOAT_FUNCTIONS and the tests of powers cover every elementwise primitive of two floats."""
    x, binary = tf.constant(1.0).spec, set()
    for name, prim in PRIMITIVES.items():
        is_binary = prim.kind == "elementwise" and \
            set(re.findall(r"\b[xyz]\b", str(prim.expression))) == {"x", "y"}
        try:
            if is_binary and prim.spec(x, x):
                binary.add(name)
        except tf.errors.DTypeError:
            continue                                            # integers only
    assert binary == {*FLOAT_FUNCTIONS, "pow"} - {"squared_difference", "divide_no_nan"}


def exact_floor_mod(x: float, y: float) -> float:
    """The remainder in rational arithmetic, rounded to float32 at the end."""
    x, y = Fraction(x), Fraction(y)
    return float(np.float32(float(x - floor(x / y) * y)))


def test_remainders_agree_with_rational_arithmetic():
    x, y = (a[(a == a) & (np.abs(a) < inf)] for a in (any_bits(np.random.default_rng(5), 400),
                                                      any_bits(np.random.default_rng(6), 400)))
    x, y = x[:300], y[:300]
    expected = [exact_floor_mod(float(a), float(b)) for a, b in zip(x, y)]
    assert (tf.constant(x) % tf.constant(y)).tolist() == expected
    assert (tf.constant([1e9]) % pi).tolist() == [np.float32(1.0241949558258057)]


def test_the_gradient_of_a_remainder():
    x, y = tf.constant([7.0, -7.0, 1.0, 1e9]), tf.constant([3.0, 3.0, 0.1, 3.0])
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        out = x % y
    dx, dy = tape.gradient(out, [x, y])
    assert dx.tolist() == [1, 1, 1, 1] and dy.tolist() == [-2, 3, -9, -333333344]


# ── integers ──────────────────────────────────────────────────────────────────────────────────


def integer_power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Powers modulo 2**32, by exact arithmetic."""
    return np.array([pow(int(a), int(b), 2**32) for a, b in zip(x, y)], np.uint32).astype(x.dtype)


def zero_for_zero_divisors(oracle):
    """Extend a division by x / 0 = 0, the result of every backend: none traps."""
    return lambda x, y: np.where(y == 0, 0, oracle(x, np.where(y == 0, 1, y))).astype(x.dtype)


INTEGER_FUNCTIONS = {
    "add": (tf.add, np.add), "subtract": (tf.subtract, np.subtract),
    "multiply": (tf.multiply, np.multiply), "maximum": (tf.maximum, np.maximum),
    "minimum": (tf.minimum, np.minimum),
    "floordiv": (tf.math.floordiv, zero_for_zero_divisors(np.floor_divide)),
    "mod": (tf.math.mod, zero_for_zero_divisors(np.mod)),
    "squared_difference": (tf.math.squared_difference, lambda x, y: squared(x - y)),
    "bitwise_and": (tf.bitwise.bitwise_and, np.bitwise_and),
    "bitwise_or": (tf.bitwise.bitwise_or, np.bitwise_or),
    "bitwise_xor": (tf.bitwise.bitwise_xor, np.bitwise_xor),
    "less": (tf.less, np.less), "greater_equal": (tf.greater_equal, np.greater_equal),
    "less_equal": (tf.less_equal, np.less_equal), "greater": (tf.greater, np.greater),
    "equal": (tf.equal, np.equal), "not_equal": (tf.not_equal, np.not_equal),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["int32", "uint8"])
@pytest.mark.parametrize("name", INTEGER_FUNCTIONS)
def test_functions_of_integers(name, dtype, mode):
    function, oracle = INTEGER_FUNCTIONS[name]
    x, y = integer_pairs(dtype)
    with np.errstate(all="ignore"):
        expected = oracle(x, y)
    actual = np.asarray(in_mode(mode, function)(tf.constant(x), tf.constant(y)))
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_integer_powers(dtype, mode):
    x, y = integer_pairs(dtype)
    y = np.abs(y // 2)
    for exponents in (y, y % 33):
        actual = in_mode(mode, tf.pow)(tf.constant(x), tf.constant(exponents))
        assert actual.dtype == dtype
        np.testing.assert_array_equal(np.asarray(actual), integer_power(x, exponents))
    for n in (*range(12), 31, 32, 40, 255):
        actual = in_mode(mode, lambda x, n=n: x ** n)(tf.constant(x))
        np.testing.assert_array_equal(np.asarray(actual), integer_power(x, np.full_like(x, n)))
        actual = in_mode(mode, lambda y, n=n: n ** y)(tf.constant(y))
        np.testing.assert_array_equal(np.asarray(actual), integer_power(np.full_like(y, n), y))


def test_a_negative_exponent_of_an_integer_is_an_error():
    x, exponents = tf.constant([1, 2]), tf.constant([3, -1])
    for call in (lambda: x ** -1, lambda: x ** exponents, lambda: tf.pow(2, exponents),
                 lambda: x ** tf.Variable(exponents), lambda: tf.cast(x, tf.uint8) ** -1,
                 tf.function(lambda: x ** exponents), tf.function(lambda: x ** -1)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="of an integer is negative"):
            call()
    bases, powers = tf.constant([1, -1, -1, 2, 0]), tf.constant([-3, -3, -2, -1, -1])
    truncated = tf.function(lambda x, y: x ** y)(bases, powers)
    assert truncated.tolist() == [1, -1, 1, 0, 0], "the exponents are not known in the trace"


# ── powers of floats ──────────────────────────────────────────────────────────────────────────


def assert_power(actual, x: np.ndarray, y: np.ndarray, bound: float):
    """Within `bound` ulp of the float64 power, with the same zeros, infinities, NaN and signs."""
    actual = np.asarray(actual)
    with np.errstate(all="ignore"):
        true = np.power(x.astype("float64"), y.astype("float64"))
        expected = true.astype("float32")
        error = np.abs(actual - true) / np.spacing(np.abs(expected)).astype("float64")
    is_equal = (actual == expected) | (actual != actual) & (true != true)
    is_flushed = (np.abs(true) < 1.2e-38) & (np.abs(actual) < 1.2e-38)
    bad = np.flatnonzero(~(is_equal | (error <= bound) | is_flushed))[:5]
    assert not len(bad), [(x[i], y[i], actual[i], true[i]) for i in bad]
    has_sign = (true == true) & ~is_flushed
    np.testing.assert_array_equal(np.signbit(actual)[has_sign], np.signbit(true)[has_sign])


SMALL_EXPONENTS = np.array([-3, -2, -1, -0.5, -0.0, 0, 0.5, 1, 2, 3, 4, 5, 17, -17, 1e9, 1e9 + 1],
                           np.float32)


@pytest.mark.parametrize("mode", MODES)
def test_powers_of_floats(mode):
    exponents = np.concatenate([EDGES, SMALL_EXPONENTS])
    x, y = np.repeat(EDGES, len(exponents)), np.tile(exponents, len(EDGES))
    assert_power(in_mode(mode, tf.pow)(tf.constant(x), tf.constant(y)), x, y, 3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [-3, -2, -1, 0, 1, 2, 3, 4, 5, 0.5, -0.5, 2.0, 3.0, inf, -inf, nan])
def test_powers_with_a_python_exponent(n, mode):
    """x ** 3 and x ** 4 are repeated multiplications with up to three roundings."""
    x = np.concatenate([EDGES, of_magnitude(np.random.default_rng(3), 500, 9)])
    power = in_mode(mode, lambda x: x ** n)
    assert_power(power(tf.constant(x)), x, np.full_like(x, n), 4)
    assert power(tf.constant(x)).dtype is tf.float32


def test_float16_binary_functions_round_once(backend):
    """The GPU computes float16 in float32; backend wasm does not support it."""
    x, y = (a.astype("float16") for a in np.random.default_rng(8).uniform(-900, 900, (2, 500)))
    if backend == "wasm":
        with pytest.raises(tf.errors.UnimplementedError, match="float16"):
            tf.constant(x) % tf.constant(y)
        return
    wide = x.astype("float32"), y.astype("float32")
    for function, oracle in ((bind_of("mod"), floor_mod), (bind_of("multiply"), np.multiply),
                             (bind_of("add"), np.add), (bind_of("maximum"), np.maximum)):
        with np.errstate(over="ignore"):
            expected = oracle(*wide).astype("float16")
        actual = np.asarray(function(tf.constant(x), tf.constant(y)))
        np.testing.assert_array_equal(actual, expected)


def bind_of(name: str):
    return lambda *args: bind(name, *args)
