"""Sort kernels against their reference implementations and NumPy, on 1, 2 and 3 threads."""

import numpy as np
import pytest

INPUTS = {
    "random": lambda rng, shape: rng.standard_normal(shape, "f4"),
    "ties": lambda rng, shape: rng.integers(-3, 4, shape).astype("f4"),
    "equal": lambda rng, shape: np.full(shape, 2.5, "f4"),
    "special": lambda rng, shape: rng.choice(
        np.array([0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38], "f4"), shape),
    "rising": lambda rng, shape: np.broadcast_to(np.arange(shape[-1], dtype="f4"), shape),
    "falling": lambda rng, shape: np.broadcast_to(-np.arange(shape[-1], dtype="f4"), shape),
    "int32": lambda rng, shape: rng.integers(-2**31, 2**31, shape).astype("i4"),
    "small int32": lambda rng, shape: rng.integers(-2, 300, shape).astype("i4"),
}
ROWS = [(1, 1), (3, 2), (1, 40), (2, 41), (5, 17), (4, 100), (7, 301), (0, 5), (3, 0), (1, 1000)]


def make_input(kind, *shape):
    return np.ascontiguousarray(INPUTS[kind](np.random.default_rng(shape), shape))


def stable_argsort(x, descending):
    """Argsort of the last axis; NaN is greater than all other values."""
    if descending:
        return x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]
    return np.argsort(x, -1, kind="stable")


def assert_sorted(actual, x, expected, name):
    """Assert that the (values, indices) are the elements of x at the expected indices."""
    values, indices = actual
    np.testing.assert_array_equal(indices, expected, err_msg=name)
    np.testing.assert_array_equal(values.view("i4"),
                                  np.take_along_axis(x, expected, -1).view("i4"), err_msg=name)


@pytest.mark.parametrize("descending", [0, 1])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("rows, n", ROWS)
def test_sort(engines, rows, n, kind, descending):
    x = make_input(kind, rows, n)
    out = [((rows, n), x.dtype), ((rows, n), "i4")]
    params = rows, n, int(x.dtype.kind == "f"), descending
    expected = stable_argsort(x, descending)
    reference = engines[1].call_multi_output("sort_reference", [x], out, *params)
    assert_sorted(reference, x, expected, "sort_reference")
    for threads, engine in engines.items():
        actual = engine.call_multi_output("sort", [x], out, *params, threads=threads)
        assert_sorted(actual, x, expected, f"sort on {threads} threads")


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("rows, n, k", [(1, 1, 1), (3, 5, 5), (2, 40, 1), (5, 37, 8), (3, 301, 20),
                                        (1, 1000, 100), (2, 7, 0), (0, 5, 2), (9, 16, 2)])
def test_top_k(engines, rows, n, k, kind):
    x = make_input(kind, rows, n)
    out = [((rows, k), x.dtype), ((rows, k), "i4")]
    params = rows, n, k, int(x.dtype.kind == "f")
    expected = stable_argsort(x, True)[:, :k]
    reference = engines[1].call_multi_output("top_k_reference", [x], out, *params)
    assert_sorted(reference, x, expected, "top_k_reference")
    for threads, engine in engines.items():
        actual = engine.call_multi_output("top_k", [x], out, *params, threads=threads)
        assert_sorted(actual, x, expected, f"top_k on {threads} threads")


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("rows, n, chunks", [(1, 1, 4), (1, 100, 4), (3, 37, 16), (2, 1000, 5)])
def test_radix_passes(engines, rows, n, chunks, kind):
    """Each pass equals its reference, and all passes together sort like NumPy."""
    x = make_input(kind, rows, n)
    items_spec, counts_spec = ((rows, n), "u8"), ((rows, chunks, 256), "i4")

    def run_and_compare(name, inputs, output, *params):
        reference = engines[1].call(f"{name}_reference", inputs, output, *params)
        for threads, engine in engines.items():
            actual = engine.call(name, inputs, output, *params, threads=threads)
            np.testing.assert_array_equal(actual, reference, err_msg=f"{name} on {threads} threads")
        return reference

    items = run_and_compare("radix_keys", [x], items_spec, rows, n, int(x.dtype.kind == "f"), 0)
    for digit in range(4):
        counts = run_and_compare("radix_histogram", [items], counts_spec, rows, n, chunks, digit)
        assert (counts.sum((1, 2)) == n).all()
        items = run_and_compare("radix_scatter", [items, counts], items_spec, rows, n, chunks,
                                digit)
    np.testing.assert_array_equal(items.astype("u4"), stable_argsort(x, 0))
