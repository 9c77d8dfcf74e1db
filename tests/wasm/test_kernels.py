"""Every kernel against its reference implementation at odd sizes, on 1, 2 and 3 threads."""

from pathlib import Path

import numpy as np
import attention_reference
import pytest
from kernels import KERNELS, KERNELS_WITH_EPILOGUE, assert_close


def check(engines, name, inputs, output, *params, scale=0.0, tolerance=0.0):
    """Compare a kernel on 1, 2 and 3 threads with its reference; return the reference output."""
    reference = engines[1].call(f"{name}_reference", inputs, output, *params)
    for threads, engine in engines.items():
        actual = engine.call(name, inputs, output, *params, threads=threads)
        assert_close(actual, reference, scale, tolerance, f"{name} on {threads} threads")
        for kernel in (name, f"{name}_reference") if name in KERNELS_WITH_EPILOGUE else ():
            actual = engine.call(kernel, inputs, output, *params, threads=threads, epilogue=True)
            assert_close(actual, 3 * reference + 1, 3 * scale + np.abs(reference) + 1, tolerance,
                         f"{kernel} with its epilogue on {threads} threads")
    return reference


def floats(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype="f4")


# -- gemm -------------------------------------------------------------------------------------

GEMM = [  # m, n, k
    (1, 1, 1), (1, 1, 7), (3, 5, 2), (4, 8, 4), (5, 9, 3), (1, 37, 19), (37, 1, 19), (1, 300, 33),
    (301, 1, 33), (2, 3, 1), (7, 17, 31), (64, 64, 64), (33, 70, 65), (97, 257, 401),
    (13, 260, 805), (200, 11, 13), (3, 4, 0), (0, 4, 3), (4, 0, 3), (128, 10, 128), (100, 8, 512),
    (8, 100, 512), (1, 5, 1000), (5, 1, 1000),
    # all heights of a last tile, with and without whole tiles; widths 1 to 8 of a last panel
    *((m, n, 37) for m, n in zip((*range(1, 15), 23), (49, 26, 83, 9, 17, 12, 13, 14, 15, 16, 10,
                                                       11, 8, 7, 27))),
    # dot products of few rows; k a multiple of four, and not
    (2, 130, 128), (3, 67, 131), (4, 19, 200), (7, 10, 257), (16, 21, 130), (17, 9, 130),
    # packed operands: more than 192 rows or columns, several blocks of both; rows of 4 KB
    (199, 12, 20), (12, 199, 20), (203, 263, 17), (197, 201, 402), (9, 1024, 7), (1024, 9, 7),
    (10, 2048, 3), (1030, 195, 5),
]


@pytest.mark.parametrize("transpose_b", [0, 1])
@pytest.mark.parametrize("transpose_a", [0, 1])
@pytest.mark.parametrize("m, n, k", GEMM)
def test_gemm(engines, m, n, k, transpose_a, transpose_b):
    op_a, op_b = floats(m, k), floats(k, n, seed=1)
    a, b = (op_a.T if transpose_a else op_a), (op_b.T if transpose_b else op_b)
    scale = np.abs(op_a) @ np.abs(op_b)
    reference = check(engines, "gemm", [a, b], ((m, n), "f4"), 1, m, n, k, transpose_a, transpose_b,
                      0, 0, scale=scale, tolerance=1e-5)
    assert_close(reference, op_a.astype("f8") @ op_b, scale, 1e-5, "gemm_reference")


@pytest.mark.parametrize("batch, m, n, k", [(0, 3, 3, 3), (1, 5, 6, 7), (3, 5, 6, 7), (7, 1, 9, 4),
                                            (5, 9, 1, 4), (2, 33, 65, 17), (11, 8, 8, 8),
                                            (4, 3, 5, 0), (2, 2, 3, 130), (3, 1, 40, 9)])
@pytest.mark.parametrize("shared", ["", "a", "b"])
def test_gemm_batched(engines, batch, m, n, k, shared):
    a, b = floats(1 if shared == "a" else batch, m, k), floats(1 if shared == "b" else batch, k, n)
    scale = np.broadcast_to(np.abs(a) @ np.abs(b), (batch, m, n))
    reference = check(engines, "gemm", [a, b], ((batch, m, n), "f4"), batch, m, n, k, 0, 0,
                      0 if shared == "a" else m * k, 0 if shared == "b" else k * n, scale=scale,
                      tolerance=1e-5)
    assert_close(reference, np.broadcast_to(a @ b, (batch, m, n)), scale, 1e-5, "gemm_reference")


# -- convolution --------------------------------------------------------------------------------

CONV = [  # n, h, w, c, kh, kw, co, stride, dilation, padding (top, left, bottom, right), groups
    (1, 1, 1, 1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (2, 8, 8, 1, 3, 3, 16, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (3, 8, 8, 1, 3, 3, 16, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (2, 7, 9, 3, 3, 2, 5, (1, 1), (1, 1), (0, 1, 1, 0), 1),
    (5, 6, 6, 16, 3, 3, 32, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (2, 9, 7, 4, 3, 3, 9, (2, 2), (1, 1), (1, 1, 1, 1), 1),
    (2, 9, 8, 3, 3, 3, 7, (2, 3), (1, 1), (0, 1, 0, 2), 1),
    (2, 11, 10, 5, 3, 3, 6, (1, 1), (2, 3), (2, 3, 2, 3), 1),
    (1, 13, 12, 3, 3, 3, 4, (3, 2), (2, 2), (1, 2, 3, 2), 1),
    (1, 12, 12, 2, 2, 2, 3, (4, 4), (1, 1), (0, 0, 0, 0), 1),
    (2, 6, 5, 6, 3, 3, 9, (1, 1), (1, 1), (1, 1, 1, 1), 3),
    (2, 6, 5, 4, 2, 2, 8, (2, 1), (1, 1), (0, 0, 1, 1), 2),
    (2, 7, 6, 5, 3, 3, 5, (1, 1), (1, 1), (1, 1, 1, 1), 5),
    (2, 8, 7, 18, 3, 3, 18, (2, 2), (2, 1), (1, 1, 1, 1), 18),
    (2, 5, 5, 3, 2, 2, 6, (1, 1), (1, 1), (0, 0, 0, 0), 3),
    (4, 5, 5, 33, 1, 1, 17, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (3, 6, 6, 7, 1, 1, 12, (2, 2), (1, 1), (0, 0, 0, 0), 1),
    (1, 4, 4, 300, 3, 3, 20, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 3, 3, 2500, 2, 2, 9, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (1, 3, 1100, 1, 3, 3, 2, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 40, 60, 3, 5, 5, 4, (1, 1), (1, 1), (2, 2, 2, 2), 1),
    (1, 130, 100, 16, 3, 3, 4, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 2, 2, 3, 5, 5, 4, (1, 1), (1, 1), (3, 4, 3, 2), 1),
    (1, 1, 2, 17000, 1, 1, 3, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (1, 1, 2, 3, 1, 1, 17000, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (1, 3, 3, 200, 2, 2, 3, (1, 1), (30, 30), (30, 30, 30, 30), 1),
    (0, 4, 4, 2, 3, 3, 2, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (17, 6, 5, 3, 3, 3, 9, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (16, 4, 5, 6, 3, 2, 8, (1, 1), (1, 2), (1, 1, 1, 2), 2),
    (16, 7, 6, 2, 3, 5, 5, (2, 3), (2, 1), (2, 2, 2, 2), 1),
    (2, 2, 2, 1, 3, 3, 4, (1, 1), (1, 1), (0, 0, 0, 0), 1),
    (5, 12, 11, 12, 3, 3, 20, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (3, 9, 14, 16, 3, 3, 24, (1, 1), (1, 1), (0, 2, 1, 0), 1),
    (1, 33, 20, 132, 3, 3, 136, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (4, 8, 8, 24, 3, 3, 16, (1, 1), (1, 1), (1, 1, 1, 1), 2),
    (1, 40, 70, 19, 3, 3, 19, (1, 1), (1, 1), (1, 1, 1, 1), 19),
    (2, 15, 13, 20, 5, 5, 20, (1, 1), (1, 1), (2, 2, 2, 2), 20),
    (1, 9, 9, 33, 3, 3, 33, (2, 2), (1, 1), (0, 0, 1, 1), 33),
    (3, 9, 8, 7, 2, 3, 7, (1, 2), (1, 1), (1, 1, 0, 1), 7),
    (1, 4, 5600, 1, 3, 3, 1, (1, 1), (1, 1), (1, 1, 1, 1), 1),
    (1, 3, 3, 2, 70, 70, 2, (1, 1), (1, 1), (34, 34, 35, 35), 2),
]


def conv_params(case):
    n, h, w, c, kh, kw, co, (sh, sw), (dh, dw), (top, left, bottom, right), groups = case
    oh = max(0, (h + top + bottom - (kh - 1) * dh - 1) // sh + 1)
    ow = max(0, (w + left + right - (kw - 1) * dw - 1) // sw + 1)
    shapes = (n, h, w, c), (kh, kw, c // groups, co), (n, oh, ow, co)
    return shapes, (n, h, w, c, kh, kw, co, oh, ow, sh, sw, dh, dw, top, left, groups)


def check_conv(engines, name, inputs, shape, params):
    magnitudes = [np.abs(x) for x in inputs]
    scale = engines[1].call(f"{name}_reference", magnitudes, (shape, "f4"), *params)
    return check(engines, name, inputs, (shape, "f4"), *params, scale=scale, tolerance=1e-5)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv2d(engines, case):
    (x, w, out), params = conv_params(case)
    check_conv(engines, "conv2d", [floats(*x), floats(*w)], out, params)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv2d_input_grad(engines, case):
    (x, w, out), params = conv_params(case)
    check_conv(engines, "conv2d_input_grad", [floats(*out), floats(*w)], x, params)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv2d_filter_grad(engines, case):
    (x, w, out), params = conv_params(case)
    check_conv(engines, "conv2d_filter_grad", [floats(*x), floats(*out)], w, params)


@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv2d_references_agree(engines, case):
    """<g, conv(x, w)> = <input_grad(g, w), x> = <filter_grad(x, g), w> for the references."""
    (xs, ws, gs), params = conv_params(case)
    x, w, g = floats(*xs), floats(*ws), floats(*gs, seed=1)
    call = engines[1].call
    out = call("conv2d_reference", [x, w], (gs, "f4"), *params).astype("f8")
    dx = call("conv2d_input_grad_reference", [g, w], (xs, "f4"), *params).astype("f8")
    dw = call("conv2d_filter_grad_reference", [x, g], (ws, "f4"), *params).astype("f8")
    scale = max(1.0, np.abs(out * g).sum())
    assert abs((out * g).sum() - (dx * x).sum()) < 1e-5 * scale
    assert abs((out * g).sum() - (dw * w).sum()) < 1e-5 * scale


def test_conv2d_reference_is_a_sum_over_taps(engines):
    (xs, ws, outs), params = conv_params(CONV[3])
    x, w = floats(*xs), floats(*ws)
    padded = np.pad(x, ((0, 0), (0, 1), (1, 0), (0, 0)))
    expected = sum(padded[:, i:i + outs[1], j:j + outs[2]] @ w[i, j] for i in range(ws[0])
                   for j in range(ws[1]))
    out = engines[1].call("conv2d_reference", [x, w], (outs, "f4"), *params)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


# -- pools --------------------------------------------------------------------------------------

POOL = [  # n, h, w, c, kernel, stride, padding (top, left, bottom, right)
    (1, 1, 1, 1, (1, 1), (1, 1), (0, 0, 0, 0)),
    (2, 8, 8, 16, (2, 2), (2, 2), (0, 0, 0, 0)),
    (3, 7, 5, 3, (2, 2), (2, 2), (0, 0, 1, 1)),
    (2, 7, 9, 5, (3, 2), (1, 2), (1, 1, 1, 0)),
    (1, 5, 6, 9, (3, 3), (1, 1), (2, 2, 2, 2)),
    (1, 4, 4, 1, (2, 3), (3, 1), (0, 0, 0, 0)),
    (1, 2, 2, 4, (2, 2), (1, 1), (2, 2, 2, 2)),
    (0, 4, 4, 3, (2, 2), (2, 2), (0, 0, 0, 0)),
    (1, 3, 3, 0, (2, 2), (1, 1), (0, 0, 0, 0)),
    (3, 6, 8, 6, (2, 2), (2, 2), (0, 0, 0, 0)),
    (2, 7, 9, 22, (2, 2), (2, 3), (0, 1, 0, 0)),
    (2, 9, 7, 7, (3, 2), (3, 2), (1, 0, 1, 1)),
    (3, 4, 5, 21, (4, 5), (4, 5), (0, 0, 0, 0)),
]


def pool_params(case):
    n, h, w, c, (kh, kw), (sh, sw), (top, left, bottom, right) = case
    oh, ow = (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1
    return (n, h, w, c), (n, oh, ow, c), (n, h, w, c, oh, ow, kh, kw, sh, sw, top, left)


def tied(*shape):
    """Small integers, so that maxima tie, with some NaN and -inf."""
    x = np.random.default_rng(1).integers(-2, 3, shape).astype("f4")
    x.flat[::17] = np.nan
    x.flat[5::23] = -np.inf
    return x


@pytest.mark.parametrize("make", [floats, tied])
@pytest.mark.parametrize("case", POOL, ids=str)
def test_max_pool(engines, case, make):
    x, out, params = pool_params(case)
    check(engines, "max_pool", [make(*x)], (out, "f4"), *params)
    check(engines, "max_pool_select", [floats(*x, seed=2), make(*x)], (out, "f4"), *params)
    check(engines, "max_pool_scatter", [floats(*out), make(*x)], (x, "f4"), *params)


@pytest.mark.parametrize("case", POOL, ids=str)
def test_avg_pool(engines, case):
    x, out, params = pool_params(case)
    check(engines, "avg_pool", [floats(*x)], (out, "f4"), *params, scale=4.0, tolerance=1e-6)
    check(engines, "avg_pool_grad", [floats(*out)], (x, "f4"), *params, scale=9.0, tolerance=1e-6)


def test_pool_references_against_numpy(engines):
    x, out, params = pool_params(POOL[1])
    a = floats(*x)
    windows = a.reshape(2, 4, 2, 4, 2, 16)
    call = engines[1].call
    np.testing.assert_array_equal(call("max_pool_reference", [a], (out, "f4"), *params),
                                  windows.max((2, 4)))
    np.testing.assert_allclose(call("avg_pool_reference", [a], (out, "f4"), *params),
                               windows.mean((2, 4)), rtol=1e-5, atol=1e-6)


def test_max_pool_selects_the_first_of_equal_maxima(engines):
    x, out, params = pool_params((1, 2, 2, 1, (2, 2), (1, 1), (0, 0, 0, 0)))
    for engine in engines.values():
        selected = engine.call("max_pool_select", [np.arange(4, dtype="f4").reshape(x),
                                                   np.ones(x, "f4")], (out, "f4"), *params)
        assert selected.item() == 0.0


# -- gather and scatter -------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["u1", "i4", "f4"])
@pytest.mark.parametrize("outer, rows, count, inner", [
    (1, 1, 1, 1), (1, 10, 7, 3), (3, 5, 11, 17), (2, 4, 0, 3), (2, 0, 3, 2), (0, 3, 3, 3),
    (1, 7, 50, 64), (5, 3, 2, 1), (1, 3, 4, 0), (1, 50, 71, 1)])
def test_gather(engines, outer, rows, count, inner, dtype):
    x = np.random.default_rng(0).integers(0, 100, (outer, rows, inner)).astype(dtype)
    indices = np.random.default_rng(1).integers(-2, rows + 2, count).astype("i4")
    actual = check(engines, "gather", [x, indices], ((outer, count, inner), dtype), outer, rows,
                   count, inner * x.itemsize)
    for i, index in enumerate(indices):
        expected = x[:, index] if 0 <= index < rows else np.zeros((outer, inner))
        np.testing.assert_array_equal(actual[:, i], expected)


@pytest.mark.parametrize("name, dtype", [("scatter_add_f32", "f4"), ("scatter_add_i32", "i4")])
@pytest.mark.parametrize("rows, count, inner", [
    (1, 1, 1), (10, 37, 3), (1, 20, 50), (3, 40, 17), (5, 0, 3), (0, 3, 3), (100, 300, 1),
    (7, 9, 64), (4, 4, 0), (2, 30, 35), (40, 30, 70)])
def test_scatter_add(engines, rows, count, inner, name, dtype):
    updates = (10 * floats(count, inner)).astype(dtype)
    indices = np.random.default_rng(1).integers(-2, rows + 2, count).astype("i4")
    actual = check(engines, name, [updates, indices], ((rows, inner), dtype), rows, count, inner)
    expected = np.zeros((rows, inner), dtype)
    inside = (indices >= 0) & (indices < rows)
    np.add.at(expected, indices[inside], updates[inside])
    np.testing.assert_array_equal(actual, expected)


# -- random bits --------------------------------------------------------------------------------


def philox(key, counter):
    """Philox 4x32-10 from the paper, in Python integers."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c2 = (p1 >> 32) ^ c1 ^ k0, (p0 >> 32) ^ c3 ^ k1
        c1, c3 = p1 & 0xFFFFFFFF, p0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def test_philox_oracle_matches_known_answers():
    """Vectors of the kat_vectors file of Random123, which use all four counter words."""
    ones, pi = 0xFFFFFFFF, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert philox((0, 0), (0, 0, 0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert philox((ones, ones), (ones,) * 4) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    assert philox((0xA4093822, 0x299F31D0), pi) == (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 16, 17, 63, 64, 67, 1000])
@pytest.mark.parametrize("state", [(0, 0, 0, 0), (1, 2, 3, 4), (0xFFFFFFFF, 0x12345678,
                                                              0xFFFFFFFE, 7),
                                   (5, 6, 0xFFFFFFFF, 0xFFFFFFFF)])
def test_random_bits(engines, state, count):
    actual = check(engines, "random_bits", [np.array(state, "u4")], ((count,), "u4"), count)
    start = state[3] << 32 | state[2]
    for j in range(-(-count // 4)):
        counter = (start + j) & 0xFFFFFFFFFFFFFFFF
        block = philox(state[:2], (counter & 0xFFFFFFFF, counter >> 32, 0, 0))
        assert tuple(actual[4 * j:4 * j + 4]) == block[:count - 4 * j]


def test_every_kernel_is_tested():
    # The tests of attention share their inputs with other backends, and append "_masked" to names.
    files = [*Path(__file__).parent.glob("test_*.py"), Path(attention_reference.__file__)]
    source = "".join(f.read_text(encoding="utf-8") for f in files)
    names = [kernel.removesuffix("_masked") for kernel in KERNELS]
    assert [name for name in names if f'"{name}"' not in source] == []
