"""Attention and its gradient against their references and NumPy, on 1, 2 and 3 threads."""

import numpy as np
import pytest
from attention_reference import MASKS, check, check_gradients, floats

SIZES = [  # batch, heads, t_q, t_k, d, d_v
    (1, 1, 1, 1, 1, 1), (1, 1, 3, 5, 2, 3), (2, 3, 7, 9, 5, 4), (1, 2, 8, 8, 8, 8),
    (2, 2, 16, 16, 16, 16), (1, 3, 13, 64, 32, 8), (1, 1, 65, 63, 9, 17), (2, 1, 130, 70, 4, 12),
    (1, 1, 70, 200, 33, 7), (3, 4, 64, 64, 32, 32), (1, 2, 1, 40, 16, 16), (1, 1, 100, 1, 3, 2),
    (0, 2, 4, 4, 3, 3), (2, 2, 0, 4, 3, 3), (2, 2, 4, 0, 3, 3), (1, 2, 5, 6, 3, 0),
    (1, 2, 5, 6, 0, 3), (1, 1, 5, 6, 2000, 3000),
]


def runner(engine, threads, suffix):
    """Return a function that runs a kernel, or its reference, on `threads` threads."""
    def run(name, *problem):
        return engine.call_multi_output(name + suffix, *problem, threads=threads)
    return run


def check_kernel_and_reference(engines, check, *problem):
    for threads, engine in engines.items():
        for suffix in ("", "_reference"):
            check(runner(engine, threads, suffix), *problem)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("size", SIZES)
def test_attention(engines, size, kind, causal):
    check_kernel_and_reference(engines, check, size, kind, causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("size", SIZES)
def test_attention_grad(engines, size, kind, causal):
    check_kernel_and_reference(engines, check_gradients, size, kind, causal)


def test_large_scores_do_not_overflow(engines):
    q, k, v = 60 * floats(1, 9, 2, 8), 60 * floats(1, 9, 2, 8, seed=1), floats(1, 9, 2, 4, seed=2)
    params = (1, 2, 9, 9, 8, 4, 0, 1.0)
    outputs = [((1, 9, 2, 4), "f4"), ((1, 9, 2), "f4")]
    call = engines[1].call_multi_output
    out, lse = call("attention", [q, k, v], outputs, *params)
    reference_out, reference_lse = call("attention_reference", [q, k, v], outputs, *params)
    np.testing.assert_allclose(out, reference_out, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(lse, reference_lse, rtol=1e-5)


@pytest.mark.parametrize("causal", [0, 1])
def test_nan_propagates(engines, causal):
    q, k, v = floats(1, 9, 1, 8), floats(1, 9, 1, 8, seed=1), floats(1, 9, 1, 4, seed=2)
    q[0, 3], v[0, 8, 0, 1] = np.nan, np.nan
    outputs = [((1, 9, 1, 4), "f4"), ((1, 9, 1), "f4")]
    out, lse = engines[1].call_multi_output("attention", [q, k, v], outputs,
                                            1, 1, 9, 9, 8, 4, causal, 0.5)
    other_queries = [i for i in range(9) if i != 3]
    assert np.isnan(out[0, 3]).all() and np.isnan(lse[0, 3, 0])
    assert np.isnan(out[0, 8 if causal else other_queries, 0, 1]).all()
    assert not np.isnan(out[0, other_queries][:, 0, [0, 2, 3]]).any()
