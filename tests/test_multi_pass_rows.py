"""Multi-pass row reductions: one kernel if the rows fit into the cache, and correct values."""
import numpy as np
import pytest

import tensorbrook as tf
from backends import ALL, COMPILED, on
from golden_programs import layer_norm
from plan_interpreter import compile_graph, plan_of
from tensorbrook.ir import Load, LoopKernel

SHAPES = [(128, 10), (64, 300), (33, 7), (5, 1), (3, 40, 16)]


def random_array(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)


def softmax_gradient(x, g):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.softmax(x)
    return y, tape.gradient(y, x, g)


def cross_entropy(x, labels):
    with tf.GradientTape() as tape:
        tape.watch(x)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, x)
        loss = tf.reduce_sum(losses)
    return losses, tape.gradient(loss, x)


def layer_norm_gradient(x, scale, shift, g):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer_norm(x, scale, shift)
    return y, tape.gradient(y, x, g)


def masked_softmax(x, mask):
    return tf.nn.softmax(x * 0.125 + (1.0 - mask) * -1e9)


def arguments(f, shape) -> list[np.ndarray]:
    x, g = random_array(*shape), random_array(*shape, seed=1)
    if f is cross_entropy:
        return [x, (np.arange(x[..., 0].size) % shape[-1]).astype("int32").reshape(shape[:-1])]
    if f in (layer_norm, layer_norm_gradient):
        vectors = [random_array(shape[-1], seed=2), random_array(shape[-1], seed=3)]
        return [x, *vectors, g] if f is layer_norm_gradient else [x, *vectors]
    return {softmax_gradient: [x, g], masked_softmax: [x, (g > 0).astype("float32")]}.get(f, [x])


ONE_KERNEL = [tf.nn.softmax, tf.nn.log_softmax, masked_softmax, softmax_gradient, layer_norm,
              layer_norm_gradient, lambda x: tf.argmax(x, -1), lambda x: tf.nn.l2_normalize(x, -1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("f", ONE_KERNEL)
def test_row_reductions_are_one_kernel(f, shape):
    plan = plan_of(tf.function(f), *map(tf.constant, arguments(f, shape)))
    assert len(plan.steps) == 1
    assert plan.arena_size == 0


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_and_its_gradient_are_one_kernel(shape):
    xs = map(tf.constant, arguments(cross_entropy, shape))
    plan = plan_of(tf.function(lambda *xs: cross_entropy(*xs)[1]), *xs)
    assert len(plan.steps) == 1


@pytest.mark.parametrize("backend", COMPILED)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 5000)], ids=str)
@pytest.mark.parametrize("f", [*ONE_KERNEL, cross_entropy])
def test_values_equal_those_of_eager_operations(f, shape, backend):
    xs = arguments(f, shape)
    with on("reference"):
        expected = f(*map(tf.constant, xs))
    with on(backend):
        actual = tf.function(f)(*map(tf.constant, xs))
    for a, e in zip(*map(outputs, (actual, expected))):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


def outputs(outs) -> list[np.ndarray]:
    return [np.asarray(out) for out in (outs if isinstance(outs, tuple) else (outs,))]


@pytest.mark.parametrize("shape, axis", [((64, 16385), -1), ((4, 16384), -1), ((64, 48), 0)])
def test_rows_that_do_not_fit_into_the_cache_are_several_kernels(shape, axis):
    """Rows that are too long, fewer rows than threads need, and columns."""
    plan = plan_of(tf.function(lambda x: tf.nn.softmax(x, axis)), tf.zeros(shape))
    assert len(plan.steps) == 3


def test_a_fusion_that_would_create_a_cycle_is_not_made():
    """The matmul depends on the tanh and the softmax on both, so tanh and softmax cannot fuse."""
    def f(x, w):
        y = tf.tanh(x)
        return tf.nn.softmax(tf.matmul(y, w) + y)

    kernels = [step.kernel for step in plan_of(tf.function(f), tf.zeros((64, 32)),
                                               tf.zeros((32, 32))).steps]
    assert [isinstance(k, LoopKernel) for k in kernels] == [True, False, True]


def test_a_variable_that_a_later_pass_reads_is_not_updated_in_place():
    v = tf.Variable(random_array(64, 8))

    def step():
        old = v.value()
        v.assign(old * 2.0)
        return old / tf.reduce_sum(old, -1, keepdims=True)

    for backend in dict.fromkeys((*ALL, *COMPILED)):
        with on(backend):
            before = random_array(64, 8)
            v.assign(tf.constant(before))
            actual = np.asarray(tf.function(step)())
        np.testing.assert_allclose(actual, before / before.sum(-1, keepdims=True), rtol=1e-4)
        np.testing.assert_array_equal(np.asarray(v), before * 2)


@pytest.mark.parametrize("max_buffers", [3, 5, 9])
def test_a_target_with_few_buffers_has_smaller_kernels(max_buffers):
    xs = map(tf.constant, arguments(layer_norm_gradient, (64, 48)))
    graph = tf.function(layer_norm_gradient).get_concrete_function(*xs).graph
    for step in compile_graph(graph, max_buffers).steps:
        buffers = {*step.kernel.reads, *step.kernel.writes}
        assert len(step.kernel.eqns) == 1 or len(buffers) <= max_buffers


def test_loads_of_the_same_view_are_one_value():
    plan = plan_of(tf.function(tf.nn.softmax), tf.zeros((64, 48)))
    values = plan.steps[0].kernel.values
    assert sum(isinstance(v, Load) for v in values) == 1
