"""Kernels partitioned across threads: values and gradients against the reference, and bit-exact
results for every number of threads."""
import functools

import numpy as np
import pytest

import backends
import tensorbrook as tf
from backends import on
from assertions import assert_close, assert_independent_of_threads
from case_evaluation import gradient

PROGRAMS = {
    "chain": (lambda x, y: tf.tanh(x * 2.0 + y) * tf.exp(-y), (300, 401), (401,)),
    "transposed": (lambda x, y: tf.transpose(x) * y[::-1], (257, 300), (300, 257)),
    "matmul": (tf.matmul, (150, 257), (257, 131)),
    "matmul, transposed": (lambda x, y: tf.matmul(x, y, True, True), (257, 150), (131, 257)),
    "matmul, batched": (tf.matmul, (7, 65, 33), (7, 33, 129)),
    "dense": (lambda x, w: tf.nn.relu(tf.matmul(x, w) - 0.5), (128, 200), (200, 100)),
    "softmax": (tf.nn.softmax, (1000, 101)),
    "log_softmax of columns": (lambda x: tf.nn.log_softmax(x, 0), (301, 150)),
    "layer norm": (lambda x: (x - tf.reduce_mean(x, -1, True)) * tf.rsqrt(
        tf.reduce_variance(x, -1, True) + 1e-3), (500, 130)),
    "batch norm": (lambda x: (x - tf.reduce_mean(x, (0, 1, 2), True)) * tf.rsqrt(
        tf.reduce_variance(x, (0, 1, 2), True) + 1e-3), (16, 14, 14, 24)),
    "sum": (tf.reduce_sum, (400, 311)),
    "sum of rows": (lambda x: tf.reduce_sum(x, 1), (611, 300)),
    "sum of columns": (lambda x: tf.reduce_sum(x * x, 0), (2999, 41)),
    "maximum": (lambda x: tf.reduce_max(x, (0, 2)), (31, 67, 61)),
    "argmax": (lambda x: tf.argmax(x, 1), (3000, 31)),
    "conv2d": (lambda x, w: tf.nn.conv2d(x, w, padding="SAME"), (8, 28, 28, 5), (3, 3, 5, 16)),
    "conv2d, stride": (lambda x, w: tf.nn.conv2d(x, w, 2), (4, 33, 35, 8), (5, 3, 8, 24)),
    "depthwise": (lambda x, w: tf.nn.conv2d(x, w, padding="SAME"), (4, 30, 30, 12), (3, 3, 1, 12)),
    "max_pool": (lambda x: tf.nn.max_pool2d(x, 2), (16, 28, 28, 9)),
    "avg_pool": (lambda x: tf.nn.avg_pool2d(x, 3, 2, "SAME"), (16, 29, 28, 9)),
    "concat and pad": (lambda x, y: tf.pad(tf.concat([x, tf.transpose(y)], 0), ((3, 2), (1, 0))),
                (200, 300), (300, 150)),
    "gather": (lambda x: tf.gather(x, tf.range(0, 3000, 3)) * 2.0, (3000, 40)),
    "scatter": (lambda x: tf.math.unsorted_segment_sum(x, tf.range(4000) % 7, 7), (4000, 40)),
}


@functools.cache
def inputs(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.uniform(-1, 1, shape).astype("float32") for shape in PROGRAMS[name][1:]]


def program(name: str):
    f = PROGRAMS[name][0]
    return tf.function(lambda *xs: f(*xs) if name == "argmax" else gradient(f, *xs))


def reference_results(name: str) -> list[np.ndarray]:
    with on("reference"):
        return results(name)


def results(name: str) -> list[np.ndarray]:
    outs = program(name)(*map(tf.constant, inputs(name)))
    leaves = [outs] if isinstance(outs, tf.Tensor) else [*outs[0], *outs[1]]
    return [np.asarray(x) for x in leaves]


@pytest.fixture(scope="module")
def by_build() -> dict:
    found = {}
    for relaxed in (True, False):
        with backends.threads(2, relaxed):
            found |= {(name, relaxed): results(name) for name in PROGRAMS}
    return found


@pytest.mark.parametrize("relaxed", [True, False], ids=["relaxed", "simd"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_gradients(name, relaxed, by_build):
    assert_close(by_build[name, relaxed], reference_results(name), 3e-5, name)


@pytest.fixture(scope="module")
def by_threads() -> dict:
    return backends.by_threads(PROGRAMS, results)


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_do_not_depend_on_the_number_of_threads(name, by_threads):
    assert_independent_of_threads(by_threads, name)
