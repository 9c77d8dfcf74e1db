"""Equations with several results, from tracing to code generation, with a test primitive."""
import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from plan_interpreter import execute_plan, plan_of
from tensorbrook.backends.wasm.module_codegen import emit_module
from tensorbrook.ir import PRIMITIVES, Primitive, TensorSpec, format_graph
from tensorbrook.ops.registration import primitive


def _polar_spec(x: TensorSpec, y: TensorSpec) -> tuple[TensorSpec, ...]:
    return TensorSpec(x.shape, x.dtype), TensorSpec(x.shape, x.dtype), TensorSpec((), tf.int32)


def _polar_vjp(gs, outs, x, y):
    """The results are radius, product and count; a cotangent may be None."""
    dx, dy = x * 0.0, y * 0.0
    if gs[0] is not None:
        dx, dy = gs[0] * x / outs[0], gs[0] * y / outs[0]
    if gs[1] is not None:
        dx, dy = dx + gs[1] * y, dy + gs[1] * x
    assert gs[2] is None
    return dx, dy


@pytest.fixture(autouse=True)
def polar():
    apply = primitive(
        "polar", "kernel", _polar_spec, _polar_vjp,
        lambda np, x, y: (np.hypot(x, y), x * y, np.asarray(x.size)),
        kernel_call=lambda specs, outs, **_: ("polar", (specs[0].count, len(outs)), outs[0].count))
    with on("reference"):
        yield apply
    del PRIMITIVES["polar"]


X, Y = tf.constant([3.0, 5.0]), tf.constant([4.0, 12.0])


def test_bind_returns_a_tuple(polar):
    for call in (polar, tf.function(polar)):
        radius, product, count = call(X, Y)
        assert (radius.tolist(), product.tolist(), int(count)) == ([5, 13], [12, 60], 2)


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_gradients_of_some_of_the_results(polar, wrap):
    def gradients(results):
        with tf.GradientTape() as tape:
            tape.watch((X, Y))
            total = sum(tf.reduce_sum(polar(X, Y)[i]) for i in results)
        return tape.gradient(total, (X, Y))

    for results, expected in (
            ((0,), [3 / 5, 5 / 13]), ((1,), [4, 12]), ((0, 1), [4.6, 12 + 5 / 13])):
        dx, _ = wrap(lambda results=results: gradients(results))()
        np.testing.assert_allclose(dx, expected, rtol=1e-6)


def test_second_derivative(polar):
    with tf.GradientTape() as outer:
        outer.watch(X)
        with tf.GradientTape() as tape:
            tape.watch(X)
            y = polar(X, Y)[0]
        gradient = tape.gradient(y, X)
    second = outer.gradient(gradient, X)
    np.testing.assert_allclose(second, Y.numpy() ** 2 / np.hypot(X, Y) ** 3, rtol=1e-6)


def test_gradient_of_a_tf_function(polar):
    f = tf.function(polar)
    with tf.GradientTape() as tape:
        tape.watch(X)
        total = tf.reduce_sum(f(X, Y)[1])
    assert tape.gradient(total, X).tolist() == [4, 12]


def test_common_subexpressions_and_dead_code_are_eliminated(polar):
    def f(x, y):
        polar(y, x)
        return polar(x, y)[0] + polar(x, y)[1]

    plan = plan_of(tf.function(f), X, Y)
    assert [e.prim.name for e in plan.graph.eqns] == ["polar", "add"]
    assert "%2: float32[2], %3: float32[2], %4: int32[] = polar(%0, %1)" in format_graph(plan.graph)


def test_every_result_has_a_buffer(polar):
    f = tf.function(lambda x, y: (polar(x, y)[1], tf.transpose(polar(x, y)[0] * 2.0)))
    plan = plan_of(f, X, Y)
    product, radius = execute_plan(plan, [X.numpy(), Y.numpy()])
    assert (product.tolist(), radius.tolist()) == ([12, 60], [10, 26])
    assert len(plan.steps[0].kernel.writes) == 3 and "= polar(" in str(plan)
    assert b"polar" in emit_module(plan, relaxed=True, shared=False)


def test_a_single_result_is_a_tuple_of_one():
    assert isinstance(PRIMITIVES["add"], Primitive)
    graph = tf.function(lambda x: x + x).get_concrete_function(X).graph
    assert graph.eqns[0].outs == (graph.eqns[0].out,)
