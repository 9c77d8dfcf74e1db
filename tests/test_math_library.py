"""Math library of generated WebAssembly and WGSL, against float64, over wide ranges."""
import math
import sys

import numpy as np
import pytest

from wasm_program_runner import plan_of_loop, run, var_like
from wgsl_runner import run_plan
from tensorbrook.base import dtypes
from tensorbrook.base.views import View
from tensorbrook.ir import ElementwiseOp, Load, LoopKernel, RowPass, Store
from tensorbrook.ir.scalar_expression import scalar_expression

COUNT = 20003
POSITIVE = np.array([0, 1e-45, 1e-40, 1e-20, 0.5, 1, 1.5, 2, 3, 4, 1e8, 3.4e38, np.inf], np.float32)
EDGE_VALUES = np.concatenate([POSITIVE, -POSITIVE, [np.float32(np.nan)]])


@pytest.fixture(params=["relaxed", "plain", "wgsl"], autouse=True)
def target(request, monkeypatch) -> str:
    """The target of `apply`: WebAssembly with or without relaxed SIMD, or WGSL."""
    monkeypatch.setattr(sys.modules[__name__], "TARGET", request.param)
    return request.param


TARGET = "relaxed"


def apply(expression: str, arrays, dtype) -> np.ndarray:
    """Evaluate a scalar expression over arrays of equal length, in a generated loop."""
    view = View.of(arrays[0].shape)
    inputs = [var_like(a, dtypes.as_dtype(a.dtype)) for a in arrays]
    loads = [Load(v, view, v.spec.dtype) for v in inputs]
    out = np.zeros(arrays[0].shape, dtype.as_numpy_dtype)
    store = Store(len(loads), var_like(out, dtype), view)
    operation = ElementwiseOp(scalar_expression(expression), tuple(range(len(loads))), dtype)
    body = (*loads, operation)
    plan = plan_of_loop(LoopKernel(view.shape, (), (RowPass(body),), (store,), ()))
    arguments = [arrays[inputs.index(v)] for v in plan.inputs]
    if TARGET == "wgsl":
        return run_plan(plan, arguments, [out])[0]
    return run(plan, arguments, [out], TARGET == "relaxed")[0]


def error_ulp(y: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The error of y relative to the true float64 values, in ulp of float32."""
    nearest = true.astype(np.float32)
    is_equal = (np.isnan(y) & np.isnan(true)) | (y == nearest)
    finite = np.where(np.isfinite(nearest), nearest, np.float32(3.4e38))
    error = np.abs(y.astype(np.float64) - true) / np.spacing(np.abs(finite)).astype(np.float64)
    return np.where(is_equal, 0, np.where(np.isfinite(y), error, np.inf))


def uniform(low, high):
    return lambda rng: rng.uniform(low, high, COUNT).astype(np.float32)


def log_uniform(low, high):
    """Values of both signs with uniformly distributed logarithms of their magnitudes."""
    def draw(rng):
        magnitudes = np.exp(rng.uniform(low, high, COUNT))
        return (magnitudes * rng.choice([-1, 1], COUNT)).astype(np.float32)
    return draw


def any_bits(rng):
    return rng.integers(0, 2**32, COUNT, dtype=np.uint64).astype(np.uint32).view(np.float32)


def edge_values(rng):
    return EDGE_VALUES


EVERYWHERE = (any_bits, edge_values, log_uniform(-100, 5), uniform(-1, 1))
FUNCTIONS = {                       # name: (float64 function, maximum error in ulp, ranges)
    "exp":   (np.exp,   1, (uniform(-104, 89), *EVERYWHERE)),
    "expm1": (np.expm1, 2, (uniform(-20, 89), *EVERYWHERE)),
    "tanh":  (np.tanh,  3, (uniform(-12, 12), *EVERYWHERE)),
    "log":   (np.log,   1, (uniform(0.5, 2), log_uniform(-104, 88), *EVERYWHERE)),
    "log1p": (np.log1p, 2, (uniform(-1, 2), log_uniform(-20, 88), *EVERYWHERE)),
    "sin":   (np.sin,   2, (uniform(-10, 10), uniform(-1e5, 1e5), log_uniform(-100, 13),
                           edge_values)),
    "cos":   (np.cos,   2, (uniform(-10, 10), uniform(-1e5, 1e5), log_uniform(-100, 13),
                           edge_values)),
    "erf":   (np.vectorize(math.erf), 2, (uniform(-5, 5), *EVERYWHERE)),
    "sqrt":  (np.sqrt,  0.5, EVERYWHERE),
    "floor": (np.floor, 0, EVERYWHERE),
    "ceil":  (np.ceil,  0, EVERYWHERE),
    "round": (np.round, 0, (uniform(-10, 10), lambda rng: np.arange(-9, 9, 0.5, np.float32),
                            edge_values)),
    "abs":   (np.abs,   0, EVERYWHERE),
    "sign":  (lambda x: np.copysign(np.sign(x), x), 0, EVERYWHERE),
}
MAX_ANGLE = 1e6                     # for larger angles, only the range -1..1 is tested on wasm


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error(name, target):
    function, bound, ranges = FUNCTIONS[name]
    rng = np.random.default_rng(7)
    x = np.concatenate([draw(rng) for draw in ranges])
    y = apply(f"{name}(x)", [x], dtypes.float32)
    with np.errstate(all="ignore"):
        true = function(x.astype(np.float64))
        error = error_ulp(y, true)
    if name in ("sin", "cos"):
        assert (np.abs(y[np.isfinite(x)]) <= 1).all()
        if target == "wgsl":
            bound = 3
        else:
            error[(np.abs(x) > MAX_ANGLE) & np.isfinite(x)] = 0
    worst = error.argmax()
    assert error[worst] <= bound, f"{name}({x[worst]!r}) = {y[worst]!r}, not {true[worst]!r}"
    is_number = ~np.isnan(true)
    assert (np.signbit(y) == np.signbit(true))[is_number & (np.abs(x) <= MAX_ANGLE)].all()


def _pairs(x, y):
    return [a.ravel().astype(np.float32) for a in np.meshgrid(x, y)]


POWERS = {
    "any bits":        lambda rng: (any_bits(rng), any_bits(rng)),
    "moderate":        lambda rng: (np.exp(rng.uniform(-5, 5, COUNT)), rng.uniform(-20, 20, COUNT)),
    "integer exponents": lambda rng: (rng.normal(0, 2, COUNT), rng.integers(-20, 20, COUNT)),
    "bases near 1":    lambda rng: (1 + rng.normal(0, 1e-5, COUNT), rng.normal(0, 1e6, COUNT)),
    "edge values":     lambda rng: _pairs(EDGE_VALUES, EDGE_VALUES),
}


@pytest.mark.parametrize("name", POWERS)
def test_error_of_pow(name):
    x, y = (a.astype(np.float32) for a in POWERS[name](np.random.default_rng(3)))
    out = apply("pow(x, y)", [x, y], dtypes.float32)
    with np.errstate(all="ignore"):
        true = np.power(x.astype(np.float64), y.astype(np.float64))
        error = error_ulp(out, true)
    worst = error.argmax()
    arguments = x[worst], y[worst]
    assert error[worst] <= 2, f"pow{arguments} = {out[worst]!r}, not {true[worst]!r}"
    is_number = ~np.isnan(true)
    assert (np.signbit(out) == np.signbit(true))[is_number].all()


def ints(rng, low=-2**31, high=2**31):
    return rng.integers(low, high, COUNT).astype(np.int32)


def replace_zeros(x):
    return np.where(x == 0, 3, x)


INTEGER_EXPRESSIONS = {             # expression: (NumPy function, arguments)
    "floordiv(x, y)": (np.floor_divide, lambda rng: (ints(rng), replace_zeros(ints(rng, -50, 50)))),
    "mod(x, y)":      (np.mod,          lambda rng: (ints(rng), replace_zeros(ints(rng, -50, 50)))),
    "x // y":         (np.floor_divide, lambda rng: (ints(rng), replace_zeros(ints(rng)))),
    "x % y":          (np.mod,          lambda rng: (ints(rng), replace_zeros(ints(rng)))),
    "pow(x, y)":      (np.power,        lambda rng: (ints(rng, -99, 99), ints(rng, 0, 40))),
    "x << y":         (np.left_shift,   lambda rng: (ints(rng), ints(rng, 0, 32))),
    "x >> y":         (np.right_shift,  lambda rng: (ints(rng), ints(rng, 0, 32))),
    "x * y - x":      (lambda x, y: x * y - x, lambda rng: (ints(rng), ints(rng))),
    "abs(-x) + ~y":   (lambda x, y: np.abs(-x) + ~y, lambda rng: (ints(rng), ints(rng))),
    "sign(x) * max(x, y)":
        (lambda x, y: np.sign(x) * np.maximum(x, y), lambda rng: (ints(rng), ints(rng))),
    "select(x < y, x & y, x | y ^ 5)":
        (lambda x, y: np.where(x < y, x & y, x | y ^ 5), lambda rng: (ints(rng), ints(rng))),
}


@pytest.mark.parametrize("dtype", [dtypes.int32, dtypes.uint8], ids=str)
@pytest.mark.parametrize("expression", INTEGER_EXPRESSIONS)
def test_integer_expressions(expression, dtype):
    reference, arguments = INTEGER_EXPRESSIONS[expression]
    x, y = (a.astype(dtype.name) for a in arguments(np.random.default_rng(5)))
    if dtype is dtypes.uint8:
        y = replace_zeros(y) & (31 if "<<" in expression or ">>" in expression else 255)
        x = replace_zeros(x)
    with np.errstate(all="ignore"):
        expected = reference(x, y).astype(dtype.name)
    if dtype is dtypes.uint8 and "<<" in expression:
        expected = (x.astype(np.int32) << y.astype(np.int32)).astype(np.uint8)
    np.testing.assert_array_equal(apply(expression, [x, y], dtype), expected)


def test_integer_division_and_pow_at_the_bounds():
    x = np.array([-2**31, -2**31, 7, -7, 0, 2, 2, -1, -1, 1, 3], np.int32)
    y = np.array([-1, 2**31 - 1, 0, 0, 0, -1, 31, -3, -2, -9, -2], np.int32)
    np.testing.assert_array_equal(
        apply("x // y", [x, y], dtypes.int32), [-2**31, -2, 0, 0, 0, -2, 0, 0, 0, -1, -2])
    np.testing.assert_array_equal(
        apply("pow(x, y)", [x, y], dtypes.int32), [0, 0, 1, 1, 1, 0, -2**31, -1, 1, 1, 0])


def test_float_floor_division_and_modulo():
    x = np.array([7, -7, 7.5, -7.5, 0, 1, np.inf], np.float32)
    y = np.array([2, 2, -2, -2.5, 3, 0, 2], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(apply("x // y", [x, y], dtypes.float32), np.floor(x / y))
    x, y = x[:5], y[:5]
    np.testing.assert_array_equal(apply("x % y", [x, y], dtypes.float32), np.mod(x, y))


def test_minimum_and_maximum_propagate_nan():
    x, y = _pairs([1, -2, np.inf, -np.inf, np.nan], [1, -2, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(apply("max(x, y)", [x, y], dtypes.float32), np.maximum(x, y))
    np.testing.assert_array_equal(apply("min(x, y)", [x, y], dtypes.float32), np.minimum(x, y))
    np.testing.assert_array_equal(apply("max(x, 0)", [x], dtypes.float32), np.maximum(x, 0))
    np.testing.assert_array_equal(apply("min(0, x)", [x], dtypes.float32), np.minimum(0, x))


FLOATS = np.array([0, -0.0, 0.9, -0.9, 1, 255, 256, -1, 300.7, -300.7, 2**31, -2.0**31, 1e20, -1e20,
                   np.inf, -np.inf, np.nan], np.float32)
CASTS = {                           # (source dtype, target dtype): arguments
    ("float32", "int32"): FLOATS, ("float32", "uint8"): FLOATS, ("float32", "bool"): FLOATS,
    ("int32", "float32"): np.array([0, -1, 2**31 - 1, -2**31, 16777217], np.int32),
    ("int32", "uint8"): np.array([0, -1, 255, 256, 511, -2**31], np.int32),
    ("int32", "bool"): np.array([0, -1, 256, 1, 2], np.int32),
    ("uint8", "float32"): np.arange(256, dtype=np.uint8),
    ("uint8", "int32"): np.arange(256, dtype=np.uint8),
    ("uint8", "bool"): np.arange(256, dtype=np.uint8),
    ("bool", "float32"): np.array([True, False, True, True, False]),
    ("bool", "int32"): np.array([True, False, True, True, False]),
    ("bool", "uint8"): np.array([True, False, True, True, False]),
}


def _cast(x, to):
    """NumPy's cast; floats are first clamped to the range of int32, and NaN becomes 0."""
    if x.dtype == np.float32 and to in ("int32", "uint8"):
        x = np.clip(np.nan_to_num(x.astype(np.float64), nan=0), -2**31, 2**31 - 1).astype(np.int64)
    return x.astype(to)


@pytest.mark.parametrize("kinds", CASTS, ids=" to ".join)
def test_cast(kinds):
    x, to = CASTS[kinds], dtypes.as_dtype(kinds[1])
    np.testing.assert_array_equal(apply("cast(x)", [x], to), _cast(x, kinds[1]))


BOOL_EXPRESSIONS = ("x & y", "x | y", "x ^ y", "~x", "x == y", "x != y", "x < y", "x >= y",
                    "max(x, y)", "min(x, y)")


@pytest.mark.parametrize("expression", BOOL_EXPRESSIONS)
def test_bool_expressions(expression):
    x, y = np.array([0, 0, 1, 1, 1], bool), np.array([0, 1, 0, 1, 0], bool)
    expected = eval(expression, {"x": x, "y": y, "max": np.maximum, "min": np.minimum})
    arguments = [x, y] if "y" in expression else [x]
    np.testing.assert_array_equal(apply(expression, arguments, dtypes.bool_), expected)


def test_constant_operands_change_no_result():
    x = np.array([3, -5, 0.7, 300.5, np.nan], np.float32)
    np.testing.assert_array_equal(apply("x / 8", [x], dtypes.float32), x / 8)
    np.testing.assert_array_equal(apply("x / -0.5", [x], dtypes.float32), x / np.float32(-0.5))
    np.testing.assert_array_equal(apply("x / 3", [x], dtypes.float32), x / np.float32(3))
    np.testing.assert_array_equal(apply("x ** 2", [x], dtypes.float32), x * x)
    tiny = np.array([1e-45, 0, -3e-45], np.float32)
    np.testing.assert_array_equal(apply("x / 1.4e-45", [tiny], dtypes.float32), [1, 0, -2])
    nonfinite = np.array([np.inf, -np.inf, np.nan], np.float32)
    out = apply("min(x, 1e39)", [nonfinite], dtypes.float32)
    np.testing.assert_array_equal(out, nonfinite)
    n = np.array([3, -5, 7, 2**31 - 1, -2**31], np.int32)
    np.testing.assert_array_equal(apply("x >> 3", [n], dtypes.int32), n >> 3)
    np.testing.assert_array_equal(apply("x >> 40", [n], dtypes.int32), n >> 31)
    np.testing.assert_array_equal(apply("x << 32", [n], dtypes.int32), n * 0)
    out = apply("x ** 2 + max(x, 1) / 4", [x], dtypes.float32)
    np.testing.assert_array_equal(out, x * x + np.maximum(x, 1) / 4)


def test_constants_take_the_dtype_of_the_other_operand():
    x = np.array([1, 2, 3, 4, 5], np.int32)
    np.testing.assert_array_equal(apply("select(x > 2, 1, 0)", [x], dtypes.int32), [0, 0, 1, 1, 1])
    out = apply("select(x > 2, 1, 0) * 0.5", [x], dtypes.float32)
    np.testing.assert_array_equal(out, [0, 0, 0.5, 0.5, 0.5])
    np.testing.assert_array_equal(apply("-1 + x", [x], dtypes.int32), x - 1)
    np.testing.assert_array_equal(apply("x == x", [x], dtypes.bool_), [True] * 5)
