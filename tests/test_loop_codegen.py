"""Loop code generation against the loop interpreter: layouts, dtypes, reductions, threads."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loop_builder import LoopBuilder, random_array
from loop_interpreter import interpret
from wasm_program_runner import plan_of_loop, run
from wgsl_runner import device_info, run_plan, shaders_of
from tensorbrook.backends.wasm import loop_codegen
from tensorbrook.backends.wasm.module_codegen import disassemble_plan
from tensorbrook.backends.wasm.pass_values import assign_pass_values
from tensorbrook.backends.webgpu import split_reduction
from tensorbrook.base.dtypes import bool_, float32, int32, uint8
from tensorbrook.base.views import View, row_major_strides
from tensorbrook.ir import (
    IndexValue,
    LoopKernel,
    ReduceOp,
    Reduction,
    ScalarConstant,
    Store,
)
from tensorbrook.ir.scalar_expression import scalar_expression

SIZES = (0, 1, 2, 3, 4, 5, 7, 13, 16, 17, 64, 67)
SUM = Reduction(scalar_expression("x + y"), 0)
MAX = Reduction(scalar_expression("max(x, y)"), "lowest")
MIN = Reduction(scalar_expression("min(x, y)"), "highest")
ANY = Reduction(scalar_expression("x | y"), False)


def check(builder: LoopBuilder, threads=(1, 2, 3), rtol=0.0, atol=0.0, fused=0.0):
    """Compare WebAssembly, with and without relaxed SIMD and threads, and WGSL with `interpret`.

    `fused` is the additional tolerance where a product and a sum are rounded once.
    """
    loop = builder.loop()
    expected = interpret(loop, builder.arrays)
    outputs = [builder.arrays[v] for v in loop.writes]
    for relaxed, count in itertools.product((True, False), (0, *threads)):
        plan = plan_of_loop(loop, parallel=count > 0)
        inputs = [builder.arrays[v] for v in plan.inputs]
        results = run(plan, inputs, outputs, relaxed, max(count, 1))
        for target, actual in zip(loop.writes, results):
            extra = fused if relaxed and actual.dtype.kind == "f" else 0.0
            np.testing.assert_allclose(actual, expected[target], rtol=rtol + extra,
                                       atol=atol + extra)
    check_wgsl(builder, loop, expected, rtol, atol, fused)


def check_wgsl(builder: LoopBuilder, loop: LoopKernel, expected: dict, rtol=0.0, atol=0.0,
               fused=0.0, **changes):
    """Compare WGSL with `expected`, with `changes` of the device info.

    WGSL allows fused multiply-add, and an error of 2.5 ulp in a division.
    """
    plan = plan_of_loop(loop)
    inputs, outputs = ([builder.arrays[v] for v in vs] for vs in (plan.inputs, loop.writes))
    results = run_plan(plan, inputs, outputs, device_info(**changes))
    for target, actual in zip(loop.writes, results):
        extra = max(fused, 1e-6) if actual.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(actual, expected[target], rtol=rtol + extra, atol=atol + extra)


# ── elementwise loops ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", SIZES)
def test_elementwise_sizes(n):
    builder = LoopBuilder((n,))
    x, y = builder.load(random_array((n,))), builder.load(random_array((n,), seed=1))
    builder.store(builder.apply("x * y - 1", x, y))
    check(builder)


@pytest.mark.parametrize("dtype", [float32, int32, uint8, bool_], ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_elementwise_dtypes(dtype, n):
    builder = LoopBuilder((n,))
    x, y = builder.load(random_array((n,), dtype)), builder.load(random_array((n,), dtype, seed=1))
    builder.store(builder.apply("x | y" if dtype is bool_ else "x + y", x, y, dtype=dtype))
    builder.store(builder.apply("x < y", x, y, dtype=bool_))
    check(builder)


BROADCAST = [((3, 17), (17,)), ((3, 17), (3, 1)), ((5, 1, 7), (1, 6, 1)), ((), (4, 5)),
             ((2, 3, 4, 5), (3, 1, 5)), ((1,), (9, 9))]


@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
def test_broadcasting(shapes):
    builder = LoopBuilder(np.broadcast_shapes(*shapes))
    x, y = (builder.load(random_array(shape, seed=i)) for i, shape in enumerate(shapes))
    builder.store(builder.apply("x - y", x, y))
    check(builder)


TRANSPOSED = [((5, 7), (1, 0)), ((24, 19), (1, 0)), ((19, 24), (1, 0)), ((64, 67), (1, 0)),
              ((67, 64), (1, 0)), ((128, 9), (1, 0)), ((2, 3, 17), (0, 2, 1)),
              ((4, 3, 5, 2), (3, 1, 0, 2)), ((16, 1, 8), (2, 1, 0))]


@pytest.mark.parametrize("dtype", [float32, uint8, bool_], ids=str)
@pytest.mark.parametrize("shape, perm", TRANSPOSED, ids=str)
def test_transposed_loads(shape, perm, dtype):
    view = View.of(shape).transpose(perm)
    builder = LoopBuilder(view.shape)
    builder.store(builder.load(random_array(shape, dtype), view))
    check(builder)


def test_transposed_and_contiguous_loads_in_one_loop():
    builder = LoopBuilder((30, 21))
    x = builder.load(random_array((21, 30)), View.of((21, 30)).transpose((1, 0)))
    y, row = builder.load(random_array((30, 21), seed=1)), builder.load(random_array((30, 1)))
    column = builder.apply("cast(x)", builder.value(IndexValue((1, 100), 0, int32)))
    builder.store(builder.apply("x * y + z", x, row, y))
    builder.store(builder.apply("x + y", x, column))
    check(builder, rtol=1e-5)


def test_a_loop_invariant_product_is_hoisted_instead_of_fused_into_a_multiply_add():
    builder = LoopBuilder((3, 40))
    x, row, scalar = (builder.load(random_array(shape)) for shape in ((3, 40), (3, 1), (1, 1)))
    builder.store(builder.apply("x * y + z", x, row, scalar))
    builder.store(builder.apply("x + y * z", x, row, scalar))
    text = disassemble_plan(plan_of_loop(builder.loop()))
    assert text.count("relaxed_madd") == text.count("f32x4.add") > 0
    check(builder, rtol=1e-5, atol=1e-6)


SLICES = [((0, 1), (1, 2)), ((9, 20), (-1, -1)), ((9, 0), (-2, 3))]


@pytest.mark.parametrize("dtype", [float32, uint8], ids=str)
@pytest.mark.parametrize("begin, steps", SLICES, ids=str)
def test_strided_loads(begin, steps, dtype):
    shape = tuple(len(range(b, n if s > 0 else -1, s)) for b, s, n in zip(begin, steps, (10, 21)))
    builder = LoopBuilder(shape)
    view = View.of((10, 21)).slice(begin, shape, steps)
    builder.store(builder.load(random_array((10, 21), dtype), view))
    check(builder)


@pytest.mark.parametrize("dtype", [float32, uint8, bool_], ids=str)
def test_strided_stores(dtype):
    builder = LoopBuilder((5, 9))
    buffer_view = View.of((7, 20))
    x = builder.load(random_array((5, 9), dtype))
    builder.store(x, buffer_view.slice((1, 3), (5, 9), (1, 1)), count=140)
    builder.store(x, buffer_view.slice((6, 19), (5, 9), (-1, -2)), count=140)
    builder.store(x, View.of((9, 5)).transpose((1, 0)), count=45)
    check(builder)


def test_index_values():
    builder = LoopBuilder((3, 6, 7))
    i = builder.value(IndexValue((0, 1, 0), 5, int32))
    j = builder.value(IndexValue((42, 7, 1), 0, int32))
    k = builder.value(IndexValue((0, 0, -3), -1, int32))
    builder.store(builder.apply("x * 100 + y - z", i, j, k, dtype=int32))
    builder.store(i)
    check(builder)


def test_scalar_constants_and_loop_invariant_values():
    builder = LoopBuilder((4, 10))
    scalar = builder.value(ScalarConstant(2.5, float32))
    column = builder.apply("exp(x) * y", builder.load(random_array((4, 1))), scalar)
    builder.store(scalar)
    builder.store(column)
    builder.store(builder.apply("x + y", column, builder.load(random_array((10,)))))
    check(builder, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("expression, constant", [("x >> y", 3), ("x ** y", 2), ("x // y", 7)])
def test_constants_as_immediates(expression, constant):
    builder = LoopBuilder((19,))
    x = builder.load(random_array((19,), int32))
    y = builder.value(ScalarConstant(constant, int32))
    builder.store(builder.apply(expression, x, y, dtype=int32))
    builder.store(builder.apply("select(x < y, x, y)", y, y, dtype=int32))
    check(builder, threads=(2,))


def test_loads_precede_stores_to_the_same_buffer():
    n = 23
    builder = LoopBuilder((n,))
    a, b = builder.load(random_array((n,))), builder.load(random_array((n,), seed=1))
    first, second = (v.source for v in builder.values)
    view = View.of((n,))
    builder.stores = [Store(b, first, view), Store(a, second, view)]
    check(builder)


def test_a_long_elementwise_chain():
    builder = LoopBuilder((9,))
    value = builder.load(random_array((9,)))
    for _ in range(1500):
        value = builder.apply("x * 1.001", value)
    builder.store(value)
    check(builder, threads=(), rtol=1e-3)


# ── reductions ──────────────────────────────────────────────────────────────────────────────────


def store_reduction(builder, value, reduction=SUM, dtype=float32):
    builder.store(builder.post_reduce(ReduceOp(value, reduction, dtype)))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("rows, columns", [(r, c) for r in (0, 1, 3, 17) for c in SIZES])
def test_sums_of_a_matrix(rows, columns, axes):
    builder = LoopBuilder((rows, columns), axes)
    store_reduction(builder, builder.load(random_array((rows, columns))))
    check(builder, threads=(1, 3), rtol=1e-5, atol=1e-5)


AXES = [axes for n in range(5) for axes in itertools.combinations(range(4), n)]


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (5, 1, 3, 17), (1, 6, 16, 1)], ids=str)
def test_sums_over_any_axes(shape, axes):
    builder = LoopBuilder(shape, axes)
    store_reduction(builder, builder.load(random_array(shape)))
    check(builder, threads=(2,), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("perm", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2)], ids=str)
def test_sums_of_transposed_loads(perm, axes):
    view = View.of((6, 5, 9)).transpose(perm)
    builder = LoopBuilder(view.shape, axes)
    store_reduction(builder, builder.load(random_array((6, 5, 9)), view))
    check(builder, threads=(2,), rtol=1e-5, atol=1e-5)


REDUCTIONS = [(float32, SUM), (float32, MAX), (float32, MIN), (int32, SUM), (int32, MAX),
              (int32, MIN), (uint8, SUM), (uint8, MAX), (uint8, MIN), (bool_, ANY),
              (bool_, MAX), (bool_, MIN), (bool_, Reduction(scalar_expression("x & y"), True)),
              (float32, Reduction(scalar_expression("x * y"), 1))]


REDUCED_SHAPES = [((3, 19), (1,)), ((19, 3), (0,)), ((7, 18), (0,)), ((0, 5), (0,)), ((5, 0), (1,)),
                  ((70,), (0,)), ((), ())]


@pytest.mark.parametrize("shape, axes", REDUCED_SHAPES, ids=str)
@pytest.mark.parametrize("dtype, reduction", REDUCTIONS, ids=str)
def test_every_reduction(dtype, reduction, shape, axes):
    builder = LoopBuilder(shape, axes)
    store_reduction(builder, builder.load(random_array(shape, dtype)), reduction, dtype)
    check(builder, threads=(2,), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), ()], ids=str)
@pytest.mark.parametrize("shape", [(5, 18), (18, 5), (1, 1)], ids=str)
def test_post_reduction_values_and_stores_in_the_body(shape, axes):
    """A mean and a maximum, in a pass that also stores the square of every element."""
    builder = LoopBuilder(shape, axes)
    x = builder.load(random_array(shape))
    square = builder.apply("x * x", x)
    builder.store(square)
    total = builder.post_reduce(ReduceOp(square, SUM, float32))
    maximum = builder.post_reduce(ReduceOp(x, MAX, float32))
    count = builder.post_reduce(
        ScalarConstant(float(np.prod([shape[a] for a in axes])), float32))
    scale = builder.load(random_array(builder.reduced_space, seed=4), post_reduce=True)
    mean = builder.apply("x / y * z", total, count, scale, post_reduce=True)
    builder.store(mean)
    builder.store(builder.apply("x - y", maximum, mean, post_reduce=True))
    builder.store(builder.apply("x > y", maximum, mean, dtype=bool_, post_reduce=True))
    check(builder, rtol=1e-5, atol=1e-5)


def test_post_reduction_indices_and_loop_invariant_values():
    builder = LoopBuilder((6, 4, 21), (2,))
    x = builder.load(random_array((6, 4, 21)))
    total = builder.post_reduce(ReduceOp(x, SUM, float32))
    index = builder.post_reduce(IndexValue((10, 1, 0), 3, int32))
    broadcast = builder.apply(
        "exp(x)", builder.load(random_array((6, 1, 1)), post_reduce=True), post_reduce=True)
    index = builder.apply("cast(x)", index, post_reduce=True)
    builder.store(builder.apply("x + y * z", total, index, broadcast, post_reduce=True))
    check(builder, rtol=1e-5, atol=1e-5)


SHAPES = {"elementwise": ((30, 41), ()), "large elementwise": ((90, 40), ()),
          "rows": ((97, 40), (1,)), "columns": ((40, 520), (0,)), "short rows": ((1000, 3), (1,))}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_more_workgroups_than_a_grid_dimension_allows(name, transposed):
    shape, axes = SHAPES[name]
    builder = LoopBuilder(shape, axes)
    view = View.of(shape[::-1]).transpose((1, 0)) if transposed else View.of(shape)
    x = builder.load(random_array((int(np.prod(shape)),)), view)
    builder.store(
        builder.post_reduce(ReduceOp(x, MAX, float32)) if axes else builder.apply("-x", x))
    loop = builder.loop()
    check_wgsl(builder, loop, interpret(loop, builder.arrays), max_workgroups=2)


LONG_ROWS = [((6, 40), (1,)), ((40, 6), (0,)), ((24,), (0,)), ((4, 5, 36), (1, 2)),
             ((12, 3, 8), (0,)), ((2, 3, 4, 5), (1, 3)), ((7, 12), (0, 1)), ((9, 13), (1,)),
             ((13, 3), (0,))]


@pytest.mark.parametrize("dtype", [float32, int32, bool_], ids=str)
@pytest.mark.parametrize("shape, axes", LONG_ROWS, ids=str)
def test_long_rows_are_split_into_chunks_on_the_gpu(shape, axes, dtype, monkeypatch):
    """Two dispatches, with stores, several reductions, and post-reduction loads and indices."""
    for name in ("MIN_CHUNK", "MIN_COLUMN_CHUNK"):
        monkeypatch.setattr(split_reduction, name, 2)
    builder = LoopBuilder(shape, axes)
    x = builder.load(random_array(shape, dtype))
    i = builder.value(IndexValue(tuple(range(1, len(shape) + 1)), 5, int32))
    builder.store(x)
    minimum = builder.post_reduce(ReduceOp(x, MIN, dtype))
    max_index = builder.post_reduce(ReduceOp(i, MAX, int32))
    row = builder.post_reduce(IndexValue(tuple(n + 1 for n in range(len(shape))), 3, int32))
    builder.store(builder.apply("x - y", max_index, row, dtype=int32, post_reduce=True))
    operand = builder.load(random_array(builder.reduced_space, dtype, seed=4), post_reduce=True)
    builder.store(builder.apply("max(x, y)", minimum, operand, dtype=dtype, post_reduce=True))
    dispatches = shaders_of(plan_of_loop(builder.loop()))
    assert len(dispatches) == 2 + (13 in shape), "13 is prime: the last chunk is separate"
    check(builder, threads=())


def test_a_column_reduction_with_a_loop_invariant_operand():
    builder = LoopBuilder((50, 13), (0,))
    x, maximum = builder.load(random_array((50, 13))), builder.load(random_array((1, 13), seed=2))
    store_reduction(builder, builder.apply("exp(x - y)", x, builder.apply("exp(x)", maximum)))
    check(builder, rtol=1e-5)


# ── several passes over a row ───────────────────────────────────────────────────────────────────


def softmax(shape, axes):
    """Softmax; also stores the maximum and the sum of the exponentials of each row."""
    builder = LoopBuilder(shape, axes)
    x = builder.load(random_array(shape))
    maximum = builder.post_reduce(ReduceOp(x, MAX, float32))
    exps = builder.apply("exp(x - y)", x, maximum)
    total = builder.post_reduce(ReduceOp(exps, SUM, float32))
    builder.store(builder.apply("x / y", exps, total))
    builder.store(total)
    builder.store(maximum)
    return builder


@pytest.mark.parametrize("shape, axes", [
    ((5, 18), (1,)), ((5, 18), (0,)), ((64, 10), (1,)), ((10, 64), (0,)), ((3, 1), (1,)),
    ((19,), (0,)), ((4, 3, 7), (1, 2)), ((4, 3, 7), (0, 2)), ((4, 3, 7), (1,)), ((2, 0), (1,)),
    ((1, 1), (0, 1))], ids=str)
def test_softmax_is_one_loop(shape, axes):
    check(softmax(shape, axes), rtol=1e-5, atol=1e-6)


def test_exponentials_are_computed_once():
    passes = assign_pass_values(softmax((5, 18), (1,)).loop(), relaxed=True)
    assert [(p.reloaded, p.spilled) for p in passes] == [((), ()), ((), (2,)), ((2,), ())]


def test_cheap_values_are_recomputed():
    builder = normalize((5, 18))
    assert all(not p.reloaded for p in assign_pass_values(builder.loop(), relaxed=True))
    check(builder, rtol=1e-4, atol=1e-5)


def normalize(shape):
    """Layer normalization without scale and offset."""
    builder = LoopBuilder(shape, (1,))
    x = builder.load(random_array(shape))
    count = 1 / shape[1]
    mean = builder.apply(f"x * {count}", builder.post_reduce(ReduceOp(x, SUM, float32)),
                       post_reduce=True)
    centered = builder.apply("x - y", x, mean)
    squares = builder.apply("x * x", centered)
    variance = builder.post_reduce(ReduceOp(squares, SUM, float32))
    scale = builder.apply(f"1 / sqrt(x * {count} + 0.001)", variance, post_reduce=True)
    builder.store(builder.apply("x * y", centered, scale))
    return builder


def test_rows_over_the_cache_limit_are_recomputed(monkeypatch):
    monkeypatch.setattr(loop_codegen, "MAX_ROW_CACHE_BYTES", 64)
    check(softmax((6, 37), (1,)), rtol=1e-5, atol=1e-6)


# ── random loops ────────────────────────────────────────────────────────────────────────────────

EXPRESSIONS = {float32: ("x + y", "x * y", "x - y * 2", "max(x, y)", "select(x > y, x, 0.5)",
                         "abs(x) - y", "abs(abs(x) - abs(y)) - abs(abs(x) + abs(y) - 1)"),
               int32: ("x + y", "x ^ y", "min(x, y)", "select(x < y, x * 3, y)",
                       "(x * y - x) ^ (x + y * 5) ^ (x - y)"),
               uint8: ("x + y", "x * y", "max(x, y)", "~x & y", "(x + y) * (x - y) * x"),
               bool_: ("x & y", "x | ~y", "x != y", "(x & ~y) | (~x & y) | (x != y)")}


@st.composite
def views(draw, space):
    """(the size of a buffer, a strided view of it with the shape `space`)."""
    def for_each_axis(element):
        return draw(st.lists(element, min_size=len(space), max_size=len(space)))
    perm = draw(st.permutations(range(len(space))))
    repeated = for_each_axis(st.booleans())
    steps = for_each_axis(st.sampled_from([1, 1, 1, 2, -1, -2]))
    sizes = [1 if repeated[p] else max(abs(steps[p]) * (space[p] - 1) + 1, 1) for p in perm]
    strides, offset, begin = [0] * len(space), draw(st.integers(0, 3)), 0
    for p, stride in zip(perm, row_major_strides(tuple(sizes))):
        strides[p] = 0 if repeated[p] else stride * steps[p]
        begin -= min(strides[p], 0) * max(space[p] - 1, 0)
    return offset + int(np.prod(sizes)), View(tuple(space), tuple(strides), offset + begin)


@st.composite
def loops(draw):
    space = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 5, 9, 17]), max_size=4)))
    has_reduction = draw(st.booleans())
    axes = tuple(i for i in range(len(space)) if has_reduction and draw(st.booleans()))
    dtype = draw(st.sampled_from(list(EXPRESSIONS)))
    builder = LoopBuilder(space, axes)
    passes = draw(st.integers(1, 3)) if axes else 1
    for n in range(passes):
        add_pass(draw, builder, dtype, axes and (n + 1 < passes or draw(st.booleans())))
    return builder


def add_pass(draw, builder, dtype, reduces):
    """Add a pass that may use all values of the previous passes."""
    for seed in range(draw(st.integers(1, 3))):
        count, view = draw(views(builder.space))
        builder.load(random_array((count,), dtype, seed), view)
    for _ in range(draw(st.integers(0, 4))):
        operands = st.integers(0, len(builder.values) - 1)
        expression = draw(st.sampled_from(EXPRESSIONS[dtype]))
        builder.apply(expression, draw(operands), draw(operands), dtype=dtype)
    last = len(builder.values) - 1
    if not reduces or draw(st.booleans()):
        builder.store(last)
    if reduces:
        total = builder.post_reduce(ReduceOp(last, ANY if dtype is bool_ else MAX, dtype))
        count, view = draw(views(builder.reduced_space))
        operand = builder.load(random_array((count,), dtype, 8), view, post_reduce=True)
        builder.store(builder.apply(draw(st.sampled_from(EXPRESSIONS[dtype])), total, operand,
                                dtype=dtype, post_reduce=True))


@pytest.mark.slow
@settings(max_examples=150)
@given(loops(), st.integers(1, 4))
def test_random_loops(builder, threads):
    check(builder, threads=(threads,), fused=1e-4)
