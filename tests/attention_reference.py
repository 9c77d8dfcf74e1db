"""Reference attention and its gradient, in float64, for tests of kernels.

`run(name, inputs, outputs, *params)` runs a kernel; `outputs` has (shape, dtype) of each result.
"""

import numpy as np

TOLERANCE = 1e-5

MASKS = {  # 1: the mask varies along (batch, head, query, key)
    "none": None, "all": (1, 1, 1, 1), "keys": (1, 0, 0, 1), "queries": (0, 0, 1, 0),
    "one for all": (0, 0, 1, 1), "heads": (0, 1, 0, 1),
}


def floats(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype="f4")


def problem(size, causal, kind):
    """Return (inputs, params, the mask broadcast to the shape of the scores)."""
    batch, heads, t_q, t_k, d, d_v = size
    inputs = [floats(batch, t_q, heads, d), floats(batch, t_k, heads, d, seed=1),
              floats(batch, t_k, heads, d_v, seed=2)]
    params = [*size, int(causal), 0.3 / max(d, 1) ** 0.5]
    if MASKS[kind] is None:
        return inputs, params, np.ones((batch, heads, t_q, t_k), bool)
    shape = [n if varies else 1 for n, varies in zip((batch, heads, t_q, t_k), MASKS[kind])]
    mask = np.random.default_rng(5).random(shape) < 0.7
    strides = [s if varies else 0 for s, varies in zip(mask.strides, MASKS[kind])]
    return [*inputs, mask], params + strides, np.broadcast_to(mask, (batch, heads, t_q, t_k))


def reference(inputs, params, mask):
    """Return (out, lse, probabilities, the scale of the rounding error of a score)."""
    q, k, v = (x.astype("f8") for x in inputs[:3])
    causal, scale = params[6:8]
    scores = scale * np.einsum("bihd,bjhd->bhij", q, k)
    scores = np.where(mask, scores, -1e38)
    if causal:
        scores = np.where(np.tri(*scores.shape[2:], dtype=bool), scores, -np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        top = scores.max(-1, initial=-np.inf, keepdims=True)
        exps = np.exp(scores - top)
        total = exps.sum(-1, keepdims=True)
        probs = exps / total
        lse = (top + np.log(total))[..., 0].transpose(0, 2, 1)
    error = 1 + scale * np.einsum("bihd,bjhd->bhij", np.abs(q), np.abs(k)).max(initial=0)
    return np.einsum("bhij,bjhd->bihd", probs, v), lse, probs, error


def reference_gradients(inputs, params, mask, g, delta):
    """Return ((dq, dk, dv), the scales of their rounding errors)."""
    _, _, probs, error = reference(inputs, params, mask)
    q, k, v = (x.astype("f8") for x in inputs[:3])
    scale, uniform_rows = params[7], probs * ~mask.any(-1, keepdims=True)
    prob_grads = np.einsum("bihd,bjhd->bhij", g.astype("f8"), v)
    delta = delta.astype("f8").transpose(0, 2, 1)[..., None]
    score_grads = (probs - uniform_rows) * (prob_grads - delta) * scale
    magnitudes = (probs - uniform_rows) * scale * (
        np.einsum("bihd,bjhd->bhij", np.abs(g), np.abs(v)) + np.abs(delta))

    def input_gradients(probs, score_grads, q, k, g):
        return [np.einsum("bhij,bjhd->bihd", score_grads, k),
                np.einsum("bhij,bihd->bjhd", score_grads, q),
                np.einsum("bhij,bihd->bjhd", probs, g)]

    sums = input_gradients(probs, magnitudes, np.abs(q), np.abs(k), np.abs(g))
    return input_gradients(probs, score_grads, q, k, g), [error * (s + 1e-6) for s in sums]


def assert_close(actual, expected, scale):
    assert actual.shape == expected.shape
    worst = (np.abs(actual - expected) / scale).max(initial=0)
    assert worst <= TOLERANCE, f"{worst / TOLERANCE:.1f} times the tolerance"


def check(run, size, kind, causal):
    """Compare a kernel's out and lse with the reference."""
    inputs, params, mask = problem(size, causal, kind)
    out, lse, probs, error = reference(inputs, params, mask)
    scale = error * (np.einsum("bhij,bjhd->bihd", probs, np.abs(inputs[2])) + 1e-6)
    actual_out, actual_lse = run("attention" + "_masked" * (kind != "none"), inputs,
                                 [(out.shape, "f4"), (lse.shape, "f4")], *params)
    assert_close(actual_out, out, scale)
    visible = lse > -1e37
    assert_close(actual_lse[visible], lse[visible], error + np.abs(lse[visible]))
    assert (actual_lse[~visible] < -1e37).all()


def check_gradients(run, size, kind, causal):
    """Compare a kernel's dq, dk and dv with the reference."""
    inputs, params, mask = problem(size, causal, kind)
    if causal:
        mask = np.where(np.tri(*mask.shape[2:], dtype=bool), mask, False)
    out, lse, _, _ = reference(inputs, params, mask)
    g, delta = floats(*out.shape, seed=3), floats(*lse.shape, seed=4)
    expected, scales = reference_gradients(inputs, params, mask, g, delta)
    actual = run("attention_grad" + "_masked" * (kind != "none"),
                 [*inputs[:3], g, lse.astype("f4"), delta, *inputs[3:]],
                 [(x.shape, "f4") for x in expected], *params)
    for a, e, scale in zip(actual, expected, scales):
        assert_close(a, e, scale)
