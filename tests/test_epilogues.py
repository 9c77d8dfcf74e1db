"""Epilogue fusion: elementwise operations after a matmul or convolution run inside its kernel."""
import numpy as np
import pytest

import backends
import tensorbrook as tf
from backends import COMPILED, on
from assertions import assert_close, assert_independent_of_threads
from plan_interpreter import plan_of
from wgsl_runner import shaders_of
from tensorbrook.ir import KernelCall, Plan


def dense(activation):
    return lambda x, w, b: activation(tf.matmul(x, w) + b)


def with_gradients(f):
    """The value of f, and the gradients of the sum of its squares."""
    def program(*xs):
        with tf.GradientTape() as tape:
            tape.watch(list(xs))
            y = f(*xs)
            total = tf.reduce_sum(tf.square(y))
        return [y, *tape.gradient(total, list(xs))]
    return program


def momentum_step(f):
    """The first argument and its velocity after a gradient step with momentum."""
    def step(v, velocity, *xs):
        with tf.GradientTape() as tape:
            tape.watch(v)
            total = tf.reduce_sum(tf.square(f(v, *xs)))
        velocity = velocity * 0.9 - 0.01 * tape.gradient(total, v)
        return v + velocity, velocity
    return step


def conv_batch_norm(x, w, mean, variance, scale, shift):
    y = tf.nn.conv2d(x, w, padding="SAME")
    return tf.nn.relu((y - mean) * tf.rsqrt(variance * variance + 1e-3) * scale + shift)


def conv_relu(strides=1, padding="SAME"):
    return lambda x, w, b: tf.nn.relu(tf.nn.conv2d(x, w, strides, padding) + b)


def product_and_scaled_product(x, w):
    y = tf.matmul(x, w)
    return y, tf.cast(tf.range(y.shape[1]), tf.float32) * y


# name: (function, number of kernels with an epilogue, argument shapes...)
PROGRAMS = {
    "dense, ReLU": (dense(tf.nn.relu), 1, (33, 20), (20, 17), (17,)),
    "dense, GELU, its gradients": (with_gradients(dense(tf.nn.gelu)), 1, (12, 9), (9, 30), (30,)),
    "dense, ReLU, its gradients": (with_gradients(dense(tf.nn.relu)), 1, (12, 9), (9, 31), (31,)),
    "one column": (dense(tf.tanh), 1, (37, 9), (9, 1), (1,)),
    "one row": (dense(tf.tanh), 1, (1, 9), (9, 37), (37,)),
    "one element": (dense(tf.tanh), 1, (1, 3), (3, 1), (1,)),
    "empty inner axis": (dense(tf.nn.sigmoid), 1, (5, 0), (0, 17), (17,)),
    "no rows": (dense(tf.nn.sigmoid), 0, (0, 3), (3, 7), (7,)),
    "a bias for each row": (lambda x, w, b: tf.nn.relu(tf.matmul(x, w) + b), 1, (9, 4), (4, 18),
                            (9, 1)),
    "several blocks": (dense(tf.nn.relu), 1, (200, 450), (450, 530), (530,)),
    "vec4 columns": (lambda x, w, b, r: tf.nn.relu(tf.matmul(x, w) + b) + r, 1, (400, 36),
                     (36, 200), (200,), (400, 200)),
    "vec4 columns, operand of one column": (
        lambda x, w, b: tf.tanh(tf.matmul(x, w) + b), 1, (400, 36), (36, 200), (400, 1)),
    "residual": (lambda x, w, r: r + tf.matmul(x, w), 1, (65, 30), (30, 42), (65, 42)),
    "batched": (lambda x, w, b: tf.nn.silu(tf.matmul(x, w) + b), 1, (3, 9, 5), (3, 5, 21), (21,)),
    "two layers": (lambda x, v, w: tf.nn.relu(tf.matmul(tf.nn.relu(tf.matmul(x, v)), w)), 2,
                   (30, 9), (9, 30), (30, 5)),
    "sum of two products": (lambda x, v, w: tf.tanh(tf.matmul(x, v) + tf.matmul(x, w)), 1, (20, 9),
                     (9, 30), (9, 30)),
    "dropout mask": (lambda x, w, u: tf.where(u > 0.0, tf.matmul(x, w) * 2.0, 0.0), 1, (20, 9),
                     (9, 30), (20, 30)),
    "product has other consumers": (product_and_scaled_product, 1, (20, 9), (9, 23)),
    "transposed residual": (lambda x, w, r: tf.transpose(r) + tf.matmul(x, w), 0, (65, 30),
                            (30, 42), (42, 65)),
    "plus its transpose": (lambda x, w: tf.transpose(tf.matmul(x, w)) + tf.matmul(x, w), 0, (9, 30),
                          (30, 9)),
    "both operands are the same": (lambda x: (tf.matmul(x, x) ** 2 + 1.0) ** 0.7, 1, (18, 18)),
    "momentum": (momentum_step(lambda w, x: tf.matmul(x, w)), 2, (40, 30), (40, 30), (25, 40)),
    "convolution, ReLU": (conv_relu(), 1, (2, 9, 8, 3), (3, 3, 3, 17), (17,)),
    "convolution of one row, ReLU": (conv_relu(), 1, (20, 1, 9, 8), (3, 3, 8, 17), (17,)),
    "convolution to few channels, ReLU": (conv_relu(), 0, (2, 9, 8, 3), (3, 3, 3, 5), (5,)),
    "convolution, batch norm": (conv_batch_norm, 1, (16, 5, 6, 8), (3, 3, 8, 18), *[(18,)] * 4),
    "convolution, its gradients": (
        with_gradients(conv_relu(2)), 1, (2, 9, 8, 3), (3, 3, 3, 21), (21,)),
    "grouped convolution, ReLU": (conv_relu(), 1, (2, 7, 8, 6), (3, 2, 2, 27), (27,)),
    "depthwise convolution, ReLU": (conv_relu(), 1, (3, 7, 8, 18), (3, 3, 1, 18), (18,)),
    "convolution filter with momentum": (
        momentum_step(lambda w, x: tf.nn.conv2d(x, w)), 2, (3, 3, 4, 9), (3, 3, 4, 9),
        (5, 9, 9, 4)),
    "convolution input with momentum": (
        momentum_step(lambda x, w: tf.nn.conv2d(x, w, 2)), 2, (5, 9, 9, 4), (5, 9, 9, 4),
        (3, 3, 4, 9)),
}


def inputs(name: str) -> list[tf.Tensor]:
    rng = np.random.default_rng(5)
    return [tf.constant(rng.uniform(-1, 1, s).astype("float32")) for s in PROGRAMS[name][2:]]


def results(name: str) -> list[np.ndarray]:
    outs = tf.function(PROGRAMS[name][0])(*inputs(name))
    return [np.asarray(x) for x in (outs if isinstance(outs, (list, tuple)) else [outs])]


def calls_with_epilogue(plan: Plan) -> list[KernelCall]:
    return [s.kernel for s in plan.steps if isinstance(s.kernel, KernelCall) and s.kernel.epilogue]


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_epilogue_changes_no_value(name, backend):
    with on("reference"):
        expected = results(name)
    with on(backend):
        actual = results(name)
    assert_close(actual, expected, 3e-5, name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_epilogue_is_fused(name):
    with on("reference"):
        plan = plan_of(tf.function(PROGRAMS[name][0]), *inputs(name))
    assert len(calls_with_epilogue(plan)) == PROGRAMS[name][1], str(plan)


@pytest.fixture(scope="module")
def by_threads() -> dict:
    return backends.by_threads(PROGRAMS, results)


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_do_not_depend_on_the_number_of_threads(name, by_threads):
    assert_independent_of_threads(by_threads, name)


def test_a_product_with_an_earlier_consumer_has_no_epilogue():
    def f(x, w):
        y = tf.matmul(x, w)
        return tf.matmul(y, y), tf.nn.relu(y) + tf.matmul(w, x)

    with on("reference"):
        plan = plan_of(tf.function(f), tf.ones((9, 9)), tf.ones((9, 9)))
    first, = calls_with_epilogue(plan)
    assert first.args == (plan.inputs[1], plan.inputs[0]), "the last product of the three"


def test_a_variable_update_is_the_epilogue_of_its_gradient():
    w = tf.Variable(tf.ones((30, 20)))

    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.matmul(x, w)))
        w.assign_sub(0.1 * tape.gradient(loss, w))
        return loss

    with on("reference"):
        plan = plan_of(tf.function(step), tf.ones((8, 30)))
    *_, update = calls_with_epilogue(plan)
    assert update.epilogue.writes == plan.outputs[1:] and dict(plan.input_output_aliases) == {1: 1}


def test_an_epilogue_updates_an_operand_of_its_product():
    w = tf.Variable(np.eye(20, dtype="float32") * 2)

    @tf.function
    def step(x):
        w.assign(tf.matmul(w, x) * 0.5)
        return tf.reduce_sum(w)

    assert float(step(tf.constant(np.full((20, 20), 3, "float32")))) == 20 * 20 * 3
    np.testing.assert_array_equal(np.asarray(w), np.full((20, 20), 3, "float32"))


@pytest.mark.parametrize("name, escapes", [
    ("dense, ReLU", False), ("product has other consumers", True)])
def test_a_product_with_other_consumers_is_stored(name, escapes):
    with on("reference"):
        plan = plan_of(tf.function(PROGRAMS[name][0]), *inputs(name))
    call, = calls_with_epilogue(plan)
    assert call.result_escapes == escapes
    put, = (text.split("fn store(")[1] for text in shaders_of(plan) if "fn store(" in text)
    put = put.split("\n}\n")[0]
    assert put.count("] = ") == len(call.epilogue.stores) + escapes, put


@pytest.mark.parametrize("name", ["vec4 columns", "vec4 columns, operand of one column"])
def test_an_epilogue_of_vec4_stores_is_vec4(name):
    with on("reference"):
        plan = plan_of(tf.function(PROGRAMS[name][0]), *inputs(name))
    code, = (text for text in shaders_of(plan) if "fn store_vec4(" in text)
    put = code.split("fn store_vec4(")[1].split("\n}\n")[0]
    assert put.count("= vec4<f32>(") == 1 and "column_vec4" in put, put
