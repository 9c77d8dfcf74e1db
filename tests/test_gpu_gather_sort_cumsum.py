"""GPU kernels for gather, scatter-add, sort, cumsum and random bits, against NumPy."""
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
    actual, = run("gather", [x, indices], [((outer, count, inner), dtype)], outer, rows, count,
                  inner * x.itemsize)
    inside = (indices >= 0) & (indices < rows)
    expected = np.zeros((outer, count, inner), dtype)
    expected[:, inside] = x[:, indices[inside]]
    np.testing.assert_array_equal(actual, expected)


def test_gather_is_bit_exact():
    x = np.array([0x7f800001, 0xffffffff, 1, 0x80000000], "u4").view("f4")
    actual, = run("gather", [x, np.array([3, 2, 1, 0], "i4")], [((4,), "f4")], 1, 4, 4, 4)
    assert actual.tobytes() == x[::-1].tobytes()


SCATTER_SIZES = [  # rows, count, inner
    (1, 1, 1), (10, 37, 3), (1, 20, 50), (3, 40, 17), (5, 0, 3), (0, 3, 3), (100, 300, 1),
    (7, 9, 64), (4, 4, 0), (2, 30, 35), (40, 30, 70),
    (3, 5000, 2), (1, 20000, 1), (31, 3000, 4),            # several lanes share an element
    (40000, 120, 1), (1500, 3000, 3), (300, 3000, 12),     # sorted by index
    (33, 130000, 1), (70000, 600, 4)]


@pytest.mark.parametrize("name, dtype", [("scatter_add_f32", "f4"), ("scatter_add_i32", "i4")])
@pytest.mark.parametrize("rows, count, inner", SCATTER_SIZES)
def test_scatter_add(rows, count, inner, name, dtype):
    updates = (10 * rng(rows, count).standard_normal((count, inner))).astype(dtype)
    indices = rng(count, inner).integers(-2, rows + 2, count).astype("i4")
    actual, = run(name, [updates, indices], [((rows, inner), dtype)], rows, count, inner)
    expected = np.zeros((rows, inner), "f8" if dtype == "f4" else dtype)
    magnitude = np.zeros((rows, inner))
    inside = (indices >= 0) & (indices < rows)
    np.add.at(expected, indices[inside], updates[inside])
    np.add.at(magnitude, indices[inside], np.abs(updates[inside]))
    assert (np.abs(actual - expected) <= (1e-6 * magnitude if dtype == "f4" else 0)).all()


def test_scatter_add_with_most_updates_in_one_row():
    """As in padded texts: most indices are equal."""
    updates = rng(0).standard_normal((4000, 3)).astype("f4")
    indices = np.where(rng(1).random(4000) < 0.9, 0, rng(2).integers(0, 900, 4000)).astype("i4")
    runs = [run("scatter_add_f32", [updates, indices], [((900, 3), "f4")], 900, 4000, 3)[0]
            for _ in range(2)]
    expected = np.zeros((900, 3))
    np.add.at(expected, indices, updates)
    np.testing.assert_allclose(runs[0], expected, rtol=1e-5, atol=2e-4)
    assert runs[0].tobytes() == runs[1].tobytes()


# ── sort and top_k ────────────────────────────────────────────────────────────────────────────

DISTRIBUTIONS = {
    "random": lambda rng, shape: rng.standard_normal(shape, "f4"),
    "ties": lambda rng, shape: rng.integers(-3, 4, shape).astype("f4"),
    "special": lambda rng, shape: rng.choice(
        np.array([0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38], "f4"), shape),
    "descending": lambda rng, shape: np.broadcast_to(-np.arange(shape[-1], dtype="f4"), shape),
    "integers": lambda rng, shape: rng.integers(-2**31, 2**31, shape).astype("i4"),
    "small integers": lambda rng, shape: rng.integers(-2, 300, shape).astype("i4"),
}


def sample(kind, *shape):
    return np.ascontiguousarray(DISTRIBUTIONS[kind](rng(*shape), shape))


def stable_argsort(x, descending):
    """Indices that sort the last axis stably, with NaN as the largest value."""
    if descending:
        return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]
    return np.argsort(x, -1, kind="stable")


def assert_sorted(actual, x, expected_indices):
    values, indices = actual
    np.testing.assert_array_equal(indices, expected_indices)
    expected_values = np.take_along_axis(x, expected_indices, -1)
    np.testing.assert_array_equal(values.view("i4"), expected_values.view("i4"))


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
@pytest.mark.parametrize("rows, n", [(1, 1), (3, 2), (700, 5), (2, 41), (7, 301), (0, 5), (3, 0),
                                     (1, 1000), (3, 1024), (2, 1025), (3, 5001)])
def test_sort(rows, n, kind):
    x = sample(kind, rows, n)
    out = [((rows, n), x.dtype), ((rows, n), "i4")]
    for descending in (0, 1):
        actual = run("sort", [x], out, rows, n, int(x.dtype.kind == "f"), descending)
        assert_sorted(actual, x, stable_argsort(x, descending))


@pytest.mark.parametrize("kind", DISTRIBUTIONS)
@pytest.mark.parametrize("rows, n, k", [
    (1, 1, 1), (3, 5, 5), (2, 40, 1), (5, 37, 8), (3, 301, 20), (2, 7, 0), (0, 5, 2), (9, 16, 2),
    (3, 3000, 100), (1, 5000, 512), (2, 1025, 513), (2, 2100, 2000)])
def test_top_k(rows, n, k, kind):
    x = sample(kind, rows, n)
    actual = run("top_k", [x], [((rows, k), x.dtype), ((rows, k), "i4")], rows, n, k,
                int(x.dtype.kind == "f"))
    assert_sorted(actual, x, stable_argsort(x, True)[:, :k])


@pytest.mark.parametrize("kind", ["random", "special", "integers"])
@pytest.mark.parametrize("rows, n, chunks", [(1, 1, 4), (1, 100, 4), (3, 37, 16), (2, 9000, 3)])
def test_radix_sort(rows, n, chunks, kind):
    """The histograms of each digit, and the order after all digits."""
    x = sample(kind, rows, n)
    items_spec, counts_spec = [((rows, n, 2), "i4")], [((rows, chunks, 256), "i4")]
    items, = run("radix_keys", [x], items_spec, rows, n, int(x.dtype.kind == "f"), 0)
    bounds = [n * i // chunks for i in range(chunks + 1)]
    for digit in range(4):
        counts, = run("radix_histogram", [items], counts_spec, rows, n, chunks, digit)
        digits = items[..., 1].view("u4") >> np.uint32(8 * digit) & 255
        expected = [[np.bincount(row[a:b], minlength=256) for a, b in zip(bounds, bounds[1:])]
                    for row in digits]
        np.testing.assert_array_equal(counts, expected)
        items, = run("radix_scatter", [items, counts], items_spec, rows, n, chunks, digit)
    np.testing.assert_array_equal(items[..., 0], stable_argsort(x, 0))


# ── cumsum and random bits ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name, dtype", [("cumsum_f32", "f4"), ("cumsum_i32", "i4")])
@pytest.mark.parametrize("outer, n, inner", [
    (1, 1, 1), (1, 100, 1), (3, 7, 5), (2, 9, 16), (0, 3, 2), (2, 0, 3), (2, 3, 0), (2, 2048, 3),
    (1, 2049, 2), (3, 40, 4000), (1, 100003, 1)])
def test_cumsum(outer, n, inner, name, dtype):
    x = (10 * rng(n).standard_normal((outer, n, inner))).astype(dtype)
    for exclusive, reverse in ((0, 0), (0, 1), (1, 0), (1, 1)):
        actual, = run(name, [x], [(x.shape, dtype)], outer, n, inner, exclusive, reverse)
        summed = (x[:, ::-1] if reverse else x).astype("f8" if dtype == "f4" else dtype)
        expected, magnitude = np.cumsum(summed, 1), np.cumsum(np.abs(summed), 1)
        if exclusive:
            expected = expected - summed
        expected, magnitude = (a[:, ::-1] if reverse else a for a in (expected, magnitude))
        assert (np.abs(actual - expected) <= (1e-6 * magnitude if dtype == "f4" else 0)).all()


@pytest.mark.parametrize("n", [3, 5000])
def test_exclusive_cumsum_after_an_infinity_is_infinite(n):
    x = np.ones((1, n, 1), "f4")
    x[0, 2] = np.inf
    actual, = run("cumsum_f32", [x], [(x.shape, "f4")], 1, n, 1, 1, 0)
    assert actual.ravel().tolist() == [0, 1, 2, *[np.inf] * (n - 3)]


@pytest.mark.parametrize("count", [0, 1, 4, 7, 1026])
@pytest.mark.parametrize("state", [(0, 0, 0, 0), (1, 2, 3, 4), (-1, -2, -3, -4), (7, -9, -1, -1)])
def test_random_bits(state, count):
    state = np.array(state, "i4")
    with np.errstate(over="ignore"):
        expected = philox_reference(np, state, (count,))
    actual, = run("random_bits", [state], [((count,), "i4")], count)
    np.testing.assert_array_equal(actual, expected)


# ── more workgroups than the limit of a dimension ─────────────────────────────────────────────


@pytest.mark.parametrize("workgroups", [1, 3, 7])
def test_workgroups_in_two_dimensions(workgroups):
    limited = device_info(max_workgroups=workgroups)
    x, indices = sample("random", 5, 2000), rng(0).integers(-1, 6, 700).astype("i4")
    actual, = run("gather", [x, indices], [((700, 2000), "f4")], 1, 5, 700, 8000,
                  device_info=limited)
    inside = (indices >= 0) & (indices < 5)
    expected = np.where(inside[:, None], x[indices % 5], 0)
    np.testing.assert_array_equal(actual, expected)
    ascending = run("sort", [x], [(x.shape, "f4"), (x.shape, "i4")], 5, 2000, 1, 0,
                    device_info=limited)
    assert_sorted(ascending, x, stable_argsort(x, 0))
    y = sample("small integers", 40, 60)
    descending = run("sort", [y], [(y.shape, "i4"), (y.shape, "i4")], 40, 60, 0, 1,
                     device_info=limited)
    assert_sorted(descending, y, stable_argsort(y, 1))
    sums, = run("cumsum_i32", [y], [(y.shape, "i4")], 40, 60, 1, 0, 0, device_info=limited)
    np.testing.assert_array_equal(sums, np.cumsum(y, 1))


def test_gather_and_segment_sum_with_one_buffer_as_values_and_indices():
    """The buffer is bound once and therefore has one element type in the shader."""
    @tf.function
    def f(x):
        i = tf.cast(tf.round(x), tf.int32)
        return tf.gather(i, i) + 1, tf.math.unsorted_segment_sum(i, i, 4) * 2

    with on("webgpu"):
        gathered, summed = f(tf.constant([2.1, 0.3, 3.0, 1.9]))
        rows = tf.gather(tf.constant([[1, 0, 0, 1]] * 2), tf.constant([[1, 0, 0, 1]] * 2))
    assert gathered.tolist() == [4, 3, 3, 4] and summed.tolist() == [0, 0, 8, 6]
    assert rows.tolist() == [[[1, 0, 0, 1]] * 4] * 2
