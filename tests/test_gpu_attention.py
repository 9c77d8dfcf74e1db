"""GPU attention and its gradient against a float64 reference."""

import numpy as np
import pytest
from attention_reference import check, check_gradients, floats
from wgsl_runner import device_info, run

# Sizes are (batch, heads, t_q, t_k, d, d_v). A workgroup computes 32 rows (queries, or keys in the
# gradient) and at most 128 columns; it iterates over blocks of 64 keys (or queries), and stages
# 16 elements along d at a time.
PROBLEMS = [
    ((1, 1, 1, 1, 1, 1), "none", False), ((2, 3, 7, 9, 5, 4), "all", False),
    ((2, 2, 16, 16, 16, 16), "none", True), ((1, 3, 13, 64, 32, 8), "keys", False),
    ((2, 1, 65, 63, 9, 17), "heads", True), ((2, 1, 130, 70, 4, 12), "none", True),
    ((1, 1, 70, 200, 33, 65), "one for all", True), ((1, 2, 5, 129, 128, 128), "none", False),
    ((1, 1, 40, 33, 140, 260), "all", False), ((1, 1, 100, 1, 3, 2), "queries", False),
    ((0, 2, 4, 4, 3, 3), "none", False), ((2, 2, 0, 4, 3, 3), "all", False),
    ((2, 2, 4, 0, 3, 3), "none", True), ((1, 2, 5, 6, 3, 0), "none", False),
    ((1, 2, 5, 6, 0, 3), "none", False)]


@pytest.mark.parametrize("size, kind, causal", PROBLEMS)
def test_attention(size, kind, causal):
    check(run, size, kind, causal)


@pytest.mark.slow
@pytest.mark.parametrize("size, kind, causal", PROBLEMS)
def test_attention_grad(size, kind, causal):
    check_gradients(run, size, kind, causal)


@pytest.mark.slow
@pytest.mark.parametrize("causal", [False, True])
def test_attention_grad_binds_at_most_eight_buffers_per_dispatch(causal):
    """Eight is the minimum limit of a WebGPU device."""
    minimal = device_info(storage_buffers=8)
    check_gradients(lambda *problem: run(*problem, device_info=minimal), (1, 2, 33, 40, 5, 7),
                    "all", causal)


@pytest.mark.slow
def test_more_workgroups_than_the_limit_of_a_dimension():
    limited = device_info(max_workgroups=3)
    for check_function in (check, check_gradients):
        check_function(lambda *problem: run(*problem, device_info=limited), (2, 2, 40, 34, 3, 2),
                       "none", False)


def test_large_scores_do_not_overflow():
    q, k, v = 60 * floats(1, 9, 2, 8), 60 * floats(1, 9, 2, 8, seed=1), floats(1, 9, 2, 4, seed=2)
    out, lse = run("attention", [q, k, v], [((1, 9, 2, 4), "f4"), ((1, 9, 2), "f4")],
                   1, 2, 9, 9, 8, 4, 0, 1.0)
    scores = np.einsum("bihd,bjhd->bhij", q.astype("f8"), k)
    assert np.isfinite(out).all() and np.abs(scores).max() > 10_000
    np.testing.assert_allclose(lse, scores.max(-1).transpose(0, 2, 1), rtol=1e-5)


@pytest.mark.parametrize("causal", [0, 1])
def test_nan_propagates_through_attention(causal):
    q, k, v = floats(1, 9, 1, 8), floats(1, 9, 1, 8, seed=1), floats(1, 9, 1, 4, seed=2)
    q[0, 3], v[0, 8, 0, 1] = np.nan, np.nan
    out, lse = run("attention", [q, k, v], [((1, 9, 1, 4), "f4"), ((1, 9, 1), "f4")],
                   1, 1, 9, 9, 8, 4, causal, 0.5)
    others = [i for i in range(9) if i != 3]
    assert np.isnan(out[0, 3]).all() and np.isnan(lse[0, 3, 0])
    assert np.isnan(out[0, 8, 0, 1]) and not np.isnan(out[0, others][:, 0, [0, 2, 3]]).any()


def test_nan_propagates_through_attention_grad():
    q, k, v, g = (floats(1, 9, 1, 4, seed=i) for i in range(4))
    lse, delta = np.zeros((1, 9, 1), "f4"), np.zeros((1, 9, 1), "f4")
    lse[0, 3] = np.nan
    dq, dk, dv = run("attention_grad", [q, k, v, g, lse, delta], [(q.shape, "f4")] * 3,
                     1, 1, 9, 9, 4, 4, 0, 0.5)
    assert np.isnan(dq[0, 3]).all() and not np.isnan(np.delete(dq, 3, 1)).any()
    assert np.isnan(dk).all() and np.isnan(dv).all()
