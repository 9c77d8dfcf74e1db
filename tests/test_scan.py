"""Compiled loops: what the compiler makes of them, what may stand in a body, what is refused."""
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

LINES = [name for name in CASES if name.split("/")[0] == "scan"]


def loops(plan: Plan) -> list[ScanKernel]:
    return [step.kernel for step in plan.steps if isinstance(step.kernel, ScanKernel)]


def recurrent(x, h, w, u):
    def step(h, x):
        h = tf.tanh(tf.matmul(x, w) + tf.matmul(h, u))
        return h, h
    return scan_loop(step, h, x)


def loss_and_slopes(x, h, w, u):
    with tf.GradientTape() as tape:
        tape.watch((w, u))
        loss = tf.reduce_sum(tf.square(recurrent(x, h, w, u)[0]))
    return loss, *tape.gradient(loss, (w, u))


def data(*shapes):
    draw = np.random.default_rng(4)
    return [draw.uniform(-0.5, 0.5, s).astype("float32") for s in shapes]


RNN = (5, 6, 3), (6, 4), (3, 4), (4, 4)


# ── plans ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", LINES)
def test_a_plan_carried_out_by_numpy_is_right(name):
    case = CASES[name]
    for variant in range(len(case.shapes)):
        xs = inputs(case, variant)
        with on("reference"):
            expected = results(case.ours, xs)
            plan = plan_of(tf.function(case.ours), *xs)
        arrays = [x.numpy() for x in xs]
        for found, right in zip(execute_plan(plan, arrays), expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


def test_the_values_that_the_gradient_needs_come_from_the_same_loop():
    plan = plan_of(tf.function(loss_and_slopes), *(zeros(*shape) for shape in RNN))
    forward, back = loops(plan)
    assert (forward.reverse, back.reverse) == (False, True)
    assert [c.kernel for c in forward.kernels if hasattr(c, "kernel")] == ["gemm", "gemm"]


def test_what_nobody_reads_is_not_kept():
    plan = plan_of(tf.function(lambda *xs: recurrent(*xs)[0]), *(zeros(*shape) for shape in RNN))
    loop, = loops(plan)
    assert len(loop.pieces) == 1 and len(loop.carries) == 1


def test_a_carry_that_nothing_depends_on_goes():
    def step(state, x):
        a, b = state
        return (a + x, b * a), a

    plan = plan_of(tf.function(lambda x: scan_loop(step, (0.0, 1.0), x)[1]), zeros(4))
    assert [len(loop.carries) for loop in loops(plan)] == [1]


def test_the_gradient_of_weights_is_one_product_after_the_loop():
    plan = plan_of(tf.function(loss_and_slopes), *(zeros(*shape) for shape in RNN))
    at = [n for n, step in enumerate(plan.steps) if isinstance(step.kernel, ScanKernel)][-1]
    products = [step.kernel for step in plan.steps[at:] if hasattr(step.kernel, "kernel")]
    assert len(products) == 2 and all(k.params[3] == 5 * 6 for k in products)


def test_what_does_not_change_is_computed_once():
    w = zeros(3, 3)

    def step(h, x):
        return tf.tanh(tf.matmul(h, tf.transpose(tf.exp(w)), transpose_b=True) + x), ()

    plan = plan_of(tf.function(lambda h, x: scan_loop(step, h, x)[0]), zeros(2, 3), zeros(4, 2, 3))
    loop, = loops(plan)
    product, = loop.kernels
    assert [v.formula for v in product.epilogue.values if isinstance(v, ElementwiseOp)][:1] == ["x + y"]


def test_two_loops_with_one_body_do_not_meet():
    f = tf.function(lambda x, y: (tf.scan(tf.add, x), tf.scan(tf.add, y)))
    found = f(tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0]))
    assert [t.tolist() for t in found] == [[1, 3], [3, 7]]


def test_kernels_of_a_turn_wait_for_each_other_and_for_the_turn_before():
    plan = plan_of(tf.function(lambda *xs: recurrent(*xs)[0]), zeros(3, 300, 64),
                   zeros(300, 100), zeros(64, 100), zeros(100, 100))
    step = next(s for s in plan.steps if isinstance(s.kernel, ScanKernel))
    assert step.parallel and any(inner.barrier_before for inner in step.body)
    for n, inner in enumerate(step.body):
        if inner.barrier_before:
            free = replace(inner, barrier_before=False)
            inside = (*step.body[:n], free, *step.body[n + 1:])
            steps = tuple(replace(s, body=inside) if s is step else s for s in plan.steps)
            with pytest.raises(AssertionError, match="needs a barrier"):
                verify_plan(replace(plan, steps=steps))


@pytest.mark.parametrize("batch, units", [(33, 40), (300, 100)])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function])
def test_large_loops_on_all_threads(batch, units, wrap):
    shapes = (9, batch, 30), (batch, units), (30, units), (units, units)
    xs = data(*shapes)
    found = [np.asarray(t) for t in wrap(loss_and_slopes)(*map(tf.constant, xs))]
    with on("reference"):
        right = [np.asarray(t) for t in loss_and_slopes(*map(tf.constant, xs))]
    for a, b in zip(found, right):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * np.abs(b).max())


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
        total, ys, slope = call(tf.constant([1.0, 2.0, 3.0]))
        assert (float(total), ys.tolist(), float(slope), int(count)) == (12, [0, 4, 18], 6, 3)


def test_random_numbers_differ_from_turn_to_turn(backend):
    tf.random.set_seed(5)
    _, drawn = scan_loop(lambda n, _: (n, tf.random.uniform((3,))), 0, length=4)
    assert len({tuple(row) for row in drawn.tolist()}) == 4
    tf.random.set_seed(5)
    one_by_one = [tf.random.uniform((3,)).tolist() for _ in range(4)]
    assert drawn.tolist() == one_by_one


def test_loops_of_no_turns_and_of_one(backend):
    for f in (tf.scan, tf.function(tf.scan)):
        assert f(tf.add, tf.zeros((0, 2)), tf.ones(2)).shape == (0, 2)
        assert f(tf.add, tf.ones((1, 2)), tf.ones(2)).tolist() == [[2, 2]]
    last, ys = scan_loop(lambda h, x: (h + x, h * x), tf.ones(2), tf.zeros((0, 2)))
    assert (last.tolist(), ys.shape) == ([1, 1], (0, 2))


def test_structures_go_in_and_come_out(backend):
    def step(state, x):
        return {"a": state["a"] + x[0], "b": (state["b"][0] * x[1],)}, [x[0], {"y": x[1]}]

    first = {"a": 1.0, "b": (2.0,)}
    last, ys = scan_loop(step, first, (tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])))
    assert tree.tree_map(float, last) == {"a": 4, "b": (24,)}
    assert tree.tree_map(lambda t: t.tolist(), ys) == [[1, 2], {"y": [3, 4]}]


def test_the_program_of_a_body_is_compiled_once():
    tf.config.set_backend("wasm")
    x = tf.constant([1.0, 2.0])
    tf.scan(lambda a, x: a * 3.5 + x, x)
    before = tf.config.get_counters()["compiled"]
    tf.scan(lambda a, x: a * 3.5 + x, x)
    assert tf.config.get_counters()["compiled"] == before


def test_a_step_with_a_loop_is_one_call_of_the_host():
    with on("wasm"):
        f = tf.function(lambda *xs: loss_and_slopes(*xs))
        xs = [tf.constant(x) for x in data(*RNN)]
        f(*xs)
        before = tf.config.get_counters()
        f(*xs)
        after = tf.config.get_counters()
    assert after["host_calls"] - before["host_calls"] == 1


def test_weights_are_updated_behind_a_loop(backend):
    """The new value of a Variable that a loop reads does not lie over the old one too early."""
    w = variable(4, 4)

    def step(x):
        with tf.GradientTape() as tape:
            last = scan_loop(lambda h, x: (tf.tanh(tf.matmul(h, w) + x), ()), x[0], x)[0]
            loss = tf.reduce_sum(last)
        slope = tape.gradient(loss, w)
        w.assign_sub(0.1 * slope)
        return slope

    x = tf.constant(data((5, 3, 4))[0])
    eager = step(x)
    after, _ = w.numpy(), w.assign(tf.zeros((4, 4)))
    np.testing.assert_allclose(tf.function(step)(x), eager, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(w, after, rtol=1e-5, atol=1e-6)


# ── refusals ──────────────────────────────────────────────────────────────────────────────────


X = tf.constant([1.0, 2.0, 3.0])


@pytest.mark.parametrize("call, sentence", [
    (lambda: scan_loop(lambda h, x: (tf.stack([h, x]), ()), 0.0, X),
     r"scan: carry 0 comes in as float32\[\] and leaves as float32\[2\]; keep its shape and dtype"),
    (lambda: scan_loop(lambda h, x: ((h, x), ()), 0.0, X), "scan: what the body carries on has"),
    (lambda: scan_loop(lambda h, x: (h, ()), 0.0, (X, tf.zeros(2))), r"axes have sizes \[2, 3\]"),
    (lambda: scan_loop(lambda h, x: (h, ()), 0.0), "there is nothing to go along; give it a le"),
    (lambda: scan_loop(lambda h, x: (h, ()), 0.0, tf.constant(1.0)), "one of the tensors .* scalar"),
    (lambda: tf.scan(tf.add, tf.zeros((0, 2))), "scan: elems are empty; give it an initializer"),
])
def test_what_does_not_fit_is_said(call, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        call()
