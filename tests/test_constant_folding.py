"""Constant folding equals the kernels: for every elementwise primitive, dtype and special value.

A tf.function whose operands are constants gives the result of the same operation on tensors. The
results are equal to the last bit on one backend if the operation is rounded once; other functions
have the tolerance of the math library. The reference backend is the oracle of both.
"""
import re
from itertools import product
from math import inf, nan

import numpy as np
import pytest

import tensorbrook as tf
from backends import ALL, on
from tensorbrook.base import dtypes
from tensorbrook.ir import PRIMITIVES
from tensorbrook.tensor import bind

pytestmark = pytest.mark.slow

FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 7.0, 2.0, -3.4e38, 2.0**31, inf, -inf, nan]
VALUES = {
    "float32": FLOATS + [1e-40],
    "float16": [np.clip(x, -6e4, 6e4) if abs(x) < inf else x for x in FLOATS],
    "float64": FLOATS,
    "int32": [0, 1, -1, 2, 7, -7, 31, 255, 256, 2**31 - 1, -2**31],
    "uint8": [0, 1, 2, 7, 31, 128, 255],
    "bool": [False, True],
}
DTYPES_OF = {"reference": tuple(VALUES), "wasm": ("float32", "int32", "uint8", "bool"),
             "webgpu": ("float32", "float16", "int32", "uint8", "bool")}
ELEMENTWISE = [name for name, prim in PRIMITIVES.items()
               if prim.kind == "elementwise" and name != "cast"]
# Functions that are not rounded correctly, or whose quotient a GPU does not round correctly.
APPROXIMATE = {"exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "erf", "sigmoid", "pow"}
APPROXIMATE_ON_GPU = {"divide", "sqrt"}
# Denormals may be flushed to 0. WGSL does not define the sign of a zero, and a driver may compile a
# product with the constant 0 to 0, even of NaN and infinity.
TINY = 2e-38


def is_undefined_in_wgsl(name: str, x: np.ndarray, constant: np.ndarray, swap: bool) -> np.ndarray:
    """Where a product with the constant 0, or the quotient of the constant 0, is NaN."""
    is_nan_product = (constant == 0) & ~np.isfinite(x)
    if name == "divide" and swap:
        is_nan_product = (constant == 0) & ((x == 0) | (x != x))
    return is_nan_product & (name == "multiply" or name == "divide" and swap)


def arity(name: str) -> int:
    return len(set(re.findall(r"\b[xyz]\b", str(PRIMITIVES[name].expression))))


def argument_lists(name: str, dtype: str) -> list[tuple]:
    """The tuples of special values to which a primitive is applied, as NumPy scalars."""
    values = list(np.array(VALUES[dtype], dtype))
    if name in ("sin", "cos"):
        values = [x for x in values if not abs(float(x)) > 1e6]
    if name == "select":
        return [(condition, x, y) for condition in (np.True_, np.False_)
                for x, y in zip(values, values[1:] + values[:1])]
    return list(product(values, repeat=arity(name)))


def is_supported(name: str, dtype: str) -> bool:
    spec = tf.zeros((), dtype).spec
    condition = tf.zeros((), "bool").spec
    try:
        PRIMITIVES[name].spec(*((condition, spec, spec) if name == "select" else
                                (spec,) * arity(name)))
    except tf.errors.DTypeError:
        return False
    return True


CASES = [(name, dtype) for name in ELEMENTWISE for dtype in VALUES if is_supported(name, dtype)]


def selected(results, shape=None) -> tf.Tensor:
    """The results, one for each row, by selections: a folded result becomes their operand."""
    count = len(results)
    index = tf.range(count) if shape is None else tf.broadcast_to(
        tf.reshape(tf.range(count), (count, 1)), (count, shape))
    out = results[0]
    for i, result in enumerate(results):
        out = bind("select", bind("equal", index, i), result, out)
    return out


def assert_same(actual, expected, exact: bool, label: str):
    """Equal to the last bit, but for NaN, denormals and the sign of a zero that was a denormal."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype and actual.shape == expected.shape, label
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, label)
        return
    tolerance = 0 if exact else 2e-3 if expected.dtype == "float16" else 2e-6
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=TINY, err_msg=label)
    number = (expected == expected) & (actual != 0)
    np.testing.assert_array_equal(np.signbit(actual)[number], np.signbit(expected)[number], label)


def zero_signs(x) -> np.ndarray:
    x = np.asarray(x)
    return (x == 0) & np.signbit(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)


def is_exact(name: str, backend: str) -> bool:
    return name not in APPROXIMATE and not (backend == "webgpu" and name in APPROXIMATE_ON_GPU)


def constant(x) -> tf.Tensor:
    return tf.constant(x, x.dtype.name)


def columns(rows) -> list[tf.Tensor]:
    return [tf.constant(np.array(column)) for column in zip(*rows)]


@pytest.mark.parametrize("name,dtype", CASES)
def test_operations_on_constants(name, dtype):
    rows, results = argument_lists(name, dtype), {}
    for backend in (b for b in ALL if dtype in DTYPES_OF[b]):
        with on(backend):
            folded = tf.function(lambda: selected(
                [bind(name, *map(constant, row)) for row in rows]))()
            eager = bind(name, *columns(rows))
            label = f"{name} of {dtype} on {backend}"
            assert_same(folded, eager, is_exact(name, backend), f"{label}, folded and eager")
            if backend != "webgpu" and name not in ("maximum", "minimum", *APPROXIMATE):
                np.testing.assert_array_equal(zero_signs(folded), zero_signs(eager), label)
            results[backend] = np.asarray(folded)
    for backend, actual in results.items():
        assert_same(actual, results["reference"], is_exact(name, backend),
                    f"{name} of {dtype}: {backend} and reference")


@pytest.mark.parametrize("name,dtype", [case for case in CASES if arity(case[0]) == 2])
def test_operations_on_a_tensor_and_a_constant(name, dtype):
    """Identities such as x * 1, and shorter code for a constant operand, change no result."""
    values = np.unique(np.concatenate([row[:1] for row in argument_lists(name, dtype)]).ravel())
    values = np.array(VALUES[dtype], dtype) if dtype != "bool" else values
    for backend in (b for b in ALL if dtype in DTYPES_OF[b]):
        with on(backend):
            x = tf.constant(values)
            for swap in (False, True):
                def call(x, y, swap=swap):
                    return bind(name, *((y, x) if swap else (x, y)))
                folded = tf.function(lambda x, call=call: selected(
                    [call(x, constant(y)) for y in values], len(values)))(x)
                eager = np.asarray(call(x, tf.constant(values[:, None].copy())))
                folded = np.asarray(folded)
                if backend == "webgpu":
                    undefined = is_undefined_in_wgsl(name, values, values[:, None], swap)
                    folded = np.where(undefined, eager, folded)
                assert_same(folded, eager, is_exact(name, backend),
                            f"{name} of {dtype} on {backend}, constant {'x' if swap else 'y'}")


@pytest.mark.parametrize("to", VALUES)
@pytest.mark.parametrize("dtype", VALUES)
def test_casts_of_constants(dtype, to):
    values, results = np.array(VALUES[dtype], dtype), {}
    for backend in (b for b in ALL if {dtype, to} <= set(DTYPES_OF[b])):
        with on(backend):
            def cast(x):
                return bind("cast", x, dtype=dtypes.as_dtype(to))
            folded = tf.function(lambda: selected([cast(constant(x)) for x in values]))()
            eager = cast(tf.constant(values))
            assert_same(folded, eager, True, f"{dtype} to {to} on {backend}")
            if backend != "webgpu":
                np.testing.assert_array_equal(zero_signs(folded), zero_signs(eager))
            results[backend] = np.asarray(folded)
    for backend, actual in results.items():
        assert_same(actual, results["reference"], True, f"{dtype} to {to}: {backend}")


def test_a_cast_condition():
    """The case of the fault: 2 is a true condition, also as a constant."""
    for backend in ALL:
        with on(backend):
            def choose(x):
                return tf.where(tf.cast(tf.constant(2), tf.bool), x, -x)
            x = tf.constant([1.0, 2.0])
            assert tf.function(choose)(x).tolist() == choose(x).tolist() == [1, 2]


VIEWS = {
    "reshape": lambda x: tf.reshape(x, (1, 1)), "broadcast_to": lambda x: tf.broadcast_to(x, (3,)),
    "transpose": lambda x: tf.transpose(tf.broadcast_to(x, (2, 3))),
    "slice": lambda x: tf.broadcast_to(x, (4,))[1:3], "stop_gradient": tf.stop_gradient,
    "pad": lambda x: tf.pad(tf.reshape(x, (1,)), [(1, 2)], constant_values=x),
    "concat": lambda x: tf.stack([x, x, -x]), "pad with 0": lambda x: tf.pad(tf.reshape(x, (1,)),
                                                                             [(1, 1)]),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_constants(name):
    for backend, value in product(ALL, (0.0, -0.0, 1.5, inf, nan, -1.0)):
        with on(backend):
            zero = tf.constant(0.0)
            folded = tf.function(
                lambda zero, value=value: VIEWS[name](tf.constant(value)) / (zero + 1.0))(zero)
            eager = VIEWS[name](tf.constant(value))
            assert_same(folded, eager, True, f"{name} of {value} on {backend}")
            if backend != "webgpu":
                np.testing.assert_array_equal(zero_signs(folded), zero_signs(eager))
