"""Finite checks of gradients: which operands are checked, and which kernels store the flag."""
import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from tensorbrook.backends.webgpu import target_info
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.compiler import lower, optimize
from tensorbrook.ir import LoopKernel, FiniteCheckStore
from tensorbrook.ir.verifier import verify_plan

TARGET = target_info(DeviceInfo(f16=True))


def finite(*tensors):
    """The check of LossScaleOptimizer."""
    all_finite = tf.constant(True)
    for x in tensors:
        all_finite = tf.logical_and(tf.reduce_all(tf.math.is_finite(x)), all_finite)
    return all_finite


def to_float32(x):
    return tf.cast(x, tf.float32)


def matmul(a, b, **transposes):
    return tf.matmul(to_float32(a), to_float32(b), **transposes)


def filter_gradient(image, g, width, strides=1):
    """The filter gradient of a convolution, for the output cotangent g."""
    image, g = (tf.reshape(to_float32(a), (1, *a.shape, 1)) for a in (image, g))
    w = tf.ones((width, width, 1, 1))
    with tf.GradientTape() as tape:
        tape.watch(w)
        out = tf.nn.conv2d(image, w, strides=strides, padding="VALID")
    return tape.gradient(out, w, g)


# name: (function of x: float16[4,5], y: float16[5,6] and z: float32[4,5], checked operands)
CHECKED = {
    "a matmul: both operands": (lambda x, y, z: [matmul(x, y)], "x y"),
    "a transposed matmul, reshaped": (
        lambda x, y, z: [tf.reshape(matmul(y, x, transpose_a=True, transpose_b=True), (3, 8))],
        "x y"),
    "an operand twice": (lambda x, y, z: [matmul(x, y), matmul(x, x, transpose_b=True)], "x y"),
    "a sum of an operand": (lambda x, y, z: [matmul(x, y), tf.reduce_sum(to_float32(y), 0)], "x y"),
    "a sum of a value that is not stored": (
        lambda x, y, z: [tf.reduce_sum(to_float32(tf.exp(x)), 0)], "sum"),
    "a matmul of float32": (lambda x, y, z: [tf.matmul(z, to_float32(y))], "result"),
    "a matmul rounded to float16": (lambda x, y, z: [tf.matmul(x, y)], "result"),
    "a slice of a matmul": (lambda x, y, z: [matmul(x, y)[1:]], "result"),
    "a filter gradient: both operands": (lambda x, y, z: [filter_gradient(y, x, 2)], "x y"),
    "a filter gradient that skips pixels": (
        lambda x, y, z: [filter_gradient(y[1:], x[:2, :3], 1, 2)], "result"),
    "float32": (lambda x, y, z: [matmul(x, y), z], "x y z"),
}


def arguments():
    rng = np.random.default_rng(3)
    return [tf.constant(rng.normal(size=shape).astype(dtype))
            for shape, dtype in (((4, 5), "f2"), ((5, 6), "f2"), ((4, 5), "f4"))]


@pytest.mark.parametrize("name", CHECKED)
def test_checks_move_to_the_operands(name):
    f, expected = CHECKED[name]
    with on("reference"):
        graph = tf.function(lambda *xs: finite(*f(*xs))).get_concrete_function(*arguments()).graph
    graph = optimize(graph, TARGET)
    check, = (e for e in graph.eqns if e.prim.name == "all_finite")
    names = {e.out: "sum" if e.prim.name == "reduce_sum" else "result" for e in graph.eqns}
    names |= dict(zip(graph.inputs, "xyz"))
    assert " ".join(sorted(names[a] for a in check.args)) == expected


@pytest.mark.parametrize("bad", [None, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", CHECKED)
def test_every_non_finite_element_clears_the_flag(name, bad):
    """Checking the operands gives the same flag as checking the values."""
    f, _ = CHECKED[name]
    run = tf.function(lambda *xs: finite(*f(*xs)))
    for argument in range(3 if bad is not None else 1):
        xs = arguments()
        if bad is not None:
            array = np.array(xs[argument])
            array[-1, 2] = bad
            xs[argument] = tf.constant(array)
        with on("reference"):
            expected = bool(run(*xs))
        with on("webgpu"):
            assert bool(run(*xs)) == expected


def plan_on_gpu(f, *xs):
    graph = optimize(tf.function(f).get_concrete_function(*xs).graph, TARGET)
    plan = lower(graph, TARGET)
    verify_plan(plan)
    return plan


def finite_check_stores(plan) -> list[list[FiniteCheckStore]]:
    """The finite-check stores of each generated loop."""
    loops = [k if isinstance(k, LoopKernel) else k.epilogue for k in (s.kernel for s in plan.steps)]
    return [[s for s in loop.stores if isinstance(s, FiniteCheckStore)] for loop in loops if loop]


def test_producers_store_the_flag():
    """In an epilogue, a loop and a reduction; inputs of equal size are checked in one loop."""
    def f(x, w):
        y = tf.nn.relu(tf.matmul(x, w))
        z = tf.exp(y * 2.0)
        norm = tf.reduce_sum(to_float32(x) * 3.0, 1)
        return finite(matmul(y, z), norm, x, x * 2, w), y, z, norm

    x = tf.constant(np.ones((8, 8), "float16"))
    with on("reference"):
        plan = plan_on_gpu(f, x, x + 1)
    assert sorted(map(len, finite_check_stores(plan))) == [0, 2, 2, 2]
    assert "= false unless v" in str(plan)
    with on("webgpu"):
        run = tf.function(f)
        assert run(x, x * 0.1)[0] and not run(x, x)[0]            # exp(16) overflows float16


def test_flags_are_independent():
    def f(x, y):
        a, b = finite(x), finite(y, x * 0.5)
        return tf.where(a, 1.0, 0.0), tf.where(b, 1.0, 0.0), tf.logical_and(a, b)

    good, bad = (tf.constant(np.full((3,), n, "float16")) for n in (1.0, np.inf))
    with on("webgpu"):
        run = tf.function(f)
        for x, y, expected in ((good, good, (1, 1, 1)), (good, bad, (1, 0, 0)),
                               (bad, good, (0, 0, 0))):
            assert tuple(map(int, run(x, y))) == expected


def test_checks_of_many_rows_and_of_split_reductions():
    """A reduction with several rows per workgroup, and a reduction of two dispatches."""
    def f(x):
        doubled = to_float32(x) * 2.0
        rows, total = tf.reduce_sum(doubled, 1), tf.reduce_sum(doubled)
        return finite(rows), finite(total, x[0, 0]), rows, total

    x = np.ones((300, 100), "float16")
    with on("webgpu"):
        run = tf.function(f)
        assert [bool(ok) for ok in run(tf.constant(x))[:2]] == [True, True]
        x[299, 99] = np.nan
        assert [bool(ok) for ok in run(tf.constant(x))[:2]] == [False, False]
