"""Generated loops against what they mean: sizes, layouts, dtypes, folds, threads, guard bytes."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loop_interpreter import interpret
from wasm_program_runner import plan_of_loop, run, var_like
from wgsl_runner import code_of, device_info, run_plan
from tensorbrook.backends.wasm import loop_codegen as loops_module
from tensorbrook.backends.wasm.module_codegen import disassemble_plan
from tensorbrook.backends.wasm.pass_values import assign_pass_values
from tensorbrook.backends.webgpu import split_reduction
from tensorbrook.base import dtypes
from tensorbrook.base.dtypes import bool_, float32, int32, uint8
from tensorbrook.base.views import View, row_major_strides
from tensorbrook.ir import ElementwiseOp, IndexValue, Load, LoopKernel, ScalarConstant, ReduceOp, Reduction, RowPass, Store

SIZES = (0, 1, 2, 3, 4, 5, 7, 13, 16, 17, 64, 67)
SUM, HIGHEST = Reduction("x + y", 0), Reduction("max(x, y)", "lowest")
LOWEST, ANY = Reduction("min(x, y)", "highest"), Reduction("x | y", False)


def draw(shape, dtype=float32, seed=0):
    rng = np.random.default_rng(seed)
    if dtype is float32:
        return rng.normal(0, 3, shape).astype(np.float32)
    high = {bool_: 2, uint8: 256, int32: 1000}[dtype]
    return rng.integers(-high if dtype is int32 else 0, high, shape).astype(dtype.name)


class Build:
    """Collects a loop's values and the arrays behind them."""

    def __init__(self, space, axes=()):
        self.space, self.axes = tuple(space), tuple(axes)
        self.outer = tuple(1 if i in self.axes else n for i, n in enumerate(self.space))
        self.values, self.late_ones, self.stages = [], [], []
        self.stores, self.arrays = [], {}

    def value(self, value) -> int:
        """In the body of the stage at hand; what comes after its tail is the next stage's."""
        if not self.late_ones or self.late_ones[-1]:
            self.stages.append(([], []))
        self.stages[-1][0].append(value)
        return self._numbered(value, False)

    def late(self, value) -> int:
        self.stages[-1][1].append(value)
        return self._numbered(value, True)

    def _numbered(self, value, late: bool) -> int:
        self.values.append(value)
        self.late_ones.append(late)
        return len(self.values) - 1

    def load(self, array, view=None, late=False) -> int:
        """The elements of `array`; by default as broadcast over the space."""
        dtype = dtypes.as_dtype(array.dtype)
        source = var_like(array, dtype)
        self.arrays[source] = array
        view = view or View.of(array.shape).broadcast_to(self.outer if late else self.space)
        return (self.late if late else self.value)(Load(source, view, dtype))

    def apply(self, formula, *args, dtype=float32, late=False) -> int:
        return (self.late if late else self.value)(ElementwiseOp(formula, args, dtype))

    def store(self, value, view=None, count=None):
        """Into a buffer of its own, of `count` elements; by default just as many as needed."""
        dtype = self.values[value].dtype
        view = view or View.of(self.outer if self.late_ones[value] else self.space)
        array = draw((int(np.prod(view.shape)) if count is None else count,), dtype, seed=9)
        target = var_like(array, dtype)
        self.arrays[target] = array
        self.stores.append(Store(value, target, view))

    def loop(self) -> LoopKernel:
        stages = tuple(RowPass(tuple(body), tuple(tail)) for body, tail in self.stages)
        return LoopKernel(self.space, self.axes, stages, tuple(self.stores), ())


def check(build: Build, threads=(1, 2, 3), rtol=0.0, atol=0.0, fused=0.0):
    """Both forms of the code, whole and divided among threads, against the meaning."""
    loop = build.loop()
    expected = interpret(loop, build.arrays)
    outputs = [build.arrays[v] for v in loop.writes]
    for relaxed, count in itertools.product((True, False), (0, *threads)):
        plan = plan_of_loop(loop, split=count > 0)
        inputs = [build.arrays[v] for v in plan.inputs]
        found = run(plan, inputs, outputs, relaxed, max(count, 1))
        for target, out in zip(loop.writes, found):
            more = fused if relaxed and out.dtype.kind == "f" else 0.0
            np.testing.assert_allclose(out, expected[target], rtol=rtol + more, atol=atol + more)
    check_wgsl(build, loop, expected, rtol, atol, fused)


def check_wgsl(build: Build, loop: LoopKernel, expected: dict, rtol=0.0, atol=0.0, fused=0.0, **changes):
    """The same on the GPU, which may round a product and a sum once and be 2.5 ulp off in a
    quotient; with other device_info of the device."""
    plan = plan_of_loop(loop)
    inputs = [build.arrays[v] for v in plan.inputs]
    found = run_plan(plan, inputs, [build.arrays[v] for v in loop.writes], device_info(**changes))
    for target, out in zip(loop.writes, found):
        more = max(fused, 1e-6) if out.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(out, expected[target], rtol=rtol + more, atol=atol + more)


# ── maps ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("n", SIZES)
def test_sizes(n):
    build = Build((n,))
    x, y = build.load(draw((n,))), build.load(draw((n,), seed=1))
    build.store(build.apply("x * y - 1", x, y))
    check(build)


@pytest.mark.parametrize("dtype", [float32, int32, uint8, bool_], ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_dtypes(dtype, n):
    build = Build((n,))
    x, y = build.load(draw((n,), dtype)), build.load(draw((n,), dtype, seed=1))
    build.store(build.apply("x | y" if dtype is bool_ else "x + y", x, y, dtype=dtype))
    build.store(build.apply("x < y", x, y, dtype=bool_))
    check(build)


BROADCAST = [((3, 17), (17,)), ((3, 17), (3, 1)), ((5, 1, 7), (1, 6, 1)), ((), (4, 5)),
             ((2, 3, 4, 5), (3, 1, 5)), ((1,), (9, 9))]


@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
def test_broadcasting(shapes):
    build = Build(np.broadcast_shapes(*shapes))
    x, y = (build.load(draw(shape, seed=i)) for i, shape in enumerate(shapes))
    build.store(build.apply("x - y", x, y))
    check(build)


TRANSPOSED = [((5, 7), (1, 0)), ((24, 19), (1, 0)), ((19, 24), (1, 0)), ((64, 67), (1, 0)),
              ((67, 64), (1, 0)), ((128, 9), (1, 0)), ((2, 3, 17), (0, 2, 1)),
              ((4, 3, 5, 2), (3, 1, 0, 2)), ((16, 1, 8), (2, 1, 0))]


@pytest.mark.parametrize("dtype", [float32, uint8, bool_], ids=str)
@pytest.mark.parametrize("shape, perm", TRANSPOSED, ids=str)
def test_transpose(shape, perm, dtype):
    view = View.of(shape).transpose(perm)
    build = Build(view.shape)
    build.store(build.load(draw(shape, dtype), view))
    check(build)


def test_transpose_beside_what_lies_straight():
    build = Build((30, 21))
    x = build.load(draw((21, 30)), View.of((21, 30)).transpose((1, 0)))
    y, row = build.load(draw((30, 21), seed=1)), build.load(draw((30, 1)))
    column = build.apply("cast(x)", build.value(IndexValue((1, 100), 0, int32)))
    build.store(build.apply("x * y + z", x, row, y))
    build.store(build.apply("x + y", x, column))
    check(build, rtol=1e-5)


def test_a_product_is_added_in_one_instruction_unless_it_is_the_same_for_a_whole_loop():
    build = Build((3, 40))
    x, row, number = build.load(draw((3, 40))), build.load(draw((3, 1))), build.load(draw((1, 1)))
    build.store(build.apply("x * y + z", x, row, number))
    build.store(build.apply("x + y * z", x, row, number))
    text = disassemble_plan(plan_of_loop(build.loop()))
    assert text.count("relaxed_madd") == text.count("f32x4.add") > 0
    check(build, rtol=1e-5, atol=1e-6)


SLICES = [((0, 1), (1, 2)), ((9, 20), (-1, -1)), ((9, 0), (-2, 3))]


@pytest.mark.parametrize("dtype", [float32, uint8], ids=str)
@pytest.mark.parametrize("begin, steps", SLICES, ids=str)
def test_slices(begin, steps, dtype):
    shape = tuple(len(range(b, n if s > 0 else -1, s)) for b, s, n in zip(begin, steps, (10, 21)))
    build = Build(shape)
    build.store(build.load(draw((10, 21), dtype), View.of((10, 21)).slice(begin, shape, steps)))
    check(build)


@pytest.mark.parametrize("dtype", [float32, uint8, bool_], ids=str)
def test_stores_into_a_region(dtype):
    build = Build((5, 9))
    whole = View.of((7, 20))
    x = build.load(draw((5, 9), dtype))
    build.store(x, whole.slice((1, 3), (5, 9), (1, 1)), count=140)
    build.store(x, whole.slice((6, 19), (5, 9), (-1, -2)), count=140)
    build.store(x, View.of((9, 5)).transpose((1, 0)), count=45)
    check(build)


def test_index():
    build = Build((3, 6, 7))
    i = build.value(IndexValue((0, 1, 0), 5, int32))
    j = build.value(IndexValue((42, 7, 1), 0, int32))
    k = build.value(IndexValue((0, 0, -3), -1, int32))
    build.store(build.apply("x * 100 + y - z", i, j, k, dtype=int32))
    build.store(i)
    check(build)


def test_numbers_and_what_does_not_vary():
    build = Build((4, 10))
    number = build.value(ScalarConstant(2.5, float32))
    column = build.apply("exp(x) * y", build.load(draw((4, 1))), number)
    build.store(number)
    build.store(column)
    build.store(build.apply("x + y", column, build.load(draw((10,)))))
    check(build, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("formula, number", [("x >> y", 3), ("x ** y", 2), ("x // y", 7)])
def test_a_number_that_an_instruction_may_take_in(formula, number):
    build = Build((19,))
    y = build.value(ScalarConstant(number, int32))
    build.store(build.apply(formula, build.load(draw((19,), int32)), y, dtype=int32))
    build.store(build.apply("select(x < y, x, y)", y, y, dtype=int32))
    check(build, threads=(2,))


def test_values_stay_what_they_were_while_buffers_are_written():
    n = 23
    build = Build((n,))
    a, b = build.load(draw((n,))), build.load(draw((n,), seed=1))
    first, second = (v.source for v in build.values)
    view = View.of((n,))
    build.stores = [Store(b, first, view), Store(a, second, view)]
    check(build)


def test_a_long_chain():
    build = Build((9,))
    value = build.load(draw((9,)))
    for _ in range(1500):
        value = build.apply("x * 1.001", value)
    build.store(value)
    check(build, threads=(), rtol=1e-3)


# ── folds ─────────────────────────────────────────────────────────────────────


def fold(build, value, reduction=SUM, dtype=float32):
    build.store(build.late(ReduceOp(value, reduction, dtype)))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("rows, columns", [(r, c) for r in (0, 1, 3, 17) for c in SIZES])
def test_sums_of_a_matrix(rows, columns, axes):
    build = Build((rows, columns), axes)
    fold(build, build.load(draw((rows, columns))))
    check(build, threads=(1, 3), rtol=1e-5, atol=1e-5)


AXES = [axes for n in range(5) for axes in itertools.combinations(range(4), n)]


@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (5, 1, 3, 17), (1, 6, 16, 1)], ids=str)
def test_sums_over_any_axes(shape, axes):
    build = Build(shape, axes)
    fold(build, build.load(draw(shape)))
    check(build, threads=(2,), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("perm", list(itertools.permutations(range(3))), ids=str)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2)], ids=str)
def test_sums_of_what_was_transposed(perm, axes):
    view = View.of((6, 5, 9)).transpose(perm)
    build = Build(view.shape, axes)
    fold(build, build.load(draw((6, 5, 9)), view))
    check(build, threads=(2,), rtol=1e-5, atol=1e-5)


REDUCTIONS = [(float32, SUM), (float32, HIGHEST), (float32, LOWEST), (int32, SUM), (int32, HIGHEST),
              (int32, LOWEST), (uint8, SUM), (uint8, HIGHEST), (uint8, LOWEST), (bool_, ANY),
              (bool_, HIGHEST), (bool_, LOWEST), (bool_, Reduction("x & y", True)),
              (float32, Reduction("x * y", 1))]


FOLDED = [((3, 19), (1,)), ((19, 3), (0,)), ((7, 18), (0,)), ((0, 5), (0,)), ((5, 0), (1,)),
          ((70,), (0,)), ((), ())]


@pytest.mark.parametrize("shape, axes", FOLDED, ids=str)
@pytest.mark.parametrize("dtype, reduction", REDUCTIONS, ids=str)
def test_reductions(dtype, reduction, shape, axes):
    build = Build(shape, axes)
    fold(build, build.load(draw(shape, dtype)), reduction, dtype)
    check(build, threads=(2,), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), ()], ids=str)
@pytest.mark.parametrize("shape", [(5, 18), (18, 5), (1, 1)], ids=str)
def test_tails_and_stores_in_the_body(shape, axes):
    """Mean and largest, from one pass that also stores every square."""
    build = Build(shape, axes)
    x = build.load(draw(shape))
    square = build.apply("x * x", x)
    build.store(square)
    total, top = build.late(ReduceOp(square, SUM, float32)), build.late(ReduceOp(x, HIGHEST, float32))
    count = build.late(ScalarConstant(float(np.prod([shape[a] for a in axes])), float32))
    scale = build.load(draw(build.outer, seed=4), late=True)
    mean = build.apply("x / y * z", total, count, scale, late=True)
    build.store(mean)
    build.store(build.apply("x - y", top, mean, late=True))
    build.store(build.apply("x > y", top, mean, dtype=bool_, late=True))
    check(build, rtol=1e-5, atol=1e-5)


def test_a_tail_with_an_index_and_something_that_does_not_vary():
    build = Build((6, 4, 21), (2,))
    total = build.load(draw((6, 4, 21)))
    total = build.late(ReduceOp(total, SUM, float32))
    row = build.late(IndexValue((10, 1, 0), 3, int32))
    shared = build.apply("exp(x)", build.load(draw((6, 1, 1)), late=True), late=True)
    row = build.apply("cast(x)", row, late=True)
    build.store(build.apply("x + y * z", total, row, shared, late=True))
    check(build, rtol=1e-5, atol=1e-5)


WHOLE = {"map": ((30, 41), ()), "wide map": ((90, 40), ()), "rows": ((97, 40), (1,)),
         "columns": ((40, 520), (0,)), "short rows": ((1000, 3), (1,))}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("across", [False, True])
def test_more_workgroups_than_a_dimension_takes_on_the_gpu(name, across):
    shape, axes = WHOLE[name]
    build = Build(shape, axes)
    view = View.of(shape[::-1]).transpose((1, 0)) if across else View.of(shape)
    x = build.load(draw((int(np.prod(shape)),)), view)
    build.store(build.late(ReduceOp(x, HIGHEST, float32)) if axes else build.apply("-x", x))
    loop = build.loop()
    check_wgsl(build, loop, interpret(loop, build.arrays), max_workgroups=2)


STRIPS = [((6, 40), (1,)), ((40, 6), (0,)), ((24,), (0,)), ((4, 5, 36), (1, 2)), ((12, 3, 8), (0,)),
          ((2, 3, 4, 5), (1, 3)), ((7, 12), (0, 1)), ((9, 13), (1,)), ((13, 3), (0,))]


@pytest.mark.parametrize("dtype", [float32, int32, bool_], ids=str)
@pytest.mark.parametrize("shape, axes", STRIPS, ids=str)
def test_long_rows_are_cut_into_strips_on_the_gpu(shape, axes, dtype, monkeypatch):
    """Two dispatches: with stores, other folds, and tails that read and count."""
    for name in ("MIN_CHUNK", "COLUMNS_LONG"):
        monkeypatch.setattr(split_reduction, name, 2)
    build = Build(shape, axes)
    x = build.load(draw(shape, dtype))
    i = build.value(IndexValue(tuple(range(1, len(shape) + 1)), 5, int32))
    build.store(x)
    low, first = build.late(ReduceOp(x, LOWEST, dtype)), build.late(ReduceOp(i, HIGHEST, int32))
    row = build.late(IndexValue(tuple(n + 1 for n in range(len(shape))), 3, int32))
    build.store(build.apply("x - y", first, row, dtype=int32, late=True))
    other = build.load(draw(build.outer, dtype, seed=4), late=True)
    build.store(build.apply("max(x, y)", low, other, dtype=dtype, late=True))
    dispatches = code_of(plan_of_loop(build.loop()))
    assert len(dispatches) == 2 + (13 in shape), "13 has no divisor: a strip is left over"
    check(build, threads=())


def test_softmax_of_columns_reads_their_maximum_once():
    build = Build((50, 13), (0,))
    x, top = build.load(draw((50, 13))), build.load(draw((1, 13), seed=2))
    fold(build, build.apply("exp(x - y)", x, build.apply("exp(x)", top)))
    check(build, rtol=1e-5)


# ── rows that are gone over several times ─────────────────────────────────────


def softmax(shape, axes):
    """Its values, and the largest of each row and the sum of its exponentials."""
    build = Build(shape, axes)
    x = build.load(draw(shape))
    top = build.late(ReduceOp(x, HIGHEST, float32))
    e = build.apply("exp(x - y)", x, top)
    total = build.late(ReduceOp(e, SUM, float32))
    build.store(build.apply("x / y", e, total))
    build.store(total)
    build.store(top)
    return build


@pytest.mark.parametrize("shape, axes", [
    ((5, 18), (1,)), ((5, 18), (0,)), ((64, 10), (1,)), ((10, 64), (0,)), ((3, 1), (1,)),
    ((19,), (0,)), ((4, 3, 7), (1, 2)), ((4, 3, 7), (0, 2)), ((4, 3, 7), (1,)), ((2, 0), (1,)),
    ((1, 1), (0, 1))], ids=str)
def test_softmax_is_one_loop(shape, axes):
    check(softmax(shape, axes), rtol=1e-5, atol=1e-6)


def test_exponentials_are_computed_once():
    parts = assign_pass_values(softmax((5, 18), (1,)).loop(), relaxed=True)
    assert [(part.reloaded, part.spilled) for part in parts] == [((), ()), ((), (2,)), ((2,), ())]


def test_cheap_values_are_computed_again():
    build = normalised((5, 18))
    assert all(not part.reloaded for part in assign_pass_values(build.loop(), relaxed=True))
    check(build, rtol=1e-4, atol=1e-5)


def normalised(shape):
    """A layer norm without its scale and offset."""
    build = Build(shape, (1,))
    x = build.load(draw(shape))
    count = 1 / shape[1]
    mean = build.apply(f"x * {count}", build.late(ReduceOp(x, SUM, float32)), late=True)
    d = build.apply("x - y", x, mean)
    variance = build.late(ReduceOp(build.apply("x * x", d), SUM, float32))
    scale = build.apply(f"1 / sqrt(x * {count} + 0.001)", variance, late=True)
    build.store(build.apply("x * y", d, scale))
    return build


def test_rows_too_long_to_be_kept_are_computed_again(monkeypatch):
    monkeypatch.setattr(loops_module, "MAX_ROW_CACHE_BYTES", 64)
    check(softmax((6, 37), (1,)), rtol=1e-5, atol=1e-6)


# ── anything ──────────────────────────────────────────────────────────────────

FORMULAS = {float32: ("x + y", "x * y", "x - y * 2", "max(x, y)", "select(x > y, x, 0.5)",
                      "abs(x) - y", "abs(abs(x) - abs(y)) - abs(abs(x) + abs(y) - 1)"),
            int32: ("x + y", "x ^ y", "min(x, y)", "select(x < y, x * 3, y)",
                    "(x * y - x) ^ (x + y * 5) ^ (x - y)"),
            uint8: ("x + y", "x * y", "max(x, y)", "~x & y", "(x + y) * (x - y) * x"),
            bool_: ("x & y", "x | ~y", "x != y", "(x & ~y) | (~x & y) | (x != y)")}


@st.composite
def views(draw_one, space):
    """A buffer's size and a view of it over `space`: axes permuted, repeated, stepped, reversed."""
    def for_each_axis(element):
        return draw_one(st.lists(element, min_size=len(space), max_size=len(space)))
    perm = draw_one(st.permutations(range(len(space))))
    repeated = for_each_axis(st.booleans())
    steps = for_each_axis(st.sampled_from([1, 1, 1, 2, -1, -2]))
    sizes = [1 if repeated[p] else max(abs(steps[p]) * (space[p] - 1) + 1, 1) for p in perm]
    strides, offset, begin = [0] * len(space), draw_one(st.integers(0, 3)), 0
    for p, stride in zip(perm, row_major_strides(tuple(sizes))):
        strides[p] = 0 if repeated[p] else stride * steps[p]
        begin -= min(strides[p], 0) * max(space[p] - 1, 0)
    return offset + int(np.prod(sizes)), View(tuple(space), tuple(strides), offset + begin)


@st.composite
def loops(draw_one):
    space = tuple(draw_one(st.lists(st.sampled_from([1, 2, 3, 4, 5, 9, 17]), max_size=4)))
    folded = draw_one(st.booleans())
    axes = tuple(i for i in range(len(space)) if folded and draw_one(st.booleans()))
    dtype = draw_one(st.sampled_from(list(FORMULAS)))
    build = Build(space, axes)
    stages = draw_one(st.integers(1, 3)) if axes else 1
    for n in range(stages):
        stage(draw_one, build, dtype, axes and (n + 1 < stages or draw_one(st.booleans())))
    return build


def stage(draw_one, build, dtype, folded):
    """One more stage, that may use whatever the ones before it have computed."""
    for seed in range(draw_one(st.integers(1, 3))):
        count, view = draw_one(views(build.space))
        build.load(draw((count,), dtype, seed), view)
    for _ in range(draw_one(st.integers(0, 4))):
        pick = st.integers(0, len(build.values) - 1)
        formula = draw_one(st.sampled_from(FORMULAS[dtype]))
        build.apply(formula, draw_one(pick), draw_one(pick), dtype=dtype)
    last = len(build.values) - 1
    if not folded or draw_one(st.booleans()):
        build.store(last)
    if folded:
        total = build.late(ReduceOp(last, ANY if dtype is bool_ else HIGHEST, dtype))
        count, view = draw_one(views(build.outer))
        other = build.load(draw((count,), dtype, 8), view, late=True)
        build.store(build.apply(draw_one(st.sampled_from(FORMULAS[dtype])), total, other,
                                dtype=dtype, late=True))


@settings(max_examples=150)
@given(loops(), st.integers(1, 4))
def test_any_loop(build, threads):
    # Where the build fuses a product and a sum, they are rounded once; elsewhere all is exact.
    check(build, threads=(threads,), fused=1e-4)
