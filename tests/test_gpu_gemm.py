"""GPU matrix products (GEMM) against NumPy in float64, and the algorithm selected for a shape."""
import numpy as np
import pytest
import wgsl_runner

import tensorbrook as tf
from backends import on
from tensorbrook.backends.webgpu.kernels.product_outputs import lanes_per_element
from tensorbrook.backends.webgpu.kernels.gemm import (
    TILES, PerElementGemm, GemmShape, TiledGemm, GemvGemm, gemm, select_algorithm, canonicalize)
from tensorbrook.backends.webgpu.device_info import DeviceInfo
from tensorbrook.base import dtypes
from tensorbrook.ir import KernelCall, TensorSpec, Var

TRANSPOSES = [(0, 0), (0, 1), (1, 0), (1, 1)]
BIG, MIDDLE, SMALL = TILES

SHAPES = [  # batch, m, n, k, whether each batch item has its own a, b
    (1, 1, 1, 1, 1, 1), (1, 2, 3, 17, 1, 1), (1, 17, 1, 3, 1, 1), (1, 1, 65, 129, 1, 1),
    (1, 129, 17, 2, 1, 1), (1, 65, 129, 3, 1, 1), (3, 17, 17, 17, 1, 1), (5, 2, 3, 4, 1, 0),
    (5, 3, 2, 4, 0, 1), (7, 4, 4, 4, 1, 1), (2, 16, 12, 8, 1, 1),
]
ALGORITHMS = [  # a product and an algorithm for it
    (GemmShape(1, 130, 129, 17), TiledGemm(BIG, 1, 32)),
    (GemmShape(1, 128, 256, 32), TiledGemm(BIG, 1, 32)),
    (GemmShape(2, 129, 132, 65), TiledGemm(BIG, 3, 32)),
    (GemmShape(1, 65, 68, 36), TiledGemm(MIDDLE, 1, 48)),
    (GemmShape(2, 64, 128, 48), TiledGemm(MIDDLE, 2, 32)),
    (GemmShape(3, 31, 33, 20), TiledGemm(SMALL, 1, 32)),
    (GemmShape(2, 36, 64, 65), TiledGemm(SMALL, 2, 48)),
    (GemmShape(2, 3, 34, 70), GemvGemm(False, True, 32, 8, 2, 36)),
    (GemmShape(1, 1, 136, 72), GemvGemm(False, True, 8, 32, 1, 72)),
    (GemmShape(3, 4, 12, 9), GemvGemm(False, True, 256, 1, 1, 12)),
    (GemmShape(2, 2, 20, 132), GemvGemm(False, False, 32, 8, 2, 68)),
    (GemmShape(1, 4, 11, 3), GemvGemm(False, False, 1, 256, 1, 4)),
    (GemmShape(2, 35, 3, 66), GemvGemm(True, False, 16, 16, 1, 68)),
    (GemmShape(2, 10, 4, 68), GemvGemm(True, False, 8, 32, 2, 36)),
    (GemmShape(3, 32, 2, 33), GemvGemm(True, True, 64, 4, 1, 36)),
    (GemmShape(1, 9, 1, 40), GemvGemm(True, True, 32, 8, 1, 40)),
]


def with_strides(p: GemmShape, own_a=1, own_b=1) -> GemmShape:
    """Set the batch strides: batch items have their own a and b, or share them."""
    is_batched = p.batch > 1
    return GemmShape(p.batch, p.m, p.n, p.k, p.transpose_a, p.transpose_b,
                     p.m * p.k * (is_batched and own_a), p.k * p.n * (is_batched and own_b))


def with_transposes(p: GemmShape, a: int, b: int) -> GemmShape:
    return GemmShape(p.batch, p.m, p.n, p.k, a, b, p.stride_a, p.stride_b)


def params(p: GemmShape) -> tuple[int, ...]:
    return tuple(vars(p).values())


def operands(p: GemmShape, dtype="f4") -> list[np.ndarray]:
    generator = np.random.default_rng(params(p))
    a = generator.standard_normal((p.batch if p.stride_a else 1, p.m, p.k), dtype="f4")
    b = generator.standard_normal((p.batch if p.stride_b else 1, p.k, p.n), dtype="f4")
    return [np.ascontiguousarray(x).astype(dtype) for x in transposed(p, a, b)]


def transposed(p: GemmShape, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transpose the matrices of the operands that the product transposes."""
    return (np.swapaxes(a, 1, 2) if p.transpose_a else a,
            np.swapaxes(b, 1, 2) if p.transpose_b else b)


def check(p: GemmShape, device_info=None, dtype="f4", tolerance=1e-5, transform=str):
    args = operands(p, dtype)
    actual, = wgsl_runner.run("gemm", args, [((p.batch, p.m, p.n), dtype)], *params(p),
                              device_info=device_info, transform=transform)
    a, b = transposed(p, *(x.astype("f8") for x in args))
    excess = np.abs(actual - a @ b) - tolerance * (np.abs(a) @ np.abs(b))
    assert (excess <= 0).all(), f"{p}: {excess.max()} above the tolerance"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_small_products(shape):
    *sizes, own_a, own_b = shape
    for transposes in TRANSPOSES:
        check(with_transposes(with_strides(GemmShape(*sizes), own_a, own_b), *transposes))


def transposes_for(index: int, algorithm) -> list[tuple[int, int]]:
    """All transposes that a GEMV supports; for tiles two, so that the table covers all."""
    if isinstance(algorithm, GemvGemm):
        across = algorithm.reduces_across_rows
        return [(a, b) for a, b in TRANSPOSES
                if across == bool(a if algorithm.vectors_are_columns else not b)]
    return [TRANSPOSES[index % 4], TRANSPOSES[(index + 2 + index // 4) % 4]]


CASES = [(with_transposes(with_strides(p), a, b), algorithm)
         for index, (p, algorithm) in enumerate(ALGORITHMS)
         for a, b in transposes_for(index, algorithm)]


@pytest.mark.parametrize("p, algorithm", CASES, ids=str)
def test_every_algorithm(p, algorithm, monkeypatch):
    """Every template, with full and with partial tiles, at the transposes that it supports."""
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: algorithm)
    check(p)


EPILOGUE_CASES = [0, 3, 4, 7, 8, 10, 15]            # indices in ALGORITHMS


@pytest.mark.parametrize("index", EPILOGUE_CASES)
def test_epilogues(index, monkeypatch):
    """Bias, activation and residual, in the dispatch that multiplies or in the sum of split k."""
    p, algorithm = ALGORITHMS[index]
    p = with_transposes(with_strides(p), *transposes_for(index, algorithm)[0])
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: algorithm)
    a, b = operands(p)
    bias, residual = np.arange(p.n, dtype="f4") / 9, np.ones((p.batch, p.m, p.n), "f4")

    @tf.function
    def layer(a, b, bias, residual):
        product = tf.matmul(a, b, transpose_a=bool(p.transpose_a), transpose_b=bool(p.transpose_b))
        return tf.nn.relu(product + bias) + residual

    with on("webgpu"):
        actual = layer(a, b, bias, residual).numpy()
    assert [step.kernel.kernel for step in layer.plan.steps] == ["gemm"]
    a, b = transposed(p, a, b)
    np.testing.assert_allclose(actual, np.maximum(a @ b + bias, 0) + residual, 1e-4, 1e-4)


def test_an_epilogue_may_read_an_operand_of_the_product():
    with on("webgpu"):
        x = np.random.default_rng(0).standard_normal((300, 300), dtype="f4")
        step = tf.function(lambda x: (y := tf.exp(x) - 1) + tf.nn.relu(y @ y))
        y = np.expm1(x)
        np.testing.assert_allclose(step(x).numpy(), y + np.maximum(y @ y, 0), 1e-3, 1e-3)


@pytest.mark.parametrize("algorithm", [TiledGemm(SMALL, 1, 48), PerElementGemm()], ids=str)
def test_unrolled_inner_loops(algorithm, monkeypatch):
    """On hardware adapters, loops over k are unrolled."""
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: algorithm)
    check(GemmShape(1, 40, 36, 33, 1, 0), wgsl_runner.device_info(is_software=False))


FLOAT16_CASES = [(GemmShape(1, 33, 20, 40), TiledGemm(SMALL, 2, 32)),
                 (GemmShape(1, 3, 36, 40), GemvGemm(False, True, 32, 8, 1, 40)),
                 (GemmShape(1, 36, 2, 40), GemvGemm(True, False, 8, 32, 1, 40)),
                 (GemmShape(1, 5, 7, 9), PerElementGemm())]


@pytest.mark.parametrize("p, algorithm", FLOAT16_CASES, ids=str)
def test_float16(p, algorithm, monkeypatch):
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: algorithm)
    check(p, dtype="f2", tolerance=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("p, algorithm", [
    *FLOAT16_CASES, (GemmShape(1, 64, 36, 48), TiledGemm(MIDDLE, 1, 48)),
    (GemmShape(1, 3, 9, 5, 0, 0), GemvGemm(False, True, 32, 8, 1, 8)),
    (GemmShape(1, 3, 9, 5, 0, 1), GemvGemm(False, False, 8, 32, 1, 8)),
    (GemmShape(1, 2, 36, 40, 1, 1), GemvGemm(False, False, 8, 32, 1, 40)),
    (GemmShape(1, 36, 2, 40, 0, 0), GemvGemm(True, False, 8, 32, 1, 40))], ids=str)
def test_a_cast_on_load_equals_a_cast_before_the_kernel(p, algorithm, monkeypatch):
    """Bit for bit, whichever operand is cast, for a float16 and a float32 result."""
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: algorithm)
    wide = operands(p)
    wide[0].flat[:3], wide[1].flat[:2] = (65519.0, 1e-7, -2049.0), (0.1, 3e-5)
    narrow = [x.astype("f2") for x in wide]
    for out in ("f2", "f4"):
        expected, *actual = (
            wgsl_runner.run("gemm", args, [((p.batch, p.m, p.n), out)], *params(p),
                            operand_dtypes=2 * [dtypes.float16])
            for args in (narrow, wide, (wide[0], narrow[1]), (narrow[0], wide[1])))
        for product, in actual:
            np.testing.assert_array_equal(product, expected[0])


def test_a_cast_on_load_overflows_to_infinity():
    args = np.full((1, 2, 3), 65520.0, "f4"), np.ones((1, 3, 2), "f4")
    actual, = wgsl_runner.run("gemm", args, [((1, 2, 2), "f4")], 1, 2, 2, 3, 0, 0, 0, 0,
                              operand_dtypes=2 * [dtypes.float16])
    assert np.isinf(actual).all()


@pytest.mark.parametrize("size", [(1, 3, 4, 0), (0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5)], ids=str)
def test_empty_products(size):
    check(with_strides(GemmShape(*size)))


SELECTED = [  # (batch, m, n, k, transposes), tile size or kind of GEMV, splits of k
    ((1, 4096, 4096, 4096), 128, 1), ((1, 2048, 2048, 2048), 128, 1),
    ((1, 1024, 1024, 1024), 64, 1), ((1, 512, 512, 512), 32, 2),
    ((1, 8192, 1536, 384), 128, 1), ((1, 384, 384, 8192, 1, 0), 128, 16),
    ((1, 384, 1536, 8192, 1, 0), 128, 4), ((192, 256, 64, 256), 64, 1),
    ((1, 33, 33, 4096), 32, 32), ((1, 20, 20, 300), 32, 4), ((4096, 17, 17, 65), 32, 1),
    ((1, 64, 10, 128), "elements", 1), ((1, 128, 128, 128), "elements", 1),
    ((1, 1, 4096, 4096), "rows of b across", 8), ((1, 1, 4096, 4096, 0, 1), "rows of b along", 1),
    ((1, 4096, 2, 4096), "rows of a along", 1), ((1, 4096, 1, 4096, 1, 0), "rows of a across", 8),
    ((1, 1, 1, 1 << 20), "rows of b along", 64), ((1, 100000, 3, 512), "rows of a along", 1),
]


def description(algorithm) -> tuple:
    if isinstance(algorithm, PerElementGemm):
        return "elements", 1
    if isinstance(algorithm, TiledGemm):
        return algorithm.tile.side, algorithm.split_k
    direction = "across" if algorithm.reduces_across_rows else "along"
    return f"rows of {'ab'[not algorithm.vectors_are_columns]} {direction}", algorithm.split_k


@pytest.mark.parametrize("size, expected", [(size, rest) for size, *rest in SELECTED], ids=str)
def test_the_selected_algorithm(size, expected):
    algorithm = select_algorithm(canonicalize(with_strides(GemmShape(*size))), DeviceInfo())
    assert description(algorithm) == tuple(expected)


def test_a_batch_with_a_shared_b_becomes_one_product():
    shared_b = with_strides(GemmShape(8, 32, 64, 16), 1, 0)
    assert canonicalize(shared_b) == GemmShape(1, 256, 64, 16)
    assert canonicalize(with_strides(GemmShape(8, 32, 64, 16, 1, 0), 1, 0)).batch == 8


def test_selection_respects_the_limits_of_the_device():
    """Tiles of 64 with half the invocations or half the workgroup memory; no split whose partial
    sums exceed the largest binding."""
    p = GemmShape(1, 4096, 4096, 4096)
    assert select_algorithm(p, DeviceInfo(max_invocations=128)).tile is MIDDLE
    assert select_algorithm(p, DeviceInfo(workgroup_bytes=8192)).tile is MIDDLE
    device_info = DeviceInfo(binding_bytes=1 << 20)
    assert select_algorithm(GemmShape(1, 384, 384, 8192), device_info).split_k == 1


def test_workgroups_above_the_limit_of_a_dimension_use_two_dimensions():
    p = with_strides(GemmShape(70000, 17, 17, 300))
    args = [Var(TensorSpec((p.batch, p.m, p.k), dtypes.float32)),
            Var(TensorSpec((p.batch, p.k, p.n), dtypes.float32))]
    out = Var(TensorSpec((p.batch, p.m, p.n), dtypes.float32))
    dispatch, = gemm(KernelCall("gemm", tuple(args), (out,), params(p), 1, ()), DeviceInfo())
    assert dispatch.groups == (35000, 2, 1)


@pytest.mark.parametrize("count, splits, expected", [
    (1 << 15, 32, 1), (150, 256, 16), (150, 3, 2), (10000, 32, 4), (1, 2, 2)])
def test_lanes_that_sum_the_partial_sums_of_an_element(count, splits, expected):
    assert lanes_per_element(count, splits) == expected
