"""The GPU's matrix products against NumPy's in double precision, and what is chosen for a shape."""
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

HALF = dtypes.float16
TURNS = [(0, 0), (0, 1), (1, 0), (1, 1)]
BIG, MIDDLE, SMALL = TILES

SHAPES = [  # batch, m, n, k, whether each item has its own a, b
    (1, 1, 1, 1, 1, 1), (1, 2, 3, 17, 1, 1), (1, 17, 1, 3, 1, 1), (1, 1, 65, 129, 1, 1),
    (1, 129, 17, 2, 1, 1), (1, 65, 129, 3, 1, 1), (3, 17, 17, 17, 1, 1), (5, 2, 3, 4, 1, 0),
    (5, 3, 2, 4, 0, 1), (7, 4, 4, 4, 1, 1), (2, 16, 12, 8, 1, 1),
]
PLANS = [  # a product, and a way to make it; of tiles' transposes the table goes round all
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


def strides(p: GemmShape, own_a=1, own_b=1) -> GemmShape:
    """The product whose items have matrices of their own, or share one."""
    many = p.batch > 1
    return GemmShape(p.batch, p.m, p.n, p.k, p.transpose_a, p.transpose_b,
                   p.m * p.k * (many and own_a), p.k * p.n * (many and own_b))


def numbers(p: GemmShape) -> tuple[int, ...]:
    return tuple(vars(p).values())


def turned(p: GemmShape, a: int, b: int) -> GemmShape:
    return GemmShape(p.batch, p.m, p.n, p.k, a, b, p.stride_a, p.stride_b)


def sides(p: GemmShape, dtype="f4") -> list[np.ndarray]:
    """Arguments of a product."""
    generator = np.random.default_rng(numbers(p))
    a = generator.standard_normal((p.batch if p.stride_a else 1, p.m, p.k), dtype="f4")
    b = generator.standard_normal((p.batch if p.stride_b else 1, p.k, p.n), dtype="f4")
    turned = (np.swapaxes(x, 1, 2) if turn else x
              for x, turn in ((a, p.transpose_a), (b, p.transpose_b)))
    return [np.ascontiguousarray(x).astype(dtype) for x in turned]


def check(p: GemmShape, device_info=None, dtype="f4", tolerance=1e-5, change=str):
    args = sides(p, dtype)
    found, = wgsl_runner.run("gemm", args, [((p.batch, p.m, p.n), dtype)], *numbers(p),
                             device_info=device_info,
                         change=change)
    a, b = (np.swapaxes(x, 1, 2) if turn else x
            for x, turn in zip((x.astype("f8") for x in args), (p.transpose_a, p.transpose_b)))
    error = np.abs(found - a @ b) - tolerance * (np.abs(a) @ np.abs(b))
    assert (error <= 0).all(), f"{p}: {error.max()} above the tolerance"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_small_products(shape):
    *sizes, own_a, own_b = shape
    for turn in TURNS:
        check(turned(strides(GemmShape(*sizes), own_a, own_b), *turn))


def turns_of(at: int, plan) -> list[tuple[int, int]]:
    if isinstance(plan, GemvGemm):
        return [(a, b) for a, b in TURNS
                if plan.reduces_across_rows == bool(a if plan.vectors_are_columns else not b)]
    return [TURNS[at % 4], TURNS[(at + 2 + at // 4) % 4]]


MADE = [(turned(strides(p), a, b), plan) for at, (p, plan) in enumerate(PLANS)
        for a, b in turns_of(at, plan)]


@pytest.mark.parametrize("p, plan", MADE, ids=str)
def test_products_made_in_any_way(p, plan, monkeypatch):
    """Every template, with whole and with cut tiles, at the transposes that it knows."""
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: plan)
    check(p)


AFTER = [0, 3, 4, 7, 8, 10, 15]            # of PLANS


@pytest.mark.parametrize("at", AFTER)
def test_what_follows_a_product(at, monkeypatch):
    """Bias, activation and a residual, in the part that multiplies or in the one that sums up."""
    p, plan = PLANS[at]
    p = turned(strides(p), *turns_of(at, plan)[0])
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: plan)
    a, b = sides(p)
    bias, residual = np.arange(p.n, dtype="f4") / 9, np.ones((p.batch, p.m, p.n), "f4")

    @tf.function
    def layer(a, b, bias, residual):
        product = tf.matmul(a, b, transpose_a=bool(p.transpose_a), transpose_b=bool(p.transpose_b))
        return tf.nn.relu(product + bias) + residual

    with on("webgpu"):
        found = layer(a, b, bias, residual).numpy()
    assert [step.kernel.kernel for step in layer.plan.steps] == ["gemm"]
    a, b = (np.swapaxes(x, 1, 2) if turn else x
            for x, turn in ((a, p.transpose_a), (b, p.transpose_b)))
    np.testing.assert_allclose(found, np.maximum(a @ b + bias, 0) + residual, 1e-4, 1e-4)


def test_what_follows_may_read_what_is_multiplied():
    with on("webgpu"):
        x = np.random.default_rng(0).standard_normal((300, 300), dtype="f4")
        step = tf.function(lambda x: (y := tf.exp(x) - 1) + tf.nn.relu(y @ y))
        y = np.expm1(x)
        np.testing.assert_allclose(step(x).numpy(), y + np.maximum(y @ y, 0), 1e-3, 1e-3)


@pytest.mark.parametrize("plan", [TiledGemm(SMALL, 1, 48), PerElementGemm()], ids=str)
def test_inner_loops_with_numbers(plan, monkeypatch):
    """What devices get that are no software: loops over k are written out."""
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: plan)
    check(GemmShape(1, 40, 36, 33, 1, 0), wgsl_runner.device_info(is_software=False))


IN_HALVES = [(GemmShape(1, 33, 20, 40), TiledGemm(SMALL, 2, 32)),
             (GemmShape(1, 3, 36, 40), GemvGemm(False, True, 32, 8, 1, 40)),
             (GemmShape(1, 36, 2, 40), GemvGemm(True, False, 8, 32, 1, 40)),
             (GemmShape(1, 5, 7, 9), PerElementGemm())]


@pytest.mark.parametrize("p, plan", IN_HALVES, ids=str)
def test_float16(p, plan, monkeypatch):
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: plan)
    check(p, dtype="f2", tolerance=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("p, plan", [
    *IN_HALVES, (GemmShape(1, 64, 36, 48), TiledGemm(MIDDLE, 1, 48)),
    (GemmShape(1, 3, 9, 5, 0, 0), GemvGemm(False, True, 32, 8, 1, 8)),
    (GemmShape(1, 3, 9, 5, 0, 1), GemvGemm(False, False, 8, 32, 1, 8)),
    (GemmShape(1, 2, 36, 40, 1, 1), GemvGemm(False, False, 8, 32, 1, 40)),
    (GemmShape(1, 36, 2, 40, 0, 0), GemvGemm(True, False, 8, 32, 1, 40))], ids=str)
def test_a_cast_while_loading_is_the_cast_before(p, plan, monkeypatch):
    """The same bits, whichever side is cast, and whether the result is float16 or float32."""
    monkeypatch.setitem(gemm.__globals__, "select_algorithm", lambda *_: plan)
    wide = sides(p)
    wide[0].flat[:3], wide[1].flat[:2] = (65519.0, 1e-7, -2049.0), (0.1, 3e-5)
    halves = [x.astype("f2") for x in wide]
    for out in ("f2", "f4"):
        right, *found = (
            wgsl_runner.run("gemm", args, [((p.batch, p.m, p.n), out)], *numbers(p),
                            loads=2 * [HALF])
            for args in (halves, wide, (wide[0], halves[1]), (halves[0], wide[1])))
        for each, in found:
            np.testing.assert_array_equal(each, right[0])


def test_what_is_too_large_for_float16_is_infinite_while_loading():
    args = np.full((1, 2, 3), 65520.0, "f4"), np.ones((1, 3, 2), "f4")
    found, = wgsl_runner.run("gemm", args, [((1, 2, 2), "f4")], 1, 2, 2, 3, 0, 0, 0, 0,
                         loads=2 * [HALF])
    assert np.isinf(found).all()


@pytest.mark.parametrize("size", [(1, 3, 4, 0), (0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5)], ids=str)
def test_products_of_nothing(size):
    check(strides(GemmShape(*size)))


ROUTES = [  # batch, m, n, k, transposes -> tile's side, parts of k; or vectors' names, parts of k
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


def described(plan) -> tuple:
    if isinstance(plan, PerElementGemm):
        return "elements", 1
    if isinstance(plan, TiledGemm):
        return plan.tile.side, plan.split_k
    direction = "across" if plan.reduces_across_rows else "along"
    return f"rows of {'ab'[not plan.vectors_are_columns]} {direction}", plan.split_k


@pytest.mark.parametrize("size, wanted", [(size, rest) for size, *rest in ROUTES], ids=str)
def test_what_is_chosen(size, wanted):
    plan = select_algorithm(canonicalize(strides(GemmShape(*size))), DeviceInfo())
    assert described(plan) == tuple(wanted)


def test_items_that_share_b_are_rows_of_one_product():
    assert canonicalize(strides(GemmShape(8, 32, 64, 16), 1, 0)) == GemmShape(1, 256, 64, 16)
    assert canonicalize(strides(GemmShape(8, 32, 64, 16, 1, 0), 1, 0)).batch == 8


def test_small_devices_get_what_they_can_run():
    """Half the invocations, or memory for one tile of 64: smaller tiles, no more than that."""
    p = GemmShape(1, 4096, 4096, 4096)
    assert select_algorithm(p, DeviceInfo(max_invocations=128)).tile is MIDDLE
    assert select_algorithm(p, DeviceInfo(workgroup_bytes=8192)).tile is MIDDLE
    device_info = DeviceInfo(binding_bytes=1 << 20)
    assert select_algorithm(GemmShape(1, 384, 384, 8192), device_info).split_k == 1


def test_many_workgroups_have_two_dimensions():
    p = strides(GemmShape(70000, 17, 17, 300))
    args = [Var(TensorSpec((p.batch, p.m, p.k), dtypes.float32)),
            Var(TensorSpec((p.batch, p.k, p.n), dtypes.float32))]
    out = Var(TensorSpec((p.batch, p.m, p.n), dtypes.float32))
    part, = gemm(KernelCall("gemm", tuple(args), (out,), numbers(p), 1, ()), DeviceInfo())
    assert part.groups == (35000, 2, 1)


@pytest.mark.parametrize("count, pieces, wanted", [
    (1 << 15, 32, 1), (150, 256, 16), (150, 3, 2), (10000, 32, 4), (1, 2, 2)])
def test_who_adds_up_pieces(count, pieces, wanted):
    assert lanes_per_element(count, pieces) == wanted
