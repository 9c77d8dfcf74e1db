"""Cumulative sums against their reference implementation and NumPy, on 1, 2 and 3 threads."""

import numpy as np
import pytest


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("name, dtype", [("cumsum_f32", "f4"), ("cumsum_i32", "i4")])
@pytest.mark.parametrize("outer, n, inner", [
    (1, 1, 1), (1, 100, 1), (3, 7, 5), (2, 9, 16), (5, 4, 2), (1, 3, 41), (0, 3, 2), (2, 0, 3),
    (2, 3, 0)])
def test_cumsum(engines, outer, n, inner, name, dtype, exclusive, reverse):
    x = (10 * np.random.default_rng(n).standard_normal((outer, n, inner))).astype(dtype)
    params = outer, n, inner, exclusive, reverse
    reference = engines[1].call(f"{name}_reference", [x], (x.shape, dtype), *params)
    expected = np.cumsum(x[:, ::-1] if reverse else x, 1, dtype=dtype)
    if exclusive:
        expected = np.concatenate([np.zeros_like(x[:, :1]), expected[:, :-1]], 1)[:, :n]
    expected = expected[:, ::-1] if reverse else expected
    np.testing.assert_allclose(reference, expected, rtol=1e-5, atol=1e-4)
    for threads, engine in engines.items():
        actual = engine.call(name, [x], (x.shape, dtype), *params, threads=threads)
        np.testing.assert_array_equal(actual, reference, err_msg=f"{name} on {threads} threads")
