"""Attention and its gradient against their plain references and NumPy, on 1, 2 and 3 threads."""

import numpy as np
import pytest
from kernels import assert_close

TOLERANCE = 1e-5

SIZES = [  # batch, heads, t_q, t_k, d, d_v
    (1, 1, 1, 1, 1, 1), (1, 1, 3, 5, 2, 3), (2, 3, 7, 9, 5, 4), (1, 2, 8, 8, 8, 8),
    (2, 2, 16, 16, 16, 16), (1, 3, 13, 64, 32, 8), (1, 1, 65, 63, 9, 17), (2, 1, 130, 70, 4, 12),
    (1, 1, 70, 200, 33, 7), (3, 4, 64, 64, 32, 32), (1, 2, 1, 40, 16, 16), (1, 1, 100, 1, 3, 2),
    (0, 2, 4, 4, 3, 3), (2, 2, 0, 4, 3, 3), (2, 2, 4, 0, 3, 3), (1, 2, 5, 6, 3, 0),
    (1, 2, 5, 6, 0, 3), (1, 1, 5, 6, 2000, 3000),
]
MASKS = {  # strides that are not 0: batch, head, query, key
    "none": None, "all": (1, 1, 1, 1), "keys": (1, 0, 0, 1), "queries": (0, 0, 1, 0),
    "one for all": (0, 0, 1, 1), "heads": (0, 1, 0, 1),
}


def floats(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype="f4")


def problem(size, causal, kind):
    """(inputs, numbers, the mask for every score)."""
    batch, heads, t_q, t_k, d, d_v = size
    inputs = [floats(batch, t_q, heads, d), floats(batch, t_k, heads, d, seed=1),
              floats(batch, t_k, heads, d_v, seed=2)]
    numbers = [*size, int(causal), 0.3 / max(d, 1) ** 0.5]
    if MASKS[kind] is None:
        return inputs, numbers, np.ones((batch, heads, t_q, t_k), bool)
    shape = [n if used else 1 for n, used in zip((batch, heads, t_q, t_k), MASKS[kind])]
    mask = np.random.default_rng(5).random(shape) < 0.7
    strides = [s if used else 0 for s, used in zip(mask.strides, MASKS[kind])]
    return [*inputs, mask], numbers + strides, np.broadcast_to(mask, (batch, heads, t_q, t_k))


def expected(inputs, numbers, shown):
    """(out, lse, probabilities, a measure of the scores' own error), in double precision."""
    q, k, v = (x.astype("f8") for x in inputs[:3])
    causal, scale = numbers[6:8]
    scores = scale * np.einsum("bihd,bjhd->bhij", q, k)
    scores = np.where(shown, scores, -1e38)
    if causal:
        scores = np.where(np.tri(*scores.shape[2:], dtype=bool), scores, -np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        top = scores.max(-1, initial=-np.inf, keepdims=True)
        e = np.exp(scores - top)
        total = e.sum(-1, keepdims=True)
        weights = e / total
        lse = (top + np.log(total))[..., 0].transpose(0, 2, 1)
    error = 1 + scale * np.einsum("bihd,bjhd->bhij", np.abs(q), np.abs(k)).max(initial=0)
    return np.einsum("bhij,bjhd->bihd", weights, v), lse, weights, error


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("size", SIZES)
def test_attention(engines, size, kind, causal):
    inputs, numbers, shown = problem(size, causal, kind)
    out, lse, weights, error = expected(inputs, numbers, shown)
    scale = error * (np.einsum("bhij,bjhd->bihd", weights, np.abs(inputs[2])) + 1e-6)
    name = "attention" if kind == "none" else "attention_masked"
    for threads, engine in engines.items():
        for form in (name, f"{name}_ref"):
            found = engine.call_for_several(form, inputs, [(out.shape, "f4"), (lse.shape, "f4")],
                                            *numbers, threads=threads)
            assert_close(found[0], out, scale, TOLERANCE, f"out of {form}")
            seen = lse > -1e37
            assert_close(found[1][seen], lse[seen], error + np.abs(lse[seen]), TOLERANCE,
                         f"lse of {form}")
            assert (found[1][~seen] < -1e37).all()


def expected_gradients(inputs, numbers, shown, g, delta):
    """((dq, dk, dv), the sums of the absolute values of their terms), in double precision."""
    _, _, weights, error = expected(inputs, numbers, shown)
    q, k, v = (x.astype("f8") for x in inputs[:3])
    scale, alone = numbers[7], weights * ~shown.any(-1, keepdims=True)
    dp = np.einsum("bihd,bjhd->bhij", g.astype("f8"), v)
    rest = delta.astype("f8").transpose(0, 2, 1)[..., None]
    slopes = (weights - alone) * (dp - rest) * scale
    terms = (weights - alone) * scale * (np.einsum("bihd,bjhd->bhij", np.abs(g), np.abs(v))
                                         + np.abs(rest))

    def products(w, s, q, k, g):
        return [np.einsum("bhij,bjhd->bihd", s, k), np.einsum("bhij,bihd->bjhd", s, q),
                np.einsum("bhij,bihd->bjhd", w, g)]

    sums = products(weights, terms, np.abs(q), np.abs(k), np.abs(g))
    return products(weights, slopes, q, k, g), [error * (s + 1e-6) for s in sums]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("size", SIZES)
def test_attention_grad(engines, size, kind, causal):
    inputs, numbers, shown = problem(size, causal, kind)
    if causal:  # of the keys that a query sees
        shown = np.where(np.tri(*shown.shape[2:], dtype=bool), shown, False)
    out, lse, _, _ = expected(inputs, numbers, shown)
    g, delta = floats(*out.shape, seed=3), floats(*lse.shape, seed=4)
    right, scales = expected_gradients(inputs, numbers, shown, g, delta)
    name = "attention_grad" if kind == "none" else "attention_grad_masked"
    given = [*inputs[:3], g, lse.astype("f4"), delta, *inputs[3:]]
    for threads, engine in engines.items():
        for form in (name, f"{name}_ref"):
            found = engine.call_for_several(form, given, [(x.shape, "f4") for x in right],
                                            *numbers, threads=threads)
            for what, ours, theirs, scale in zip(("dq", "dk", "dv"), found, right, scales):
                assert_close(ours, theirs, scale, TOLERANCE, f"{what} of {form}")


def test_large_scores_do_not_overflow(engines):
    q, k, v = 60 * floats(1, 9, 2, 8), 60 * floats(1, 9, 2, 8, seed=1), floats(1, 9, 2, 4, seed=2)
    numbers = (1, 2, 9, 9, 8, 4, 0, 1.0)
    outputs = [((1, 9, 2, 4), "f4"), ((1, 9, 2), "f4")]
    out, lse = engines[1].call_for_several("attention", [q, k, v], outputs, *numbers)
    plain, lse_plain = engines[1].call_for_several("attention_ref", [q, k, v], outputs, *numbers)
    np.testing.assert_allclose(out, plain, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(lse, lse_plain, rtol=1e-5)


@pytest.mark.parametrize("causal", [0, 1])
def test_what_is_not_a_number_shows(engines, causal):
    q, k, v = floats(1, 9, 1, 8), floats(1, 9, 1, 8, seed=1), floats(1, 9, 1, 4, seed=2)
    q[0, 3], v[0, 8, 0, 1] = np.nan, np.nan
    outputs = [((1, 9, 1, 4), "f4"), ((1, 9, 1), "f4")]
    out, lse = engines[1].call_for_several("attention", [q, k, v], outputs,
                                           1, 1, 9, 9, 8, 4, causal, 0.5)
    others = [i for i in range(9) if i != 3]
    assert np.isnan(out[0, 3]).all() and np.isnan(lse[0, 3, 0])
    assert np.isnan(out[0, 8 if causal else others, 0, 1]).all()
    assert not np.isnan(out[0, others][:, 0, [0, 2, 3]]).any()
