"""The compiler's passes as functions of data: what is shared, dropped, cut, joined, placed."""
import math
from typing import Any

import numpy as np
import pytest

import tensorbrook as tf
from golden_programs import PROGRAMS, variable, zeros
from plan_interpreter import carry_out, compiled, plan_of, too_many_buffers
from tensorbrook.base.dtypes import float32, int32
from tensorbrook.compiler import simplify
from tensorbrook.compiler.buffer_assignment import memory_budget
from tensorbrook.ir import PRIMITIVES, ElementwiseOp, KernelCall, Const, Eqn, Graph, LoopKernel, Plan, TensorSpec, Var, as_tuple
from tensorbrook.ir.verifier import verify_graph, verify_plan


def var(*shape, dtype=float32) -> Var:
    return Var(TensorSpec(shape, dtype))


class Writer:
    """Writes a graph equation by equation: `y = w("add", x, x)`."""

    def __init__(self, *inputs: Var):
        self.graph = Graph(list(inputs))

    def __call__(self, name: str, *args, **attrs) -> Any:
        prim = PRIMITIVES[name]
        spec = prim.spec(*[a.spec for a in args], **attrs)
        outs = tuple(map(Var, as_tuple(spec)))
        self.graph.eqns.append(Eqn(prim, args, attrs, outs))
        return outs if isinstance(spec, tuple) else outs[0]

    def giving(self, *outputs) -> Graph:
        self.graph.outputs = list(outputs)
        verify_graph(self.graph)
        return self.graph


def number(value, dtype=float32) -> Const:
    return Const(TensorSpec((), dtype), value)


def names(graph: Graph) -> list[str]:
    return [e.prim.name for e in graph.eqns]


def plan_with(f, *arguments) -> Plan:
    return plan_of(tf.function(f), *arguments)


def kinds(plan: Plan) -> list[str]:
    """Each kernel: `loop`, `fold`, or the engine's function."""
    return [step.kernel.kernel if isinstance(step.kernel, KernelCall)
            else "fold" if step.kernel.reduction_axes else "loop" for step in plan.steps]


# ── simplify ──────────────────────────────────────────────────────────────────────────────────


def test_equal_equations_are_shared():
    x = var(3)
    w = Writer(x)
    a, b = w("exp", x), w("exp", x)
    twice = [w("multiply", x, number(2.0)) for x in (a, b)]
    simple = simplify(w.giving(w("add", *twice)))
    assert names(simple) == ["exp", "multiply", "add"]


def test_equal_but_for_an_attribute_or_a_dtype_is_not_shared():
    x = var(3, 3)
    w = Writer(x)
    outs = [w("reduce_sum", x, axes=(0,)), w("reduce_sum", x, axes=(1,)), w("cast", x, dtype=int32),
            w("multiply", x, number(0.0)), w("multiply", x, number(-0.0))]
    assert len(simplify(w.giving(*outs)).eqns) == 5


def test_what_nobody_reads_is_dropped():
    x = var(3)
    w = Writer(x)
    kept = w("exp", x)
    w("tanh", w("log", x))
    assert names(simplify(w.giving(kept))) == ["exp"]


def test_arithmetic_on_numbers_is_done_while_compiling():
    x = var(4)
    w = Writer(x)
    three = w("add", w("broadcast_to", number(1.0), shape=(4,)), number(2.0))
    simple = simplify(w.giving(w("multiply", x, three)))
    product, = simple.eqns
    assert product.args[1].value == 3.0


def test_multiplying_by_one_goes():
    x = var(4)
    w = Writer(x)
    simple = simplify(w.giving(w("exp", w("divide", w("multiply", x, number(1.0)), number(1.0)))))
    assert names(simple) == ["exp"] and simple.eqns[0].args == (x,)


def test_numbers_of_different_shapes_stay_apart():
    w = Writer()
    sums = [w("reduce_sum", w("multiply", w("broadcast_to", number(1.0), shape=(n,)), number(2.0)),
              axes=(0,)) for n in (3, 5)]
    simple = simplify(w.giving(*sums))
    assert len([e for e in simple.eqns if e.prim.name == "multiply"]) == 2


@pytest.mark.parametrize("shape, axes, cut", [
    ((70000,), (0,), True), ((1000,), (0,), False), ((300, 400), (0, 1), True),
    ((2, 40000), (1,), True), ((200, 400), (1,), False)])
def test_long_folds_to_few_results_are_cut(shape, axes, cut):
    x = var(*shape)
    w = Writer(x)
    simple = simplify(w.giving(w("reduce_sum", x, axes=axes)))
    verify_graph(simple)
    assert names(simple) == (["reshape", "reduce_sum", "reduce_sum"] if cut else ["reduce_sum"])
    array = np.random.default_rng(0).normal(size=shape)
    for e in simple.eqns:
        array = e.prim.reference_impl(np, array, **e.attrs)
    expected = np.random.default_rng(0).normal(size=shape).sum(axes)
    np.testing.assert_allclose(array, expected, rtol=1e-9)


@pytest.mark.parametrize("shape, axes, folds", [
    ((1024, 1024), (0,), ["64,16,1024", "64,1024"]), ((2048, 8192), (0,), 3),
    ((1009, 1024), (0,), 1), ((48, 16384), (0,), 1), ((64, 576, 6), (0, 1), ["64,72,48", "512,6"]),
    ((4000, 10), (0,), ["1,500,80", "8,10"]), ((4001, 10), (0,), 1), ((1000, 10), (0,), 1),
    ((8192, 128), (0,), 1), ((400, 300, 2), (0, 1), ["60,250,16", "480,2"]),
    ((32, 32, 32, 16), (0, 1, 2), ["64,512,16", "64,16"])], ids=str)
def test_columns_are_folded_in_strips(shape, axes, folds):
    x = var(*shape)
    w = Writer(x)
    simple = simplify(w.giving(w("reduce_max", x, axes=axes)))
    verify_graph(simple)
    found = [",".join(map(str, e.args[0].spec.shape)) for e in simple.eqns
             if e.prim.name == "reduce_max"]
    assert (len(found) if isinstance(folds, int) else found) == folds
    array = draw = np.random.default_rng(0).normal(size=shape)
    for e in simple.eqns:
        array = e.prim.reference_impl(np, array, **e.attrs)
    np.testing.assert_array_equal(array, draw.max(axes))


def test_rows_lie_side_by_side_only_where_nothing_is_broadcast_along_them():
    """Otherwise what is folded would have to be stored first."""
    x, bias = zeros(4000, 10), zeros(10)
    assert kinds(plan_with(lambda x, y: tf.reduce_sum(x * y, 0), x, bias)) == ["fold"]
    assert kinds(plan_with(lambda x: tf.reduce_sum(tf.square(x), 0), x)) == ["fold", "fold"]


# ── fuse ──────────────────────────────────────────────────────────────────────────────────────


def test_a_chain_with_broadcasting_and_views_is_one_loop():
    plan = plan_with(lambda x, y: tf.tanh(tf.transpose(x)[::-1] * 2.0 + y) - 1.0,
                     zeros(3, 4), zeros(3))
    assert kinds(plan) == ["loop"] and plan.arena_size == 0


def test_what_hangs_on_one_tensor_is_one_loop():
    plan = plan_with(lambda x: (tf.exp(x), tf.tanh(x), x + 1.0), zeros(100))
    assert kinds(plan) == ["loop"] and len(plan.steps[0].kernel.stores) == 3


def test_a_fold_takes_its_producers_in_and_its_consumers_along():
    plan = plan_with(lambda x: tf.sqrt(tf.reduce_sum(tf.square(x - 1.0), 1)) * 0.5, zeros(8, 9))
    assert kinds(plan) == ["fold"]
    loop = plan.steps[0].kernel
    assert [v.formula for v in loop.passes[0].post_reduce if isinstance(v, ElementwiseOp)] == ["sqrt(x)", "x * y"]


def test_two_folds_of_the_same_rows_are_one_pass():
    plan = plan_with(lambda x: tf.reduce_max(x, 1) - tf.reduce_min(x, 1), zeros(8, 9))
    assert len(plan.steps) <= 2


def test_movement_moves_nothing():
    plan = plan_with(lambda x: tf.reduce_sum(tf.reshape(tf.transpose(x)[1:], (5, 2, 2)), 1),
                     zeros(4, 6))
    assert kinds(plan) == ["fold"]


def test_a_reshape_that_no_view_can_say_copies_once():
    plan = plan_with(lambda x: tf.reshape(tf.transpose(x), (-1,))[::-1] * 2.0, zeros(3, 4))
    assert len(plan.steps) == 2


def test_a_map_does_not_join_a_loop_that_visits_other_elements():
    plan = plan_with(lambda x: tf.exp(x) + tf.exp(x)[::-1], zeros(10))
    assert len(plan.steps) == 2, "the reversed view needs the whole of exp(x)"


def test_a_loop_moves_to_the_only_one_that_waits_for_it():
    plan = plan_with(lambda x, y: x * 2.0 + y * 3.0, zeros(50), zeros(50))
    assert kinds(plan) == ["loop"] and plan.arena_size == 0


def test_a_loop_stays_where_another_kernel_needs_it_first():
    def f(x, y):
        a = x * 2.0
        b = tf.matmul(a, a)
        return a + y * 3.0 + b

    assert kinds(plan_with(f, zeros(4, 4), zeros(4, 4)))[:2] == ["loop", "gemm"]


def test_a_loop_does_not_move_beyond_the_update_of_what_it_reads():
    v, w = variable(8, 8), variable(8, 8)

    def step(x):
        a = v * 2.0                                # reads v, and could wait for the last line
        v.assign(tf.matmul(x, x))
        w.assign(tf.tanh(v) + a)

    plan = plan_with(step, zeros(8, 8))
    assert kinds(plan) == ["loop", "gemm"] and plan.steps[0].kernel.reads == plan.inputs[1:2]


def test_an_engine_kernel_reads_plain_buffers():
    plan = plan_with(lambda x, y: tf.matmul(tf.exp(x), tf.transpose(y)), zeros(3, 4), zeros(5, 4))
    assert kinds(plan).count("gemm") == 1 and kinds(plan)[-1] == "gemm"
    for read in plan.steps[-1].kernel.reads:
        assert read.spec.count in (12, 20)


def test_the_update_of_adam_is_one_pass_over_each_variable():
    layer = tf.keras.layers.Dense(200, use_bias=False)
    model = tf.keras.Sequential([tf.keras.Input((300,)), layer])
    optimizer = tf.keras.optimizers.Adam(0.001)
    weights = model.trainable_variables
    optimizer.build(weights)
    plan = plan_with(lambda g: optimizer.apply([g], weights) or None, zeros(300, 200))
    passes = [s.kernel for s in plan.steps if isinstance(s.kernel, LoopKernel)
              and np.prod(s.kernel.iteration_space) == 300 * 200]
    assert len(passes) == 1 and len(passes[0].writes) == 3


@pytest.mark.parametrize("name, most", [("chain", 2), ("softmax", 3), ("layer_norm", 3),
                                        ("momentum", 1), ("argmax", 2), ("mlp", 18), ("cnn", 26)])
def test_kernels_are_few(name, most):
    """Ceilings: fewer is better, and then this line comes down."""
    f, arguments = PROGRAMS[name]()
    assert len(plan_with(f, *arguments).steps) <= most


def test_the_gradient_of_a_cut_is_one_pass():
    """What the gates of a recurrent layer make of their parts lies where the whole expects it."""
    def f(x, w):
        with tf.GradientTape() as tape:
            tape.watch(x)
            a, b, c = tf.split(x, [2, 3, 4], 1)
            y = tf.reduce_sum(a[:, :1] * tf.tanh(b) * tf.exp(c)[:, :3])
        return tf.matmul(tape.gradient(y, x), w)

    plan = plan_with(f, zeros(40, 9), zeros(9, 5))
    assert "concat" in [e.prim.name for e in plan.graph.eqns]
    product = plan.steps[-1].kernel
    makers = [s.kernel for s in plan.steps if set(product.reads) & set(s.kernel.writes)]
    assert len(makers) == 3
    x, w = (np.random.default_rng(i).normal(size=s) for i, s in enumerate(((40, 9), (9, 5))))
    slopes = np.zeros((40, 9))
    a, b, c = x[:, :1], x[:, 2:5], x[:, 5:8]
    slopes[:, :1] = (np.tanh(b) * np.exp(c)).sum(1, keepdims=True)
    slopes[:, 2:5] = a * (1 - np.tanh(b) ** 2) * np.exp(c)
    slopes[:, 5:8] = a * np.tanh(b) * np.exp(c)
    found, = carry_out(plan, [x.astype("float32"), w.astype("float32")])
    np.testing.assert_allclose(found, slopes @ w, rtol=1e-4, atol=1e-4)


def test_pieces_that_meet_or_leave_gaps_are_summed():
    x, y = var(2, 3), var(2, 3)
    for begin, whole in (((0, 2), 5), ((0, 3), 7)):
        w = Writer(x, y)
        places = [w("pad", piece, begin=(0, at), shape=(2, whole), steps=(1, 1))
                  for piece, at in zip((x, y), begin)]
        assert "concat" not in names(simplify(w.giving(w("add", *places))))
    w = Writer(x, y)
    places = [w("pad", piece, begin=(0, at), shape=(2, 6), steps=(1, 1))
              for piece, at in ((x, 3), (y, 0))]
    e, = simplify(w.giving(w("add", *places))).eqns
    assert (e.prim.name, e.args) == ("concat", (y, x))


# ── plan ──────────────────────────────────────────────────────────────────────────────────────


def test_buffers_that_do_not_live_together_share_memory():
    def chain(x):
        for _ in range(10):
            x = tf.matmul(x, x)
        return x

    assert plan_with(chain, zeros(64, 64)).arena_size == 2 * 64 * 64 * 4


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_arena_is_hardly_larger_than_what_is_alive_at_once(name):
    f, arguments = PROGRAMS[name]()
    plan = plan_with(f, *arguments)
    assert plan.peak_live_bytes <= plan.arena_size <= memory_budget(plan.peak_live_bytes)


def test_a_result_takes_the_place_of_an_argument_that_dies():
    plan = plan_with(lambda x: tf.matmul(tf.nn.softmax(tf.matmul(x, x)), x), zeros(64, 64))
    assert kinds(plan) == ["gemm", "fold", "gemm"] and plan.arena_size == 64 * 64 * 4


def test_a_result_lies_where_the_output_will_be():
    plan = plan_with(lambda x: tf.nn.softmax(tf.matmul(x, x)), zeros(64, 64))
    assert kinds(plan) == ["gemm", "fold"] and plan.arena_size == 0


def test_kernels_that_wait_for_the_same_one_stand_beside_each_other():
    def step(x, v, w):
        with tf.GradientTape() as tape:
            tape.watch([v, w])
            loss = tf.reduce_sum(tf.square(tf.matmul(tf.matmul(x, v), w)))
        dv, dw = tape.gradient(loss, [v, w])
        return v - 0.1 * dv, w - 0.1 * dw

    plan = plan_with(step, *[zeros(128, 128)] * 3)
    assert [s.barrier_before for s in plan.steps] == [False, True, True, False, True]


def test_small_kernels_stay_on_one_thread_without_barriers():
    plan = plan_with(lambda x: tf.nn.softmax(tf.matmul(x, x)), zeros(8, 8))
    assert not any(step.parallel or step.barrier_before for step in plan.steps)


def test_a_barrier_stands_only_where_data_crosses_threads():
    x = zeros(256, 256)
    plan = plan_with(lambda x, y: (tf.matmul(x, x), tf.matmul(y, y)), x, x)
    assert [s.barrier_before for s in plan.steps] == [False, False], "two products that share nothing"
    plan = plan_with(lambda x: tf.matmul(tf.matmul(x, x), x), x)
    assert [s.barrier_before for s in plan.steps] == [False, True]


def test_a_variable_is_updated_in_place_without_a_copy():
    v = variable(1000)
    plan = plan_with(lambda x: (v.assign_add(x), None)[1], zeros(1000))
    assert len(plan.steps) == 1 and plan.arena_size == 0


def test_variables_that_swap_go_through_the_arena():
    f, _ = PROGRAMS["swap"]()
    plan = plan_with(f)
    assert len(plan.steps) == 3 and plan.arena_size == 64


@pytest.mark.parametrize("read_later, kernels", [(False, 1), (True, 4)])
def test_a_new_value_counts_as_a_buffer_unless_it_lies_over_the_old_one(read_later, kernels):
    v = variable(9)

    def step(x, y, z, i):
        old = v.value()
        v.assign(old * x + y * z)
        return tf.gather(old, i) if read_later else None

    f = tf.function(step).get_concrete_function(*[zeros(9)] * 3, zeros(2, dtype="int32"))
    plan = compiled(f.graph, 4)
    assert len(plan.steps) == kernels and not too_many_buffers(plan, 4)
    x, y, z, old = (np.arange(9, dtype="float32") + n for n in range(4))
    *gathered, new = carry_out(plan, [x, y, z, np.array([8, 1], "int32"), old])
    np.testing.assert_array_equal(new, old * x + y * z)
    assert not read_later or gathered[0].tolist() == [11, 4]


def test_constants_get_slots():
    plan = plan_with(lambda x: x + tf.constant([1.0, 2.0, 3.0]), zeros(3))
    assert len(plan.constants) == 1 and plan.buffer_locations[plan.constants[0]].space == "slot"


# ── the checks themselves ─────────────────────────────────────────────────────────────────────


def broken(plan: Plan, **parts) -> Plan:
    return Plan(**({f: getattr(plan, f) for f in plan.__dataclass_fields__} | parts))


def test_the_check_sees_a_missing_barrier():
    plan = plan_with(lambda x: tf.matmul(tf.matmul(x, x), x), zeros(256, 256))
    steps = tuple(type(s)(s.kernel, s.parallel, False) for s in plan.steps)
    with pytest.raises(AssertionError, match="needs a barrier"):
        verify_plan(broken(plan, steps=steps))


def test_the_check_sees_memory_in_use_twice():
    plan = plan_with(lambda x: tf.matmul(tf.matmul(x, x), tf.matmul(x, x[::-1])), zeros(64, 64))
    places = {a: type(p)(p.space, 0 if p.space == "arena" else p.offset) for a, p in plan.buffer_locations.items()}
    with pytest.raises(AssertionError, match="overwritten|writes over"):
        verify_plan(broken(plan, buffer_locations=places))


def test_the_check_sees_steps_in_the_wrong_order():
    plan = plan_with(lambda x: tf.matmul(tf.matmul(x, x), x), zeros(8, 8))
    with pytest.raises(AssertionError, match="before it is written"):
        verify_plan(broken(plan, steps=plan.steps[::-1]))


def test_the_check_sees_an_undefined_variable():
    x = var(3)
    graph = Graph([x], [Eqn(PRIMITIVES["exp"], (var(3),), {}, (var(3),))])
    with pytest.raises(AssertionError, match="exp reads too early"):
        verify_graph(graph)


def test_what_is_printed_names_every_kernel():
    plan = compiled(tf.function(lambda x: tf.nn.softmax(tf.matmul(x, x))).get_concrete_function(
        zeros(4, 4)).graph)
    text = str(plan)
    assert "gemm" in text and text.count("loop") == sum(k != "gemm" for k in kinds(plan))
    assert str(plan.graph).splitlines()[0] == "inputs %0: float32[4,4]"


def test_numbers_are_folded_as_backends_compute_them():
    nan, true = tf.constant(math.nan), tf.constant(True)
    f = tf.function(lambda x: (x * tf.maximum(1.0, nan), x * tf.minimum(nan, 1.0),
                               tf.where(tf.logical_not(true), x, 0.0)))
    greatest, least, picked = f(tf.ones(1))
    assert math.isnan(float(greatest[0])) and math.isnan(float(least[0]))
    assert picked.tolist() == [0]
