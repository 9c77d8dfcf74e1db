"""The kernels that sort, against their plain references and NumPy, on 1, 2 and 3 threads."""

import numpy as np
import pytest

DRAWS = {
    "random": lambda rng, shape: rng.standard_normal(shape, "f4"),
    "ties": lambda rng, shape: rng.integers(-3, 4, shape).astype("f4"),
    "one": lambda rng, shape: np.full(shape, 2.5, "f4"),
    "special": lambda rng, shape: rng.choice(
        np.array([0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38], "f4"), shape),
    "rising": lambda rng, shape: np.broadcast_to(np.arange(shape[-1], dtype="f4"), shape),
    "falling": lambda rng, shape: np.broadcast_to(-np.arange(shape[-1], dtype="f4"), shape),
    "whole": lambda rng, shape: rng.integers(-2**31, 2**31, shape).astype("i4"),
    "small": lambda rng, shape: rng.integers(-2, 300, shape).astype("i4"),
}
ROWS = [(1, 1), (3, 2), (1, 40), (2, 41), (5, 17), (4, 100), (7, 301), (0, 5), (3, 0), (1, 1000)]


def drawn(kind, *shape):
    return np.ascontiguousarray(DRAWS[kind](np.random.default_rng(shape), shape))


def order(x, descending):
    """The stable order of the last axis, NaN above all others."""
    if descending:
        return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]
    return np.argsort(x, -1, kind="stable")


def assert_order(found, x, wanted, name):
    values, indices = found
    np.testing.assert_array_equal(indices, wanted, err_msg=name)
    np.testing.assert_array_equal(values.view("i4"),
                                  np.take_along_axis(x, wanted, -1).view("i4"), err_msg=name)


@pytest.mark.parametrize("descending", [0, 1])
@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("rows, n", ROWS)
def test_sort(engines, rows, n, kind, descending):
    x = drawn(kind, rows, n)
    out = [((rows, n), x.dtype), ((rows, n), "i4")]
    numbers = rows, n, int(x.dtype.kind == "f"), descending
    wanted = order(x, descending)
    plain = engines[1].call_for_several("sort_ref", [x], out, *numbers)
    assert_order(plain, x, wanted, "sort_ref")
    for threads, engine in engines.items():
        found = engine.call_for_several("sort", [x], out, *numbers, threads=threads)
        assert_order(found, x, wanted, f"sort on {threads} threads")


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("rows, n, k", [(1, 1, 1), (3, 5, 5), (2, 40, 1), (5, 37, 8), (3, 301, 20),
                                        (1, 1000, 100), (2, 7, 0), (0, 5, 2), (9, 16, 2)])
def test_top_k(engines, rows, n, k, kind):
    x = drawn(kind, rows, n)
    out = [((rows, k), x.dtype), ((rows, k), "i4")]
    numbers = rows, n, k, int(x.dtype.kind == "f")
    wanted = order(x, True)[:, :k]
    plain = engines[1].call_for_several("top_k_ref", [x], out, *numbers)
    assert_order(plain, x, wanted, "top_k_ref")
    for threads, engine in engines.items():
        found = engine.call_for_several("top_k", [x], out, *numbers, threads=threads)
        assert_order(found, x, wanted, f"top_k on {threads} threads")


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("rows, n, parts", [(1, 1, 4), (1, 100, 4), (3, 37, 16), (2, 1000, 5)])
def test_long_rows(engines, rows, n, parts, kind):
    """The passes one after the other, each against its reference, and all against NumPy."""
    x = drawn(kind, rows, n)
    both = ((rows, n), "u8"), ((rows, parts, 256), "i4")

    def equal(name, inputs, output, *numbers):
        wanted = engines[1].call(f"{name}_ref", inputs, output, *numbers)
        for threads, engine in engines.items():
            found = engine.call(name, inputs, output, *numbers, threads=threads)
            np.testing.assert_array_equal(found, wanted, err_msg=f"{name} on {threads} threads")
        return wanted

    items = equal("sort_items", [x], both[0], rows, n, int(x.dtype.kind == "f"), 0)
    for digit in range(4):
        counts = equal("sort_count", [items], both[1], rows, n, parts, digit)
        assert (counts.sum((1, 2)) == n).all()
        items = equal("sort_place", [items, counts], both[0], rows, n, parts, digit)
    np.testing.assert_array_equal(items.astype("u4"), order(x, 0))
