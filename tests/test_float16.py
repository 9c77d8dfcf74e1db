"""float16: what it holds, what operations of it mean, and how a compiler widens it."""
import math
from dataclasses import replace

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from op_cases import CASES
from assertions import assert_close
from case_evaluation import inputs, results
from tensorbrook.backends import get_backend
from tensorbrook.backends.webgpu import target_info
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.base import tree
from tensorbrook.compiler import fuse, build_plan, simplify, lower_float16
from tensorbrook.ir import TargetInfo, FiniteCheckStore, Plan
from tensorbrook.ir.verifier import verify_plan

# Backends that compute float16.
COMPUTE_HALVES = ("reference", "webgpu")
# Of the largest element: eleven binary digits, after some operations each of which rounds.
HALF = 1.2e-2
# The gradient of attention takes float32 beside it; see the test of its own below.
HALF_LINES = [name for name, case in CASES.items()
              if "f" in case.kinds and "/long" not in name and "attention_grad" not in name]


@pytest.fixture(params=COMPUTE_HALVES)
def halves(request):
    with on(request.param):
        yield request.param


def half(values):
    return tf.constant(values, tf.float16)


# ── what it holds ─────────────────────────────────────────────────────────────────────────────

HELD = [0.0, -0.0, 1.0, -1.5, 0.1, 65504.0, 65519.9, 65520.0, -1e30, 6e-8, 2.9e-8, 1e-5, math.inf,
        -math.inf, math.nan, 3, True, 2**70]


@pytest.mark.parametrize("number", HELD, ids=repr)
def test_a_number_is_rounded_as_numpy_rounds_it(number):
    with np.errstate(over="ignore"):
        right = np.float64(number).astype("float16")
    for made in (half(number), half([number])[0], tf.constant(float(number), "half")):
        np.testing.assert_array_equal(made.numpy(), right)
        np.testing.assert_array_equal(made.item(), right)


def test_its_limits_and_names():
    assert (tf.float16.max, tf.float16.min, tf.float16.size) == (65504.0, -65504.0, 2)
    assert tf.half is tf.float16 == "half" and tf.float16 == np.float16 and tf.float16.is_floating
    assert repr(tf.float16) == "tf.float16"


def test_it_is_shown_and_read_as_numbers():
    x = half([[0.5, 2.0], [-1.0, 65504.0]])
    assert repr(x) == "<tf.Tensor: shape=(2, 2), dtype=float16, " \
                      "value=[[0.5, 2.0], [-1.0, 65504.0]]>"
    assert x.tolist() == [[0.5, 2.0], [-1.0, 65504.0]] and half([]).tolist() == []
    assert (float(half(0.25)), memoryview(x.numpy()).format) == (0.25, "e")


# ── what operations mean ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", HALF_LINES)
def test_value(name, halves):
    """Every line of the table that is defined for floats, beside the same in double precision."""
    case = CASES[name]
    last = len(case.shapes) - 1
    for variant in range(last + 1) if halves == "reference" else sorted({0, last}):
        xs = inputs(case, variant, "h")
        found = results(tf.function(case.ours), xs)
        with on("reference"):
            wide = [tf.cast(x, tf.float64) if x.dtype is tf.float16 else x for x in xs]
            right = [np.asarray(t) for t in results(case.ours, wide)]
        assert_close(found, right, HALF, f"{name} of {case.shapes[variant]}")


MEANT = {
    "a sum is rounded at its end": (lambda: tf.reduce_sum(tf.fill((5000,), half(1.0))), 5000.0),
    "so is a product of matrices": (
        lambda: tf.matmul(tf.ones((1, 4099), "half"), tf.ones((4099, 1), "half"))[0, 0], 4100.0),
    "a mean is not the quotient of a sum too large": (
        lambda: tf.reduce_mean(tf.fill((100,), half(60000.0))), 60000.0),
    "a variance beyond its squares": (lambda: tf.reduce_std(half([-400.0, 400.0])), 400.0),
    "a softmax that keeps small numbers": (
        lambda: tf.nn.softmax(half([0.0] * 4096))[0], 2.0**-12),
    "a length beyond its squares": (lambda: tf.norm(half([300.0, 400.0])), 500.0),
    "the length of several": (
        lambda: tf.clip_by_global_norm([half([300.0]), half([400.0])], 5.0)[0][1][0], 4.0),
    "shortened": (lambda: tf.clip_by_norm(half([300.0, 400.0]), 5.0)[0], 3.0),
    "too large is infinite": (lambda: half(300.0) * 300.0, math.inf),
    "too small is 0": (lambda: half(1e-4) * 1e-4, 0.0),
    "each operation rounds": (lambda: (half(2048.0) + 1.0) - 2048.0, 0.0),
    "python's numbers join": (lambda: 1 + half(0.5) * 2.0, 2.0),
    "whole numbers become it": (lambda: tf.cast(tf.constant(2049), tf.float16), 2048.0),
    "it becomes whole numbers": (lambda: tf.cast(half(-2.75), tf.int32), -2),
    "it becomes a truth": (lambda: tf.cast(half(6e-8), tf.bool), True),
    "a byte of it": (lambda: tf.cast(half(200.0), tf.uint8), 200),
    "a maximum of nothing": (lambda: tf.reduce_max(tf.zeros((0,), tf.float16)), -math.inf),
    "running sums are rounded once": (lambda: tf.cumsum(tf.fill((3000,), half(1.0)))[-1], 3000.0),
    "finite": (lambda: tf.math.is_finite(half(65504.0)), True),
    "not finite": (lambda: tf.math.is_finite(half(70000.0)), False),
    "no number": (lambda: tf.math.is_nan(half(math.inf) - half(math.inf)), True),
}


@pytest.mark.parametrize("what", MEANT)
def test_meaning(what, halves):
    found, right = MEANT[what]
    for call in (found, tf.function(found)):
        assert call().item() == right


def test_dtypes_are_not_mixed(halves):
    with pytest.raises(tf.errors.DTypeError, match="dtypes differ: float16 and float32; convert"):
        half(1.0) + tf.constant(1.0)


def test_random_numbers_stay_below_one(halves):
    tf.random.set_seed(1)
    x = tf.random.uniform((20000,), dtype=tf.float16)
    assert x.dtype is tf.float16 and x.numpy().max() < 1.0
    assert abs(x.numpy().mean(dtype="float32") - 0.5) < 0.02


def test_a_gradient_through_a_cast_comes_back_as_what_went_in(halves):
    w, x = tf.Variable([[1.0, 2.0], [3.0, 4.0]]), half([[1.0, 2.0]])

    @tf.function
    def slope():
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.cast(tf.matmul(x, tf.cast(w, tf.float16)), tf.float32))
        return tape.gradient(y, w)

    assert slope().dtype is tf.float32 and slope().tolist() == [[1.0, 1.0], [2.0, 2.0]]


def test_a_gradient_on_its_way_to_float32_is_not_rounded(halves):
    """Of a product, of a sum, and of either in another shape."""
    w, b = tf.Variable([300.0]), tf.Variable([[0.0]])
    x = half([[300.0]] * 100)

    @tf.function
    def slopes():
        with tf.GradientTape() as tape:
            kernel = tf.reshape(tf.cast(w, tf.float16), (1, 1))
            y = tf.matmul(x, kernel) + tf.cast(b, tf.float16)
            total = tf.reduce_sum(tf.cast(y, tf.float32) * 700.0)
        return tape.gradient(total, [w, b])

    assert [g.tolist() for g in slopes()] == [[21e6], [[7e4]]]


ATTENTIONS = {"causal": {"is_causal": True}, "masked": {"mask": np.arange(45) % 3 > 0},
              "scores written out": {"is_causal": True, "flash_attention": False}}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_and_its_gradients(name, halves):
    """With what it keeps of each row in float32."""
    settings = ATTENTIONS[name]
    def run(q, k, v):
        with tf.GradientTape() as tape:
            tape.watch((q, k, v))
            out = tf.keras.ops.dot_product_attention(q, k, v, **settings)
        return out, *tape.gradient(out, (q, k, v))

    draw = tf.random.Generator(1)
    xs = [tf.cast(draw.normal(s), tf.float16) for s in ((2, 9, 2, 4), (2, 45, 2, 4), (2, 45, 2, 3))]
    found = tf.function(run)(*xs)
    assert {x.dtype for x in found} == {tf.float16}
    with on("reference"):
        right = [np.asarray(t) for t in run(*(tf.cast(x, tf.float64) for x in xs))]
    assert_close(found, right, HALF, name)


def test_variables_hold_it(halves):
    v = tf.Variable([1.0, 2.0, 3.0], dtype=tf.float16)

    @tf.function
    def step():
        v.assign_add(v * 0.5)

    step()
    assert v.dtype is tf.float16 and v.tolist() == [1.5, 3.0, 4.5]


# ── where it is not computed ──────────────────────────────────────────────────────────────────


def test_wasm_refuses_it_and_names_the_way_out():
    way_out = r"backend wasm cannot compute float16; make it float32 with tf.constant\(array, "
    with on("wasm"), pytest.raises(tf.errors.UnimplementedError, match=f"matmul: {way_out}"):
        tf.function(tf.matmul)(half([[1.0]]), half([[1.0]]))


def test_a_gpu_without_it_says_so(monkeypatch):
    gpu = get_backend("webgpu")
    monkeypatch.setattr(gpu.host, "device_info", replace(gpu.host.device_info, f16=False))
    with on("webgpu"), pytest.raises(tf.errors.UnimplementedError) as raised:
        half([1.0, 2.0]) + 1
    assert str(raised.value).endswith(
        ': this GPU has no float16 (shader-f16); leave layers the policy "float32", and make '
        "arrays float32 with tf.constant(array, tf.float32)")


# ── what a compiler makes of it ───────────────────────────────────────────────────────────────


def graph_of(f, *shapes):
    xs = (tf.constant(np.zeros(shape, "float16")) for shape in shapes)
    return tf.function(f).get_concrete_function(*xs).graph


def names(graph) -> list[str]:
    return [f"{e.prim.name} {e.outs[0].spec.dtype}" for e in graph.eqns]


WIDENED = {
    "a fold": (lambda x: tf.reduce_sum(x, 1), frozenset(), ((2, 3),), [
        "cast float32", "reduce_sum float32", "cast float16"]),
    "a map": (tf.exp, frozenset(), ((2,),), ["exp float16"]),
    "a call": (tf.matmul, frozenset(), ((2, 3), (3, 4)), [
        "cast float32", "cast float32", "matmul float32", "cast float16"]),
    "a call that takes it": (tf.matmul, frozenset({"gemm"}), ((2, 3), (3, 4)), ["matmul float16"]),
    "several results": (tf.math.top_k, frozenset(), ((99,),), [
        "cast float32", "top_k float32", "cast float16"]),
    "no backend for it": (lambda x: tf.reduce_sum(x, 1), None, ((2, 3),), ["reduce_sum float16"]),
}


@pytest.mark.parametrize("what", WIDENED)
def test_widened(what):
    f, taken, shapes, right = WIDENED[what]
    assert names(lower_float16(graph_of(f, *shapes), TargetInfo(float16_kernels=taken))) == right


def test_the_body_of_a_loop_is_widened_too():
    graph = graph_of(lambda x: tf.scan(lambda a, x: a + tf.reduce_sum(x), x), (4, 3))
    e, = (e for e in lower_float16(graph, TargetInfo(float16_kernels=frozenset())).eqns if e.prim.name == "scan")
    assert "reduce_sum float32" in names(e.attrs["body"].graph)


def test_what_is_the_same_in_every_turn_is_cast_once():
    w = tf.Variable([[0.5, 0.25], [1.0, -1.0]])

    def f(x):
        return tf.scan(lambda a, x: tf.matmul(a, tf.cast(w, tf.float16)) + x, x)

    graph = lower_float16(graph_of(f, (4, 2, 2)), TargetInfo(float16_kernels=frozenset({"gemm"})))
    e, = (e for e in graph.eqns if e.prim.name == "scan")
    assert names(graph).count("cast float16") == 1
    assert "cast float16" not in names(e.attrs["body"].graph)
    with on("webgpu"):
        x = half([[[1.0, 2.0], [0.0, 1.0]]] * 3)
        found = tf.function(f)(x).numpy()
    right = x.numpy()[:1]
    for _ in range(2):
        right = np.concatenate([right, right[-1:] @ w.numpy() + x.numpy()[:1]])
    np.testing.assert_array_equal(found, right)


def test_pieces_that_fill_no_whole_words_are_float32():
    graph = graph_of(lambda x: tf.scan(lambda a, x: a + x, x), (4, 3))
    e, = (e for e in lower_float16(graph, TargetInfo(float16_kernels=frozenset())).eqns if e.prim.name == "scan")
    assert [str(a.spec) for a in e.args] == ["float16[3]", "float32[3,3]"]
    assert [str(v.spec) for v in e.outs] == ["float16[3]", "float32[3,3]"]


def test_a_graph_without_it_stays_the_same():
    graph = tf.function(tf.matmul).get_concrete_function(tf.ones((2, 2)), tf.ones((2, 2))).graph
    assert lower_float16(graph, TargetInfo(float16_kernels=frozenset())) is graph


def planned_on_a_gpu(f, *xs, **others) -> Plan:
    target = replace(target_info(DeviceInfo(f16=True)), **others)
    graph = simplify(lower_float16(tf.function(f).get_concrete_function(*xs).graph, target))
    made = build_plan(graph, *fuse(graph, target), target)
    verify_plan(made)
    return made


def test_casts_that_are_parts_of_one_tensor_are_stored_together():
    @tf.function
    def joined(x):
        wide = tf.cast(tf.cast(x + 1.0, tf.float16), tf.float32)
        both = tf.concat([wide, wide[:, ::-1], wide], 1)
        return tf.reduce_sum(both + both[::-1], 0)

    with on("webgpu"):
        assert joined(tf.reshape(tf.range(6.0), (3, 2))).tolist() == [18, 24, 24, 18, 18, 24]


def test_casts_are_made_where_elements_are_read():
    """A bias has no copy in float16, and a gradient none in float32."""
    x, w, b = (tf.constant(np.ones(s, t)) for s, t in (
        ((4, 8), "float16"), ((8, 16), "float16"), ((16,), "float32")))
    steps = planned_on_a_gpu(
        lambda x, w, b: tf.matmul(x, w) + tf.cast(b, tf.float16), x, w, b).steps
    assert [type(s.kernel).__name__ for s in steps] == ["KernelCall"] and steps[0].kernel.epilogue

    def checked(x, w):
        g = tf.cast(tf.matmul(x, w), tf.float32)
        return g * tf.where(tf.reduce_all(tf.math.is_finite(g)), 1.0, 0.0)

    made = planned_on_a_gpu(checked, x, w)
    _, product, *loops = (s.kernel for s in made.steps)
    assert [type(s) for s in product.epilogue.stores] == [FiniteCheckStore] and product.result_escapes
    assert [product.outs[0] in k.reads for k in loops] == [False, True]
    assert not any(a.spec.count == 64 and a.spec.dtype is tf.float32
                   for k in loops for a in k.writes if a not in made.outputs)
    with on("webgpu"):
        assert tf.function(checked)(x, w).tolist() == [[8.0] * 16] * 4


def half_products(x, *ws):
    x = tf.cast(x, tf.float16)
    return [tf.matmul(x, tf.cast(tf.reshape(w, (8, 8)), tf.float16)) for w in ws]


READ_AS_IT_IS = {
    "what comes in": (lambda x, w: half_products(x, w), [("float32", "float32")]),
    "what is read by many": (lambda x, w: half_products(x, w, w + 1, w + 2, w + 3), [
        ("float16", "float32")] + 3 * [("float16", "float16")]),
    "what another kernel reads as float16": (
        lambda x, w: (half_products(x, w), tf.sort(tf.cast(tf.reshape(w, (8, 8)), tf.float16))),
        [("float32", "float16")]),
    "what goes out as float16": (
        lambda x, w: (half_products(x, w), tf.cast(x, tf.float16)), [("float16", "float32")]),
    "what is made as float16": (
        lambda x, w: half_products(tf.exp(x), w), [("float16", "float32")]),
    "float16 on its way to float32": (
        lambda x, w: tf.matmul(tf.cast(tf.cast(x, tf.float16), tf.float32), w),
        [("float32", "float32")]),
}


@pytest.mark.parametrize("name", READ_AS_IT_IS)
def test_products_cast_what_they_read(name):
    f, right = READ_AS_IT_IS[name]
    xs = [tf.constant(np.random.default_rng(i).normal(size=(8, 8)).astype("float32"))
          for i in range(2)]
    steps = planned_on_a_gpu(f, *xs).steps
    calls = [s.kernel for s in steps if getattr(s.kernel, "kernel", "") == "gemm"]
    assert [tuple(str(a.spec.dtype.name) for a in k.args) for k in calls] == right
    with on("webgpu"):
        found = tree.flatten(tf.function(f)(*xs))[0]
    with on("reference"):
        wanted = tree.flatten(tf.function(f)(*xs))[0]
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)


def test_what_goes_on_in_float32_is_kept_in_float16():
    x = tf.constant(np.linspace(-1, 1, 35).reshape(5, 7).astype("float16"))

    def sums(x):
        wide = tf.cast(tf.exp(x), tf.float32)
        return tf.reduce_sum(wide, 0), tf.reduce_sum(wide, 1)

    # Else both sums would compute it.
    steps = planned_on_a_gpu(sums, x, remat_ops_per_byte=0).steps
    written = {a.spec.dtype for s in steps for a in s.kernel.writes if a.spec.count == 35}
    assert written == {tf.float16}
    with on("webgpu"):
        found = tf.function(sums)(x)
    right = np.exp(x.numpy().astype("float32")).astype("float16").astype("float32")
    for axis in (0, 1):
        np.testing.assert_allclose(found[axis], right.sum(axis), rtol=1e-5)
