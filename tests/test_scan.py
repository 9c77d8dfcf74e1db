"""Scans: plans, bodies with Variables and random numbers, and errors."""
from dataclasses import replace

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from op_cases import CASES
from golden_programs import variable, zeros
from case_evaluation import inputs, results
from plan_interpreter import execute_plan, plan_of
from tensorbrook.base import tree
from tensorbrook.errors import InvalidArgumentError
from tensorbrook.ir import ElementwiseOp, Plan, ScanKernel
from tensorbrook.ir.verifier import verify_plan
from tensorbrook.ops.control_flow import scan_loop

SCAN_CASES = [name for name in CASES if name.split("/")[0] == "scan"]


def scans(plan: Plan) -> list[ScanKernel]:
    return [step.kernel for step in plan.steps if isinstance(step.kernel, ScanKernel)]


def recurrent(x, h, w, u):
    def step(h, x):
        h = tf.tanh(tf.matmul(x, w) + tf.matmul(h, u))
        return h, h
    return scan_loop(step, h, x)


def loss_and_gradients(x, h, w, u):
    with tf.GradientTape() as tape:
        tape.watch((w, u))
        loss = tf.reduce_sum(tf.square(recurrent(x, h, w, u)[0]))
    return loss, *tape.gradient(loss, (w, u))


def random_arrays(*shapes):
    rng = np.random.default_rng(4)
    return [rng.uniform(-0.5, 0.5, s).astype("float32") for s in shapes]


SHAPES = (5, 6, 3), (6, 4), (3, 4), (4, 4)


# ── plans ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SCAN_CASES)
def test_plans_give_the_results_of_the_reference(name):
    case = CASES[name]
    for variant in range(len(case.shapes)):
        xs = inputs(case, variant)
        with on("reference"):
            expected = results(case.function, xs)
            plan = plan_of(tf.function(case.function), *xs)
        actual = execute_plan(plan, [x.numpy() for x in xs])
        for a, e in zip(actual, expected, strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-5, atol=1e-5)


def test_residuals_of_the_gradient_are_outputs_of_the_forward_scan():
    plan = plan_of(tf.function(loss_and_gradients), *(zeros(*shape) for shape in SHAPES))
    forward, backward = scans(plan)
    assert (forward.reverse, backward.reverse) == (False, True)
    assert [k.kernel for k in forward.kernels if hasattr(k, "kernel")] == ["gemm", "gemm"]


def test_dead_results_are_eliminated():
    plan = plan_of(tf.function(lambda *xs: recurrent(*xs)[0]), *(zeros(*shape) for shape in SHAPES))
    scan, = scans(plan)
    assert len(scan.slices) == 1 and len(scan.carries) == 1


def test_dead_carries_are_eliminated():
    def step(state, x):
        a, b = state
        return (a + x, b * a), a

    plan = plan_of(tf.function(lambda x: scan_loop(step, (0.0, 1.0), x)[1]), zeros(4))
    assert [len(scan.carries) for scan in scans(plan)] == [1]


def test_gradients_of_weights_are_one_matmul_after_the_scan():
    plan = plan_of(tf.function(loss_and_gradients), *(zeros(*shape) for shape in SHAPES))
    last = [n for n, step in enumerate(plan.steps) if isinstance(step.kernel, ScanKernel)][-1]
    matmuls = [step.kernel for step in plan.steps[last:] if hasattr(step.kernel, "kernel")]
    assert len(matmuls) == 2 and all(k.params[3] == 5 * 6 for k in matmuls)


def test_loop_invariants_are_hoisted():
    w = zeros(3, 3)

    def step(h, x):
        return tf.tanh(tf.matmul(h, tf.transpose(tf.exp(w)), transpose_b=True) + x), ()

    plan = plan_of(tf.function(lambda h, x: scan_loop(step, h, x)[0]), zeros(2, 3), zeros(4, 2, 3))
    scan, = scans(plan)
    matmul, = scan.kernels
    operations = [v for v in matmul.epilogue.values if isinstance(v, ElementwiseOp)]
    assert operations[0].expression.text == "x + y"


def test_scans_with_the_same_body_and_different_arguments_are_not_merged():
    f = tf.function(lambda x, y: (tf.scan(tf.add, x), tf.scan(tf.add, y)))
    outs = f(tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0]))
    assert [t.tolist() for t in outs] == [[1, 3], [3, 7]]


def test_barriers_separate_dependent_kernels_within_and_across_iterations():
    plan = plan_of(tf.function(lambda *xs: recurrent(*xs)[0]), zeros(3, 300, 64),
                   zeros(300, 100), zeros(64, 100), zeros(100, 100))
    step = next(s for s in plan.steps if isinstance(s.kernel, ScanKernel))
    assert step.parallel and any(inner.barrier_before for inner in step.body)
    for n, inner in enumerate(step.body):
        if inner.barrier_before:
            unordered = replace(inner, barrier_before=False)
            body = (*step.body[:n], unordered, *step.body[n + 1:])
            steps = tuple(replace(s, body=body) if s is step else s for s in plan.steps)
            with pytest.raises(AssertionError, match="needs a barrier"):
                verify_plan(replace(plan, steps=steps))


@pytest.mark.parametrize("batch, units", [(33, 40), (300, 100)])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_large_scans_on_all_threads(batch, units, wrap):
    shapes = (9, batch, 30), (batch, units), (30, units), (units, units)
    xs = random_arrays(*shapes)
    actual = [np.asarray(t) for t in wrap(loss_and_gradients)(*map(tf.constant, xs))]
    with on("reference"):
        expected = [np.asarray(t) for t in loss_and_gradients(*map(tf.constant, xs))]
    for a, e in zip(actual, expected):
        np.testing.assert_allclose(a, e, rtol=2e-4, atol=2e-4 * np.abs(e).max())


# ── bodies ────────────────────────────────────────────────────────────────────────────────────


def test_variables_may_be_read_and_assigned_in_a_body(backend):
    count, scale = tf.Variable(0), tf.Variable(2.0)

    def step(total, x):
        count.assign_add(1)
        return total + x * scale, total * tf.cast(count, tf.float32)

    def run(x):
        with tf.GradientTape() as tape:
            total, ys = scan_loop(step, 0.0, x)
        return total, ys, tape.gradient(total, scale)

    for call in (run, tf.function(run)):
        count.assign(0)
        total, ys, gradient = call(tf.constant([1.0, 2.0, 3.0]))
        assert (float(total), ys.tolist(), float(gradient), int(count)) == (12, [0, 4, 18], 6, 3)


def test_every_iteration_has_new_random_numbers(backend):
    tf.random.set_seed(5)
    _, numbers = scan_loop(lambda n, _: (n, tf.random.uniform((3,))), 0, length=4)
    assert len({tuple(row) for row in numbers.tolist()}) == 4
    tf.random.set_seed(5)
    assert numbers.tolist() == [tf.random.uniform((3,)).tolist() for _ in range(4)]


def test_scans_of_length_0_and_1(backend):
    for f in (tf.scan, tf.function(tf.scan)):
        assert f(tf.add, tf.zeros((0, 2)), tf.ones(2)).shape == (0, 2)
        assert f(tf.add, tf.ones((1, 2)), tf.ones(2)).tolist() == [[2, 2]]
    final, ys = scan_loop(lambda h, x: (h + x, h * x), tf.ones(2), tf.zeros((0, 2)))
    assert (final.tolist(), ys.shape) == ([1, 1], (0, 2))


def test_nested_structures(backend):
    def step(state, x):
        return {"a": state["a"] + x[0], "b": (state["b"][0] * x[1],)}, [x[0], {"y": x[1]}]

    init = {"a": 1.0, "b": (2.0,)}
    final, ys = scan_loop(step, init, (tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])))
    assert tree.tree_map(float, final) == {"a": 4, "b": (24,)}
    assert tree.tree_map(lambda t: t.tolist(), ys) == [[1, 2], {"y": [3, 4]}]


def test_the_program_of_a_body_is_compiled_once():
    tf.config.set_backend("wasm")
    x = tf.constant([1.0, 2.0])
    tf.scan(lambda a, x: a * 3.5 + x, x)
    before = tf.config.get_counters()["compiled"]
    tf.scan(lambda a, x: a * 3.5 + x, x)
    assert tf.config.get_counters()["compiled"] == before


def test_a_step_with_a_scan_is_one_host_call():
    with on("wasm"):
        f = tf.function(lambda *xs: loss_and_gradients(*xs))
        xs = [tf.constant(x) for x in random_arrays(*SHAPES)]
        f(*xs)
        before = tf.config.get_counters()
        f(*xs)
        after = tf.config.get_counters()
    assert after["host_calls"] - before["host_calls"] == 1


def test_a_variable_is_updated_after_the_scan_that_reads_it(backend):
    """A Variable that a scan reads is not updated in place before the end of the scan."""
    w = variable(4, 4)

    def step(x):
        with tf.GradientTape() as tape:
            final = scan_loop(lambda h, x: (tf.tanh(tf.matmul(h, w) + x), ()), x[0], x)[0]
            loss = tf.reduce_sum(final)
        gradient = tape.gradient(loss, w)
        w.assign_sub(0.1 * gradient)
        return gradient

    x = tf.constant(random_arrays((5, 3, 4))[0])
    expected_gradient = step(x)
    expected_weight = w.numpy()
    w.assign(tf.zeros((4, 4)))
    np.testing.assert_allclose(tf.function(step)(x), expected_gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(w, expected_weight, rtol=1e-5, atol=1e-6)


# ── errors ────────────────────────────────────────────────────────────────────────────────────


X = tf.constant([1.0, 2.0, 3.0])


@pytest.mark.parametrize("call, message", [
    (lambda: scan_loop(lambda h, x: (tf.stack([h, x]), ()), 0.0, X),
     r"scan: the body changes carry 0 from float32\[\] to float32\[2\]; keep its shape and dtype"),
    (lambda: scan_loop(lambda h, x: ((h, x), ()), 0.0, X), "scan: the body changes the structure"),
    (lambda: scan_loop(lambda h, x: (h, ()), 0.0, (X, tf.zeros(2))), r"axes have sizes \[2, 3\]"),
    (lambda: scan_loop(lambda h, x: (h, ()), 0.0), "scan: there are no xs; pass a length"),
    (lambda: scan_loop(lambda h, x: (h, ()), 0.0, tf.constant(1.0)),
     "scan: one of the xs is a scalar"),
    (lambda: tf.scan(tf.add, tf.zeros((0, 2))), "scan: elems are empty; pass an initializer"),
])
def test_errors(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()
