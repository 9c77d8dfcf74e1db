"""Attention and its gradient as kernels are given them, and what is right in double precision.

`run(name, inputs, outputs, *numbers)` gives a kernel's results, (shape, dtype) each."""

import numpy as np

TOLERANCE = 1e-5

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


def close(found, right, scale):
    assert found.shape == right.shape
    worst = (np.abs(found - right) / scale).max(initial=0)
    assert worst <= TOLERANCE, f"{worst / TOLERANCE:.1f} times the tolerance"


def check(run, size, kind, causal):
    """That a kernel's out and lse are right."""
    inputs, numbers, shown = problem(size, causal, kind)
    out, lse, weights, error = expected(inputs, numbers, shown)
    scale = error * (np.einsum("bhij,bjhd->bihd", weights, np.abs(inputs[2])) + 1e-6)
    found = run("attention" + "_masked" * (kind != "none"), inputs,
                [(out.shape, "f4"), (lse.shape, "f4")], *numbers)
    close(found[0], out, scale)
    seen = lse > -1e37
    close(found[1][seen], lse[seen], error + np.abs(lse[seen]))
    assert (found[1][~seen] < -1e37).all()


def check_gradients(run, size, kind, causal):
    """That a kernel's dq, dk and dv are right."""
    inputs, numbers, shown = problem(size, causal, kind)
    if causal:  # of the keys that a query sees
        shown = np.where(np.tri(*shown.shape[2:], dtype=bool), shown, False)
    out, lse, _, _ = expected(inputs, numbers, shown)
    g, delta = floats(*out.shape, seed=3), floats(*lse.shape, seed=4)
    right, scales = expected_gradients(inputs, numbers, shown, g, delta)
    found = run("attention_grad" + "_masked" * (kind != "none"),
                [*inputs[:3], g, lse.astype("f4"), delta, *inputs[3:]],
                [(x.shape, "f4") for x in right], *numbers)
    for ours, theirs, scale in zip(found, right, scales):
        close(ours, theirs, scale)
