"""float16: representation, semantics of operations, and lowering in the compiler."""
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
from tensorbrook.compiler import lower, optimize
from tensorbrook.compiler.pipeline import LEGALIZATION, new_context, run_passes
from tensorbrook.ir import FiniteCheckStore, Graph, Plan, TargetInfo
from tensorbrook.ir.verifier import verify_plan

FLOAT16_BACKENDS = ("reference", "webgpu")
# Relative to the largest element: an 11-bit significand, after several roundings.
TOLERANCE = 1.2e-2
# attention_grad also has float32 operands; test_attention_and_its_gradients covers it.
FLOAT16_CASES = [name for name, case in CASES.items()
              if "f" in case.kinds and "/long" not in name and "attention_grad" not in name]


@pytest.fixture(params=FLOAT16_BACKENDS)
def float16_backend(request):
    with on(request.param):
        yield request.param


def float16(values):
    return tf.constant(values, tf.float16)


# ── representation ────────────────────────────────────────────────────────────────────────────

VALUES = [0.0, -0.0, 1.0, -1.5, 0.1, 65504.0, 65519.9, 65520.0, -1e30, 6e-8, 2.9e-8, 1e-5, math.inf,
          -math.inf, math.nan, 3, True, 2**70]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_number_is_rounded_as_numpy_rounds_it(value):
    with np.errstate(over="ignore"):
        expected = np.float64(value).astype("float16")
    for x in (float16(value), float16([value])[0], tf.constant(float(value), "half")):
        np.testing.assert_array_equal(x.numpy(), expected)
        np.testing.assert_array_equal(x.item(), expected)


def test_limits_and_names():
    assert (tf.float16.max, tf.float16.min, tf.float16.size) == (65504.0, -65504.0, 2)
    assert tf.half is tf.float16 == "half" and tf.float16 == np.float16 and tf.float16.is_floating
    assert repr(tf.float16) == "tf.float16"


def test_repr_and_conversion_to_python():
    x = float16([[0.5, 2.0], [-1.0, 65504.0]])
    assert repr(x) == "<tf.Tensor: shape=(2, 2), dtype=float16, " \
                      "value=[[0.5, 2.0], [-1.0, 65504.0]]>"
    assert x.tolist() == [[0.5, 2.0], [-1.0, 65504.0]] and float16([]).tolist() == []
    assert (float(float16(0.25)), memoryview(x.numpy()).format) == (0.25, "e")


# ── semantics of operations ───────────────────────────────────────────────────────────────────


@pytest.mark.slow(on="webgpu")
@pytest.mark.parametrize("name", FLOAT16_CASES)
def test_op_cases_in_float16(name, float16_backend):
    """Every floating-point op case, compared with float64."""
    case = CASES[name]
    last = len(case.shapes) - 1
    for variant in range(last + 1) if float16_backend == "reference" else sorted({0, last}):
        xs = inputs(case, variant, "h")
        actual = results(tf.function(case.function), xs)
        with on("reference"):
            float64 = [tf.cast(x, tf.float64) if x.dtype is tf.float16 else x for x in xs]
            expected = [np.asarray(t) for t in results(case.function, float64)]
        assert_close(actual, expected, TOLERANCE, f"{name} of {case.shapes[variant]}")


RESULTS = {
    "a sum is rounded once": (lambda: tf.reduce_sum(tf.fill((5000,), float16(1.0))), 5000.0),
    "an element of a matmul is rounded once": (
        lambda: tf.matmul(tf.ones((1, 4099), "half"), tf.ones((4099, 1), "half"))[0, 0], 4100.0),
    "the sum of a mean does not overflow": (
        lambda: tf.reduce_mean(tf.fill((100,), float16(60000.0))), 60000.0),
    "the squares of a variance do not overflow": (
        lambda: tf.reduce_std(float16([-400.0, 400.0])), 400.0),
    "small probabilities of a softmax are not 0": (
        lambda: tf.nn.softmax(float16([0.0] * 4096))[0], 2.0**-12),
    "the squares of a norm do not overflow": (lambda: tf.norm(float16([300.0, 400.0])), 500.0),
    "the squares of a global norm do not overflow": (
        lambda: tf.clip_by_global_norm([float16([300.0]), float16([400.0])], 5.0)[0][1][0], 4.0),
    "the squares of clip_by_norm do not overflow": (
        lambda: tf.clip_by_norm(float16([300.0, 400.0]), 5.0)[0], 3.0),
    "overflow is infinite": (lambda: float16(300.0) * 300.0, math.inf),
    "underflow is 0": (lambda: float16(1e-4) * 1e-4, 0.0),
    "every operation rounds": (lambda: (float16(2048.0) + 1.0) - 2048.0, 0.0),
    "Python scalars become float16": (lambda: 1 + float16(0.5) * 2.0, 2.0),
    "cast from int32": (lambda: tf.cast(tf.constant(2049), tf.float16), 2048.0),
    "cast to int32": (lambda: tf.cast(float16(-2.75), tf.int32), -2),
    "cast to bool": (lambda: tf.cast(float16(6e-8), tf.bool), True),
    "cast to uint8": (lambda: tf.cast(float16(200.0), tf.uint8), 200),
    "maximum of an empty tensor": (lambda: tf.reduce_max(tf.zeros((0,), tf.float16)), -math.inf),
    "elements of a cumsum are rounded once": (
        lambda: tf.cumsum(tf.fill((3000,), float16(1.0)))[-1], 3000.0),
    "finite": (lambda: tf.math.is_finite(float16(65504.0)), True),
    "not finite": (lambda: tf.math.is_finite(float16(70000.0)), False),
    "nan": (lambda: tf.math.is_nan(float16(math.inf) - float16(math.inf)), True),
}


@pytest.mark.parametrize("name", RESULTS)
def test_rounding_and_overflow(name, float16_backend):
    f, expected = RESULTS[name]
    for call in (f, tf.function(f)):
        assert call().item() == expected


def test_mixed_dtypes_are_an_error(float16_backend):
    with pytest.raises(tf.errors.DTypeError, match="dtypes differ: float16 and float32; convert"):
        float16(1.0) + tf.constant(1.0)


def test_random_numbers_stay_below_one(float16_backend):
    tf.random.set_seed(1)
    x = tf.random.uniform((20000,), dtype=tf.float16)
    assert x.dtype is tf.float16 and x.numpy().max() < 1.0
    assert abs(x.numpy().mean(dtype="float32") - 0.5) < 0.02


def test_a_gradient_through_a_cast_has_the_dtype_of_the_source(float16_backend):
    w, x = tf.Variable([[1.0, 2.0], [3.0, 4.0]]), float16([[1.0, 2.0]])

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(tf.cast(tf.matmul(x, tf.cast(w, tf.float16)), tf.float32))
        return tape.gradient(y, w)

    assert gradient().dtype is tf.float32 and gradient().tolist() == [[1.0, 1.0], [2.0, 2.0]]


def test_a_gradient_that_is_cast_to_float32_is_not_rounded(float16_backend):
    """The gradient of a matmul and of a sum, with and without a reshape."""
    w, b = tf.Variable([300.0]), tf.Variable([[0.0]])
    x = float16([[300.0]] * 100)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            kernel = tf.reshape(tf.cast(w, tf.float16), (1, 1))
            y = tf.matmul(x, kernel) + tf.cast(b, tf.float16)
            total = tf.reduce_sum(tf.cast(y, tf.float32) * 700.0)
        return tape.gradient(total, [w, b])

    assert [g.tolist() for g in gradients()] == [[21e6], [[7e4]]]


ATTENTIONS = {"causal": {"is_causal": True}, "masked": {"mask": np.arange(45) % 3 > 0},
              "unfused": {"is_causal": True, "flash_attention": False}}


@pytest.mark.slow(on="webgpu")
@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_and_its_gradients(name, float16_backend):
    """The log-sum-exp of each row is float32."""
    options = ATTENTIONS[name]

    def run(q, k, v):
        with tf.GradientTape() as tape:
            tape.watch((q, k, v))
            out = tf.keras.ops.dot_product_attention(q, k, v, **options)
        return out, *tape.gradient(out, (q, k, v))

    generator, shapes = tf.random.Generator(1), ((2, 9, 2, 4), (2, 45, 2, 4), (2, 45, 2, 3))
    xs = [tf.cast(generator.normal(shape), tf.float16) for shape in shapes]
    actual = tf.function(run)(*xs)
    assert {x.dtype for x in actual} == {tf.float16}
    with on("reference"):
        expected = [np.asarray(t) for t in run(*(tf.cast(x, tf.float64) for x in xs))]
    assert_close(actual, expected, TOLERANCE, name)


def test_float16_variables(float16_backend):
    v = tf.Variable([1.0, 2.0, 3.0], dtype=tf.float16)

    @tf.function
    def step():
        v.assign_add(v * 0.5)

    step()
    assert v.dtype is tf.float16 and v.tolist() == [1.5, 3.0, 4.5]


# ── unsupported devices ───────────────────────────────────────────────────────────────────────


def test_wasm_raises_an_error_with_a_hint():
    message = r"matmul: backend wasm cannot compute float16; make it float32 with tf.constant\(arr"
    with on("wasm"), pytest.raises(tf.errors.UnimplementedError, match=message):
        tf.function(tf.matmul)(float16([[1.0]]), float16([[1.0]]))


def test_a_gpu_without_float16_raises_an_error(monkeypatch):
    gpu = get_backend("webgpu")
    monkeypatch.setattr(gpu.host, "device_info", replace(gpu.host.device_info, f16=False))
    with on("webgpu"), pytest.raises(tf.errors.UnimplementedError) as raised:
        float16([1.0, 2.0]) + 1
    assert str(raised.value).endswith(
        ': this GPU has no float16 (shader-f16); leave layers the policy "float32", and make '
        "arrays float32 with tf.constant(array, tf.float32)")


# ── lowering ──────────────────────────────────────────────────────────────────────────────────


NO_FLOAT16_KERNELS = TargetInfo(float16_kernels=frozenset())


def scan_of(graph):
    e, = (e for e in graph.eqns if e.prim.name == "scan")
    return e


def legalized(graph: Graph, target: TargetInfo) -> Graph:
    return run_passes(LEGALIZATION, graph, new_context(target))


def graph_of(f, *shapes):
    xs = (tf.constant(np.zeros(shape, "float16")) for shape in shapes)
    return tf.function(f).get_concrete_function(*xs).graph


def equations(graph) -> list[str]:
    return [f"{e.prim.name} {e.outs[0].spec.dtype}" for e in graph.eqns]


# name: (function, kernels with float16, argument shapes, lowered equations)
LOWERED = {
    "a reduction": (lambda x: tf.reduce_sum(x, 1), frozenset(), ((2, 3),), [
        "cast float32", "reduce_sum float32", "cast float16"]),
    "an elementwise operation": (tf.exp, frozenset(), ((2,),), ["exp float16"]),
    "a kernel without float16": (tf.matmul, frozenset(), ((2, 3), (3, 4)), [
        "cast float32", "cast float32", "matmul float32", "cast float16"]),
    "a kernel with float16": (
        tf.matmul, frozenset({"gemm"}), ((2, 3), (3, 4)), ["matmul float16"]),
    "several results": (tf.math.top_k, frozenset(), ((99,),), [
        "cast float32", "top_k float32", "cast float16"]),
    "a target without lowering": (
        lambda x: tf.reduce_sum(x, 1), None, ((2, 3),), ["reduce_sum float16"]),
}


@pytest.mark.parametrize("name", LOWERED)
def test_lowered_equations(name):
    f, kernels, shapes, expected = LOWERED[name]
    graph = legalized(graph_of(f, *shapes), TargetInfo(float16_kernels=kernels))
    assert equations(graph) == expected


def test_scan_bodies_are_lowered():
    graph = graph_of(lambda x: tf.scan(lambda a, x: a + tf.reduce_sum(x), x), (4, 3))
    e = scan_of(legalized(graph, NO_FLOAT16_KERNELS))
    assert "reduce_sum float32" in equations(e.attrs["body"].graph)


def test_loop_invariant_casts_are_hoisted():
    w = tf.Variable([[0.5, 0.25], [1.0, -1.0]])

    def f(x):
        return tf.scan(lambda a, x: tf.matmul(a, tf.cast(w, tf.float16)) + x, x)

    graph = legalized(graph_of(f, (4, 2, 2)), TargetInfo(float16_kernels=frozenset({"gemm"})))
    assert equations(graph).count("cast float16") == 1
    assert "cast float16" not in equations(scan_of(graph).attrs["body"].graph)
    with on("webgpu"):
        x = float16([[[1.0, 2.0], [0.0, 1.0]]] * 3)
        actual = tf.function(f)(x).numpy()
    expected = x.numpy()[:1]
    for _ in range(2):
        expected = np.concatenate([expected, expected[-1:] @ w.numpy() + x.numpy()[:1]])
    np.testing.assert_array_equal(actual, expected)


def test_misaligned_slices_are_float32():
    graph = graph_of(lambda x: tf.scan(lambda a, x: a + x, x), (4, 3))
    e = scan_of(legalized(graph, NO_FLOAT16_KERNELS))
    assert [str(a.spec) for a in e.args] == ["float16[3]", "float32[3,3]"]
    assert [str(v.spec) for v in e.outs] == ["float16[3]", "float32[3,3]"]


def test_a_graph_without_float16_is_unchanged():
    graph = tf.function(tf.matmul).get_concrete_function(tf.ones((2, 2)), tf.ones((2, 2))).graph
    assert legalized(graph, NO_FLOAT16_KERNELS) is graph


def plan_on_gpu(f, *xs, **changes) -> Plan:
    target = replace(target_info(DeviceInfo(f16=True)), **changes)
    graph = optimize(tf.function(f).get_concrete_function(*xs).graph, target)
    plan = lower(graph, target)
    verify_plan(plan)
    return plan


def test_casts_that_are_slices_of_a_concat_are_stored_into_it():
    @tf.function
    def f(x):
        rounded = tf.cast(tf.cast(x + 1.0, tf.float16), tf.float32)
        joined = tf.concat([rounded, rounded[:, ::-1], rounded], 1)
        return tf.reduce_sum(joined + joined[::-1], 0)

    with on("webgpu"):
        assert f(tf.reshape(tf.range(6.0), (3, 2))).tolist() == [18, 24, 24, 18, 18, 24]


def test_casts_are_fused_into_loads():
    """No kernel stores a float16 copy of a bias or a float32 copy of a gradient."""
    x, w, b = (tf.constant(np.ones(s, t)) for s, t in (
        ((4, 8), "float16"), ((8, 16), "float16"), ((16,), "float32")))
    steps = plan_on_gpu(
        lambda x, w, b: tf.matmul(x, w) + tf.cast(b, tf.float16), x, w, b).steps
    assert [type(s.kernel).__name__ for s in steps] == ["KernelCall"] and steps[0].kernel.epilogue

    def checked(x, w):
        g = tf.cast(tf.matmul(x, w), tf.float32)
        return g * tf.where(tf.reduce_all(tf.math.is_finite(g)), 1.0, 0.0)

    plan = plan_on_gpu(checked, x, w)
    _, matmul, *loops = (s.kernel for s in plan.steps)
    assert [type(s) for s in matmul.epilogue.stores] == [FiniteCheckStore]
    assert matmul.result_escapes
    assert [matmul.outs[0] in k.reads for k in loops] == [False, True]
    assert not any(a.spec.count == 64 and a.spec.dtype is tf.float32
                   for k in loops for a in k.writes if a not in plan.outputs)
    with on("webgpu"):
        assert tf.function(checked)(x, w).tolist() == [[8.0] * 16] * 4


def float16_matmuls(x, *ws):
    x = tf.cast(x, tf.float16)
    return [tf.matmul(x, tf.cast(tf.reshape(w, (8, 8)), tf.float16)) for w in ws]


# name: (function, dtypes that the matmuls load)
LOADED = {
    "arguments": (lambda x, w: float16_matmuls(x, w), [("float32", "float32")]),
    "an operand of many matmuls": (lambda x, w: float16_matmuls(x, w, w + 1, w + 2, w + 3), [
        ("float16", "float32")] + 3 * [("float16", "float16")]),
    "an operand of another kernel with float16": (
        lambda x, w: (float16_matmuls(x, w), tf.sort(tf.cast(tf.reshape(w, (8, 8)), tf.float16))),
        [("float32", "float16")]),
    "a float16 output": (
        lambda x, w: (float16_matmuls(x, w), tf.cast(x, tf.float16)), [("float16", "float32")]),
    "a computed float16 operand": (
        lambda x, w: float16_matmuls(tf.exp(x), w), [("float16", "float32")]),
    "float16 cast to float32": (
        lambda x, w: tf.matmul(tf.cast(tf.cast(x, tf.float16), tf.float32), w),
        [("float32", "float32")]),
}


@pytest.mark.parametrize("name", LOADED)
def test_casts_of_operands_are_fused_into_matmuls(name):
    f, expected_dtypes = LOADED[name]
    xs = [tf.constant(np.random.default_rng(i).normal(size=(8, 8)).astype("float32"))
          for i in range(2)]
    steps = plan_on_gpu(f, *xs).steps
    calls = [s.kernel for s in steps if getattr(s.kernel, "kernel", "") == "gemm"]
    assert [tuple(str(a.spec.dtype.name) for a in k.args) for k in calls] == expected_dtypes
    with on("webgpu"):
        actual = tree.flatten(tf.function(f)(*xs))[0]
    with on("reference"):
        expected = tree.flatten(tf.function(f)(*xs))[0]
    for a, e in zip(actual, expected):
        np.testing.assert_allclose(a, e, rtol=2e-3, atol=2e-3)


def test_a_value_cast_to_float32_is_stored_as_float16():
    x = tf.constant(np.linspace(-1, 1, 35).reshape(5, 7).astype("float16"))

    def sums(x):
        y = tf.cast(tf.exp(x), tf.float32)
        return tf.reduce_sum(y, 0), tf.reduce_sum(y, 1)

    # Without rematerialization, which would recompute y in both sums.
    steps = plan_on_gpu(sums, x, remat_ops_per_byte=0).steps
    written = {a.spec.dtype for s in steps for a in s.kernel.writes if a.spec.count == 35}
    assert written == {tf.float16}
    with on("webgpu"):
        actual = tf.function(sums)(x)
    rounded = np.exp(x.numpy().astype("float32")).astype("float16").astype("float32")
    for axis in (0, 1):
        np.testing.assert_allclose(actual[axis], rounded.sum(axis), rtol=1e-5)
