"""Compiler passes: CSE, DCE, constant folding, split reductions, fusion, buffer assignment."""
import math
from typing import Any

import numpy as np
import pytest

import tensorbrook as tf
from golden_programs import PROGRAMS, variable, zeros
from plan_interpreter import compile_graph, execute_plan, kernels_over_limit, plan_of
from tensorbrook.base.dtypes import float32, int32
from tensorbrook.compiler import optimize
from tensorbrook.compiler.memory.liveness import memory_budget
from tensorbrook.ir import (
    PRIMITIVES,
    Const,
    ElementwiseOp,
    Eqn,
    Graph,
    KernelCall,
    LoopKernel,
    Plan,
    TensorSpec,
    Var,
    as_tuple,
)
from tensorbrook.ir.verifier import verify_graph, verify_plan


def var(*shape, dtype=float32) -> Var:
    return Var(TensorSpec(shape, dtype))


class GraphBuilder:
    """Builds a graph equation by equation: `y = b("add", x, x)`."""

    def __init__(self, *inputs: Var):
        self.graph = Graph(list(inputs))

    def __call__(self, name: str, *args, **attrs) -> Any:
        prim = PRIMITIVES[name]
        spec = prim.spec(*[a.spec for a in args], **attrs)
        outs = tuple(map(Var, as_tuple(spec)))
        self.graph.eqns.append(Eqn(prim, args, attrs, outs))
        return outs if isinstance(spec, tuple) else outs[0]

    def build(self, *outputs) -> Graph:
        self.graph.outputs = list(outputs)
        verify_graph(self.graph)
        return self.graph


def constant(value, dtype=float32) -> Const:
    return Const(TensorSpec((), dtype), value)


def names(graph: Graph) -> list[str]:
    return [e.prim.name for e in graph.eqns]


def plan_with(f, *arguments) -> Plan:
    return plan_of(tf.function(f), *arguments)


def kinds(plan: Plan) -> list[str]:
    """The kind of each kernel: `loop`, `reduction`, or the name of an engine kernel."""
    return [step.kernel.kernel if isinstance(step.kernel, KernelCall)
            else "reduction" if step.kernel.reduction_axes else "loop" for step in plan.steps]


# ── simplify ──────────────────────────────────────────────────────────────────────────────────


def test_equal_equations_are_eliminated():
    x = var(3)
    b = GraphBuilder(x)
    products = [b("multiply", b("exp", x), constant(2.0)) for _ in range(2)]
    simple = optimize(b.build(b("add", *products)))
    assert names(simple) == ["exp", "multiply", "add"]


def test_equations_that_differ_in_an_attribute_or_a_dtype_are_kept():
    x = var(3, 3)
    b = GraphBuilder(x)
    outs = [b("reduce_sum", x, axes=(0,)), b("reduce_sum", x, axes=(1,)), b("cast", x, dtype=int32),
            b("multiply", x, constant(0.0)), b("multiply", x, constant(-0.0))]
    assert len(optimize(b.build(*outs)).eqns) == 5


def test_dead_equations_are_eliminated():
    x = var(3)
    b = GraphBuilder(x)
    used = b("exp", x)
    b("tanh", b("log", x))
    assert names(optimize(b.build(used))) == ["exp"]


def test_operations_on_constants_are_folded():
    x = var(4)
    b = GraphBuilder(x)
    three = b("add", b("broadcast_to", constant(1.0), shape=(4,)), constant(2.0))
    simple = optimize(b.build(b("multiply", x, three)))
    product, = simple.eqns
    assert product.args[1].value == 3.0


def test_multiplication_and_division_by_one_are_eliminated():
    x = var(4)
    b = GraphBuilder(x)
    y = b("divide", b("multiply", x, constant(1.0)), constant(1.0))
    simple = optimize(b.build(b("exp", y)))
    assert names(simple) == ["exp"] and simple.eqns[0].args == (x,)


def test_constants_of_different_shapes_are_distinct():
    b = GraphBuilder()
    ones = [b("broadcast_to", constant(1.0), shape=(n,)) for n in (3, 5)]
    sums = [b("reduce_sum", b("multiply", x, constant(2.0)), axes=(0,)) for x in ones]
    simple = optimize(b.build(*sums))
    assert len([e for e in simple.eqns if e.prim.name == "multiply"]) == 2


@pytest.mark.parametrize("shape, axes, is_split", [
    ((70000,), (0,), True), ((1000,), (0,), False), ((300, 400), (0, 1), True),
    ((2, 40000), (1,), True), ((200, 400), (1,), False)])
def test_long_reductions_with_few_results_are_split(shape, axes, is_split):
    x = var(*shape)
    b = GraphBuilder(x)
    simple = optimize(b.build(b("reduce_sum", x, axes=axes)))
    verify_graph(simple)
    assert names(simple) == (
        ["reshape", "reduce_sum", "reduce_sum"] if is_split else ["reduce_sum"])
    array = data = np.random.default_rng(0).normal(size=shape)
    for e in simple.eqns:
        array = e.prim.reference_impl(np, array, **e.attrs)
    np.testing.assert_allclose(array, data.sum(axes), rtol=1e-9)


@pytest.mark.parametrize("shape, axes, reductions", [
    ((1024, 1024), (0,), ["64,16,1024", "64,1024"]), ((2048, 8192), (0,), 3),
    ((1009, 1024), (0,), 1), ((48, 16384), (0,), 1), ((64, 576, 6), (0, 1), ["64,72,48", "512,6"]),
    ((4000, 10), (0,), ["1,500,80", "8,10"]), ((4001, 10), (0,), 1), ((1000, 10), (0,), 1),
    ((8192, 128), (0,), 1), ((400, 300, 2), (0, 1), ["60,250,16", "480,2"]),
    ((32, 32, 32, 16), (0, 1, 2), ["64,512,16", "64,16"])], ids=str)
def test_column_reductions_are_split_into_chunks(shape, axes, reductions):
    x = var(*shape)
    b = GraphBuilder(x)
    simple = optimize(b.build(b("reduce_max", x, axes=axes)))
    verify_graph(simple)
    inputs = [",".join(map(str, e.args[0].spec.shape)) for e in simple.eqns
              if e.prim.name == "reduce_max"]
    assert (len(inputs) if isinstance(reductions, int) else inputs) == reductions
    array = data = np.random.default_rng(0).normal(size=shape)
    for e in simple.eqns:
        array = e.prim.reference_impl(np, array, **e.attrs)
    np.testing.assert_array_equal(array, data.max(axes))


def test_rows_are_regrouped_only_without_broadcast_operands():
    """With a broadcast operand, the reduced value would have to be stored first."""
    x, bias = zeros(4000, 10), zeros(10)
    assert kinds(plan_with(lambda x, y: tf.reduce_sum(x * y, 0), x, bias)) == ["reduction"]
    assert kinds(plan_with(lambda x: tf.reduce_sum(tf.square(x), 0), x)) == ["reduction"] * 2


# ── fuse ──────────────────────────────────────────────────────────────────────────────────────


def test_an_elementwise_chain_with_broadcasting_and_views_is_one_loop():
    plan = plan_with(lambda x, y: tf.tanh(tf.transpose(x)[::-1] * 2.0 + y) - 1.0,
                     zeros(3, 4), zeros(3))
    assert kinds(plan) == ["loop"] and plan.arena_size == 0


def test_consumers_of_one_tensor_are_one_loop():
    plan = plan_with(lambda x: (tf.exp(x), tf.tanh(x), x + 1.0), zeros(100))
    assert kinds(plan) == ["loop"] and len(plan.steps[0].kernel.stores) == 3


def test_a_reduction_fuses_its_producers_and_consumers():
    plan = plan_with(lambda x: tf.sqrt(tf.reduce_sum(tf.square(x - 1.0), 1)) * 0.5, zeros(8, 9))
    assert kinds(plan) == ["reduction"]
    post_reduce = plan.steps[0].kernel.passes[0].post_reduce
    expressions = [v.expression.text for v in post_reduce if isinstance(v, ElementwiseOp)]
    assert expressions == ["sqrt(x)", "x * y"]


def test_two_reductions_of_the_same_rows_are_fused():
    plan = plan_with(lambda x: tf.reduce_max(x, 1) - tf.reduce_min(x, 1), zeros(8, 9))
    assert len(plan.steps) <= 2


def test_transposes_slices_and_reshapes_are_views():
    plan = plan_with(lambda x: tf.reduce_sum(tf.reshape(tf.transpose(x)[1:], (5, 2, 2)), 1),
                     zeros(4, 6))
    assert kinds(plan) == ["reduction"]


def test_a_reshape_that_is_no_view_copies_once():
    plan = plan_with(lambda x: tf.reshape(tf.transpose(x), (-1,))[::-1] * 2.0, zeros(3, 4))
    assert len(plan.steps) == 2


def test_an_elementwise_operation_does_not_join_a_loop_over_other_elements():
    plan = plan_with(lambda x: tf.exp(x) + tf.exp(x)[::-1], zeros(10))
    assert len(plan.steps) == 2, "the reversed view needs the whole of exp(x)"


def test_a_loop_sinks_into_its_only_consumer():
    plan = plan_with(lambda x, y: x * 2.0 + y * 3.0, zeros(50), zeros(50))
    assert kinds(plan) == ["loop"] and plan.arena_size == 0


def test_a_loop_does_not_sink_past_an_earlier_consumer():
    def f(x, y):
        a = x * 2.0
        b = tf.matmul(a, a)
        return a + y * 3.0 + b

    assert kinds(plan_with(f, zeros(4, 4), zeros(4, 4)))[:2] == ["loop", "gemm"]


def test_a_loop_does_not_sink_past_an_update_of_its_operand():
    v, w = variable(8, 8), variable(8, 8)

    def step(x):
        a = v * 2.0                          # reads v; its consumer is after the update of v
        v.assign(tf.matmul(x, x))
        w.assign(tf.tanh(v) + a)

    plan = plan_with(step, zeros(8, 8))
    assert kinds(plan) == ["loop", "gemm"] and plan.steps[0].kernel.reads == plan.inputs[1:2]


def test_an_engine_kernel_reads_contiguous_buffers():
    plan = plan_with(lambda x, y: tf.matmul(tf.exp(x), tf.transpose(y)), zeros(3, 4), zeros(5, 4))
    assert kinds(plan).count("gemm") == 1 and kinds(plan)[-1] == "gemm"
    for read in plan.steps[-1].kernel.reads:
        assert read.spec.count in (12, 20)


def test_an_adam_update_is_one_pass_over_each_variable():
    layer = tf.keras.layers.Dense(200, use_bias=False)
    model = tf.keras.Sequential([tf.keras.Input((300,)), layer])
    optimizer = tf.keras.optimizers.Adam(0.001)
    weights = model.trainable_variables
    optimizer.build(weights)
    plan = plan_with(lambda g: optimizer.apply([g], weights) or None, zeros(300, 200))
    passes = [s.kernel for s in plan.steps if isinstance(s.kernel, LoopKernel)
              and np.prod(s.kernel.iteration_space) == 300 * 200]
    assert len(passes) == 1 and len(passes[0].writes) == 3


@pytest.mark.parametrize("name, limit", [("chain", 2), ("softmax", 3), ("layer_norm", 3),
                                        ("momentum", 1), ("argmax", 2), ("mlp", 18), ("cnn", 26)])
def test_the_number_of_kernels_is_limited(name, limit):
    """Lower a limit when a pass saves kernels."""
    f, arguments = PROGRAMS[name]()
    assert len(plan_with(f, *arguments).steps) <= limit


def test_the_gradient_of_a_split_is_stored_without_a_concat_kernel():
    """As in a recurrent layer: the gradients of the gates are stored directly into the result."""
    def f(x, w):
        with tf.GradientTape() as tape:
            tape.watch(x)
            a, b, c = tf.split(x, [2, 3, 4], 1)
            y = tf.reduce_sum(a[:, :1] * tf.tanh(b) * tf.exp(c)[:, :3])
        return tf.matmul(tape.gradient(y, x), w)

    plan = plan_with(f, zeros(40, 9), zeros(9, 5))
    assert "concat" in [e.prim.name for e in plan.graph.eqns]
    matmul = plan.steps[-1].kernel
    producers = [s.kernel for s in plan.steps if set(matmul.reads) & set(s.kernel.writes)]
    assert len(producers) == 3
    x, w = (np.random.default_rng(i).normal(size=s) for i, s in enumerate(((40, 9), (9, 5))))
    gradient = np.zeros((40, 9))
    a, b, c = x[:, :1], x[:, 2:5], x[:, 5:8]
    gradient[:, :1] = (np.tanh(b) * np.exp(c)).sum(1, keepdims=True)
    gradient[:, 2:5] = a * (1 - np.tanh(b) ** 2) * np.exp(c)
    gradient[:, 5:8] = a * np.tanh(b) * np.exp(c)
    actual, = execute_plan(plan, [x.astype("float32"), w.astype("float32")])
    np.testing.assert_allclose(actual, gradient @ w, rtol=1e-4, atol=1e-4)


def test_only_slices_without_overlap_and_gaps_become_a_concat():
    x, y = var(2, 3), var(2, 3)
    for offsets, size in (((0, 2), 5), ((0, 3), 7)):
        b = GraphBuilder(x, y)
        padded = [b("pad", v, begin=(0, offset), shape=(2, size), steps=(1, 1))
                  for v, offset in zip((x, y), offsets)]
        assert "concat" not in names(optimize(b.build(b("add", *padded))))
    b = GraphBuilder(x, y)
    padded = [b("pad", v, begin=(0, offset), shape=(2, 6), steps=(1, 1))
              for v, offset in ((x, 3), (y, 0))]
    e, = optimize(b.build(b("add", *padded))).eqns
    assert (e.prim.name, e.args) == ("concat", (y, x))


# ── plan ──────────────────────────────────────────────────────────────────────────────────────


def test_buffers_with_disjoint_live_intervals_share_memory():
    def chain(x):
        for _ in range(10):
            x = tf.matmul(x, x)
        return x

    assert plan_with(chain, zeros(64, 64)).arena_size == 2 * 64 * 64 * 4


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_arena_is_within_the_budget_over_peak_live_bytes(name):
    f, arguments = PROGRAMS[name]()
    plan = plan_with(f, *arguments)
    assert plan.peak_live_bytes <= plan.arena_size <= memory_budget(plan.peak_live_bytes)


def test_a_result_reuses_the_buffer_of_a_dying_operand():
    plan = plan_with(lambda x: tf.matmul(tf.nn.softmax(tf.matmul(x, x)), x), zeros(64, 64))
    assert kinds(plan) == ["gemm", "reduction", "gemm"] and plan.arena_size == 64 * 64 * 4


def test_a_result_is_computed_in_the_output_buffer():
    plan = plan_with(lambda x: tf.nn.softmax(tf.matmul(x, x)), zeros(64, 64))
    assert kinds(plan) == ["gemm", "reduction"] and plan.arena_size == 0


def test_kernels_with_the_same_dependency_need_one_barrier():
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


def test_a_barrier_is_inserted_only_between_dependent_kernels():
    x = zeros(256, 256)
    plan = plan_with(lambda x, y: (tf.matmul(x, x), tf.matmul(y, y)), x, x)
    assert [s.barrier_before for s in plan.steps] == [False, False], "two independent products"
    plan = plan_with(lambda x: tf.matmul(tf.matmul(x, x), x), x)
    assert [s.barrier_before for s in plan.steps] == [False, True]


def test_a_variable_is_updated_in_place_without_a_copy():
    v = variable(1000)
    plan = plan_with(lambda x: (v.assign_add(x), None)[1], zeros(1000))
    assert len(plan.steps) == 1 and plan.arena_size == 0


def test_swapped_variables_are_copied_through_the_arena():
    f, _ = PROGRAMS["swap"]()
    plan = plan_with(f)
    assert len(plan.steps) == 3 and plan.arena_size == 64


@pytest.mark.parametrize("read_later, kernels", [(False, 1), (True, 4)])
def test_a_new_value_counts_as_a_buffer_unless_it_is_updated_in_place(read_later, kernels):
    v = variable(9)

    def step(x, y, z, i):
        old = v.value()
        v.assign(old * x + y * z)
        return tf.gather(old, i) if read_later else None

    f = tf.function(step).get_concrete_function(*[zeros(9)] * 3, zeros(2, dtype="int32"))
    plan = compile_graph(f.graph, 4)
    assert len(plan.steps) == kernels and not kernels_over_limit(plan, 4)
    x, y, z, old = (np.arange(9, dtype="float32") + n for n in range(4))
    *gathered, new = execute_plan(plan, [x, y, z, np.array([8, 1], "int32"), old])
    np.testing.assert_array_equal(new, old * x + y * z)
    assert not read_later or gathered[0].tolist() == [11, 4]


def test_constants_are_bound_to_slots():
    plan = plan_with(lambda x: x + tf.constant([1.0, 2.0, 3.0]), zeros(3))
    assert len(plan.constants) == 1 and plan.buffer_locations[plan.constants[0]].space == "slot"


# ── the verifier ──────────────────────────────────────────────────────────────────────────────


def modified(plan: Plan, **fields) -> Plan:
    return Plan(**({f: getattr(plan, f) for f in plan.__dataclass_fields__} | fields))


def test_the_verifier_detects_a_missing_barrier():
    plan = plan_with(lambda x: tf.matmul(tf.matmul(x, x), x), zeros(256, 256))
    steps = tuple(type(s)(s.kernel, s.parallel, False) for s in plan.steps)
    with pytest.raises(AssertionError, match="needs a barrier"):
        verify_plan(modified(plan, steps=steps))


def test_the_verifier_detects_overlapping_buffers():
    plan = plan_with(lambda x: tf.matmul(tf.matmul(x, x), tf.matmul(x, x[::-1])), zeros(64, 64))
    locations = {a: type(p)(p.space, 0 if p.space == "arena" else p.offset)
                 for a, p in plan.buffer_locations.items()}
    with pytest.raises(AssertionError, match="overwritten|overwrites"):
        verify_plan(modified(plan, buffer_locations=locations))


def test_the_verifier_detects_steps_in_the_wrong_order():
    plan = plan_with(lambda x: tf.matmul(tf.matmul(x, x), x), zeros(8, 8))
    with pytest.raises(AssertionError, match="before it is written"):
        verify_plan(modified(plan, steps=plan.steps[::-1]))


def test_the_verifier_detects_an_undefined_variable():
    x = var(3)
    graph = Graph([x], [Eqn(PRIMITIVES["exp"], (var(3),), {}, (var(3),))])
    with pytest.raises(AssertionError, match="exp uses an undefined variable"):
        verify_graph(graph)


def test_a_printed_plan_names_every_kernel():
    plan = plan_with(lambda x: tf.nn.softmax(tf.matmul(x, x)), zeros(4, 4))
    text = str(plan)
    assert "gemm" in text and text.count("loop") == sum(k != "gemm" for k in kinds(plan))
    assert str(plan.graph).splitlines()[0] == "inputs %0: float32[4,4]"


def test_constant_folding_agrees_with_the_backends():
    nan, true = tf.constant(math.nan), tf.constant(True)
    f = tf.function(lambda x: (x * tf.maximum(1.0, nan), x * tf.minimum(nan, 1.0),
                               tf.where(tf.logical_not(true), x, 0.0)))
    maximum, minimum, selected = f(tf.ones(1))
    assert math.isnan(float(maximum[0])) and math.isnan(float(minimum[0]))
    assert selected.tolist() == [0]
