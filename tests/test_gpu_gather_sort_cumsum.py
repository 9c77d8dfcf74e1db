"""The GPU's kernels for places, order, sums along the way and chance, against NumPy."""
import numpy as np
import pytest
from wgsl_runner import device_info, run

import tensorbrook as tf
from backends import on
from tensorbrook.ops.conv_reference import philox_reference


def rng(*seed):
    return np.random.default_rng(seed)


# ── gather and scatter-add ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["f4", "i4", "u1", "?", "f2"])
@pytest.mark.parametrize("outer, rows, count, inner", [
    (1, 1, 1, 1), (1, 10, 7, 3), (3, 5, 11, 17), (2, 4, 0, 3), (2, 0, 3, 2), (0, 3, 3, 3),
    (1, 7, 50, 64), (5, 3, 2, 1), (1, 3, 4, 0), (1, 50, 71, 1), (2, 9, 31, 12)])
def test_gather(outer, rows, count, inner, dtype):
    x = rng(0).integers(0, 100, (outer, rows, inner)).astype(dtype)
    indices = rng(1).integers(-2, rows + 2, count).astype("i4")
    found, = run("gather", [x, indices], [((outer, count, inner), dtype)], outer, rows, count,
                 inner * x.itemsize)
    inside = (indices >= 0) & (indices < rows)
    wanted = np.zeros((outer, count, inner), dtype)
    wanted[:, inside] = x[:, indices[inside]]
    np.testing.assert_array_equal(found, wanted)


def test_gather_moves_bits():
    x = np.array([0x7f800001, 0xffffffff, 1, 0x80000000], "u4").view("f4")
    found, = run("gather", [x, np.array([3, 2, 1, 0], "i4")], [((4,), "f4")], 1, 4, 4, 4)
    assert found.tobytes() == x[::-1].tobytes()


SCATTERED = [
    (1, 1, 1), (10, 37, 3), (1, 20, 50), (3, 40, 17), (5, 0, 3), (0, 3, 3), (100, 300, 1),
    (7, 9, 64), (4, 4, 0), (2, 30, 35), (40, 30, 70),
    (3, 5000, 2), (1, 20000, 1), (31, 3000, 4),            # several lanes share an element
    (40000, 120, 1), (1500, 3000, 3), (300, 3000, 12),     # in the order of their indices
    (33, 130000, 1), (70000, 600, 4)]


@pytest.mark.parametrize("name, dtype", [("scatter_add_f32", "f4"), ("scatter_add_i32", "i4")])
@pytest.mark.parametrize("rows, count, inner", SCATTERED)
def test_scatter_add(rows, count, inner, name, dtype):
    updates = (10 * rng(rows, count).standard_normal((count, inner))).astype(dtype)
    indices = rng(count, inner).integers(-2, rows + 2, count).astype("i4")
    found, = run(name, [updates, indices], [((rows, inner), dtype)], rows, count, inner)
    wanted = np.zeros((rows, inner), "f8" if dtype == "f4" else dtype)
    size = np.zeros((rows, inner))
    inside = (indices >= 0) & (indices < rows)
    np.add.at(wanted, indices[inside], updates[inside])
    np.add.at(size, indices[inside], np.abs(updates[inside]))
    assert (np.abs(found - wanted) <= (1e-6 * size if dtype == "f4" else 0)).all()


def test_most_updates_of_one_row():
    """As in padded texts: nearly all indices are the same."""
    updates = rng(0).standard_normal((4000, 3)).astype("f4")
    indices = np.where(rng(1).random(4000) < 0.9, 0, rng(2).integers(0, 900, 4000)).astype("i4")
    runs = [run("scatter_add_f32", [updates, indices], [((900, 3), "f4")], 900, 4000, 3)[0]
            for _ in range(2)]
    wanted = np.zeros((900, 3))
    np.add.at(wanted, indices, updates)
    np.testing.assert_allclose(runs[0], wanted, rtol=1e-5, atol=2e-4)
    assert runs[0].tobytes() == runs[1].tobytes()


# ── order ─────────────────────────────────────────────────────────────────────────────────────

DRAWS = {
    "random": lambda rng, shape: rng.standard_normal(shape, "f4"),
    "ties": lambda rng, shape: rng.integers(-3, 4, shape).astype("f4"),
    "special": lambda rng, shape: rng.choice(
        np.array([0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38], "f4"), shape),
    "falling": lambda rng, shape: np.broadcast_to(-np.arange(shape[-1], dtype="f4"), shape),
    "whole": lambda rng, shape: rng.integers(-2**31, 2**31, shape).astype("i4"),
    "small": lambda rng, shape: rng.integers(-2, 300, shape).astype("i4"),
}


def drawn(kind, *shape):
    return np.ascontiguousarray(DRAWS[kind](rng(*shape), shape))


def order(x, descending):
    """The stable order of the last axis, NaN above all others."""
    if descending:
        return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]
    return np.argsort(x, -1, kind="stable")


def assert_order(found, x, wanted):
    values, indices = found
    np.testing.assert_array_equal(indices, wanted)
    np.testing.assert_array_equal(values.view("i4"), np.take_along_axis(x, wanted, -1).view("i4"))


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("rows, n", [(1, 1), (3, 2), (700, 5), (2, 41), (7, 301), (0, 5), (3, 0),
                                     (1, 1000), (3, 1024), (2, 1025), (3, 5001)])
def test_sort(rows, n, kind):
    x = drawn(kind, rows, n)
    out = [((rows, n), x.dtype), ((rows, n), "i4")]
    for descending in (0, 1):
        found = run("sort", [x], out, rows, n, int(x.dtype.kind == "f"), descending)
        assert_order(found, x, order(x, descending))


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("rows, n, k", [
    (1, 1, 1), (3, 5, 5), (2, 40, 1), (5, 37, 8), (3, 301, 20), (2, 7, 0), (0, 5, 2), (9, 16, 2),
    (3, 3000, 100), (1, 5000, 512), (2, 1025, 513), (2, 2100, 2000)])
def test_top_k(rows, n, k, kind):
    x = drawn(kind, rows, n)
    found = run("top_k", [x], [((rows, k), x.dtype), ((rows, k), "i4")], rows, n, k,
                int(x.dtype.kind == "f"))
    assert_order(found, x, order(x, True)[:, :k])


@pytest.mark.parametrize("kind", ["random", "special", "whole"])
@pytest.mark.parametrize("rows, n, parts", [(1, 1, 4), (1, 100, 4), (3, 37, 16), (2, 9000, 3)])
def test_long_rows(rows, n, parts, kind):
    """The passes one after the other, and all against NumPy."""
    x = drawn(kind, rows, n)
    both = [((rows, n, 2), "i4")], [((rows, parts, 256), "i4")]
    items, = run("radix_keys", [x], both[0], rows, n, int(x.dtype.kind == "f"), 0)
    cuts = [n * i // parts for i in range(parts + 1)]
    for digit in range(4):
        counts, = run("radix_histogram", [items], both[1], rows, n, parts, digit)
        digits = items[..., 1].view("u4") >> np.uint32(8 * digit) & 255
        wanted = [[np.bincount(row[a:b], minlength=256) for a, b in zip(cuts, cuts[1:])]
                  for row in digits]
        np.testing.assert_array_equal(counts, wanted)
        items, = run("radix_scatter", [items, counts], both[0], rows, n, parts, digit)
    np.testing.assert_array_equal(items[..., 0], order(x, 0))


# ── sums along the way, and chance ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name, dtype", [("cumsum_f32", "f4"), ("cumsum_i32", "i4")])
@pytest.mark.parametrize("outer, n, inner", [
    (1, 1, 1), (1, 100, 1), (3, 7, 5), (2, 9, 16), (0, 3, 2), (2, 0, 3), (2, 3, 0), (2, 2048, 3),
    (1, 2049, 2), (3, 40, 4000), (1, 100003, 1)])
def test_cumsum(outer, n, inner, name, dtype):
    x = (10 * rng(n).standard_normal((outer, n, inner))).astype(dtype)
    for exclusive, reverse in ((0, 0), (0, 1), (1, 0), (1, 1)):
        found, = run(name, [x], [(x.shape, dtype)], outer, n, inner, exclusive, reverse)
        turned = (x[:, ::-1] if reverse else x).astype("f8" if dtype == "f4" else dtype)
        wanted, size = np.cumsum(turned, 1), np.cumsum(np.abs(turned), 1)
        if exclusive:
            wanted = wanted - turned
        wanted, size = (a[:, ::-1] if reverse else a for a in (wanted, size))
        assert (np.abs(found - wanted) <= (1e-6 * size if dtype == "f4" else 0)).all()


@pytest.mark.parametrize("n", [3, 5000])
def test_sums_after_an_infinity(n):
    x = np.ones((1, n, 1), "f4")
    x[0, 2] = np.inf
    found, = run("cumsum_f32", [x], [(x.shape, "f4")], 1, n, 1, 1, 0)
    assert found.ravel().tolist() == [0, 1, 2, *[np.inf] * (n - 3)]


@pytest.mark.parametrize("count", [0, 1, 4, 7, 1026])
@pytest.mark.parametrize("state", [(0, 0, 0, 0), (1, 2, 3, 4), (-1, -2, -3, -4), (7, -9, -1, -1)])
def test_random_bits(state, count):
    state = np.array(state, "i4")
    with np.errstate(over="ignore"):
        wanted = philox_reference(np, state, (count,))
    found, = run("random_bits", [state], [((count,), "i4")], count)
    np.testing.assert_array_equal(found, wanted)


# ── more workgroups than a dimension takes ────────────────────────────────────────────────────


@pytest.mark.parametrize("workgroups", [1, 3, 7])
def test_workgroups_in_two_dimensions(workgroups):
    few = device_info(max_workgroups=workgroups)
    x, indices = drawn("random", 5, 2000), rng(0).integers(-1, 6, 700).astype("i4")
    found, = run("gather", [x, indices], [((700, 2000), "f4")], 1, 5, 700, 8000, device_info=few)
    wanted = np.where((indices < 0) | (indices > 4), 0, indices)[:, None] >= 0
    inside = (indices >= 0) & (indices < 5)
    wanted = np.where(inside[:, None], x[indices % 5], 0)
    np.testing.assert_array_equal(found, wanted)
    out = [(x.shape, "f4"), (x.shape, "i4")]
    assert_order(run("sort", [x], out, 5, 2000, 1, 0, device_info=few), x, order(x, 0))
    y = drawn("small", 40, 60)
    out = [(y.shape, "i4"), (y.shape, "i4")]
    assert_order(run("sort", [y], out, 40, 60, 0, 1, device_info=few), y, order(y, 1))
    sums, = run("cumsum_i32", [y], [(y.shape, "i4")], 40, 60, 1, 0, 0, device_info=few)
    np.testing.assert_array_equal(sums, np.cumsum(y, 1))


def test_numbers_that_are_their_own_indices():
    """One buffer is bound once, and so under one type of elements."""
    @tf.function
    def f(x):
        i = tf.cast(tf.round(x), tf.int32)
        return tf.gather(i, i) + 1, tf.math.unsorted_segment_sum(i, i, 4) * 2

    with on("webgpu"):
        gathered, summed = f(tf.constant([2.1, 0.3, 3.0, 1.9]))
        rows = tf.gather(tf.constant([[1, 0, 0, 1]] * 2), tf.constant([[1, 0, 0, 1]] * 2))
    assert gathered.tolist() == [4, 3, 3, 4] and summed.tolist() == [0, 0, 8, 6]
    assert rows.tolist() == [[[1, 0, 0, 1]] * 4] * 2
