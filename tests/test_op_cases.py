"""The table multiplied: backend, mode, value, gradient, curvature, dtype, odd shapes."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from op_cases import CASES
from assertions import CURVATURE, GRADIENT, VALUE, assert_close, expected, expected_value
from case_evaluation import (
    MODES,
    derivatives,
    differentiable,
    floating,
    gradient,
    in_mode,
    inputs,
    loss,
    results,
    weights,
)
from tensorbrook.base import tree
from tensorbrook.ir import PRIMITIVES
from numpy_jax_oracles import Witness

TO_JAX = 1e-9
SMOOTH = [name for name in CASES if differentiable(name)]


def calls(name: str) -> list[tuple[int, str]]:
    """The line's shapes, and the dtypes it is called with."""
    return [(i, kind) for i in range(len(CASES[name].shapes)) for kind in CASES[name].kinds]


# ── what is right ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prim", PRIMITIVES)
def test_every_primitive_has_a_case(prim):
    lines = [name for name in CASES if name.split("/")[0] == prim]
    assert lines, f"primitive {prim} has no line in tests/cases.py"
    case = CASES[lines[0]]
    f = tf.function(case.ours).get_concrete_function(*inputs(case, 0, case.kinds[0]))
    assert prim in {e.prim.name for e in f.graph.eqns}, f"line {lines[0]!r} does not apply {prim}"


@pytest.mark.parametrize("name", CASES)
def test_value_is_what_numpy_says(name):
    case = CASES[name]
    for variant, kind in calls(name):
        with on("reference"), np.errstate(all="ignore"):
            xs = inputs(case, variant, "d" if kind == "f" else kind)
            ours = [np.asarray(t) for t in results(case.ours, xs)]
            theirs = tree.flatten(case.theirs(Witness(np), *map(np.asarray, xs)))[0]
        tolerance = 1e-6 if name == "cast/float32" else 1e-9
        assert_close(ours, theirs, tolerance, f"{name} of {case.shapes[variant]} {kind}")


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_agree_with_jax(name):
    with on("reference"):
        xs = [np.asarray(x) for x in inputs(CASES[name], 0, "d")]
        their_curvatures, their_gradients = derivatives_by_jax(CASES[name], xs)
    _, gradients, curvatures = expected(name, 0)
    assert_close(gradients, their_gradients, TO_JAX, f"gradient of {name}")
    assert_close(curvatures, their_curvatures, TO_JAX, f"curvature of {name}")


def derivatives_by_jax(case, xs):
    """(curvatures, gradients) of the line's loss, in double precision."""
    places = tuple(i for i, x in enumerate(xs) if x.dtype.kind == "f")

    def total(*xs):
        outs = tree.flatten(case.theirs(Witness(jnp), *xs))[0]
        floats = [o for o in outs if o.dtype.kind == "f"]
        return sum((o * o * weight(o, 100 + i)).sum() for i, o in enumerate(floats))

    def slope(*xs):
        grads = jax.grad(total, places)(*xs)
        return sum((g * weight(g, 200 + i)).sum() for i, g in enumerate(grads)), grads

    return jax.jit(jax.grad(slope, places, has_aux=True))(*xs)


def weight(x, seed: int) -> np.ndarray:
    return np.asarray(weights(x.shape, tf.float64, seed))


@pytest.mark.parametrize("name", [name for name in SMOOTH if not CASES[name].jumps])
def test_derivatives_agree_with_finite_differences(name):
    """Along one direction through all arguments: first of the loss, then of its gradient."""
    case, step = CASES[name], 1e-5
    with on("reference"):
        for variant in range(len(case.shapes)):
            ahead, behind = (moved(inputs(case, variant, "d"), s) for s in (step, -step))
            before, after = (gradient(case.ours, *xs) for xs in (behind, ahead))
            _, gradients, curvatures = expected(name, variant)
            slope = (float(loss(after[0])) - float(loss(before[0]))) / (2 * step)
            bend = (along(after[1], 200) - along(before[1], 200)) / (2 * step)
            what = f"{name} of {case.shapes[variant]}"
            assert along(gradients, 300) == pytest.approx(slope, rel=1e-6, abs=1e-6), what
            assert along(curvatures, 300) == pytest.approx(bend, rel=1e-6, abs=1e-6), what


def moved(xs, step: float):
    steps = {id(x): weights(x.shape, x.dtype, 300 + i) * step for i, x in enumerate(floating(xs))}
    return [x + steps[id(x)] if id(x) in steps else x for x in xs]


def along(arrays, seed: int) -> float:
    return sum(float((np.asarray(a) * weight(a, seed + i)).sum()) for i, a in enumerate(arrays))


# ── that every backend does it ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ("eager", "called"))
@pytest.mark.parametrize("name", CASES)
def test_value(name, mode, backend):
    case = CASES[name]
    for variant, kind in calls(name):
        call = case.ours if mode == "eager" else tf.function(case.ours)
        found = results(call, inputs(case, variant, kind))
        tolerance = 1e-7 if case.exact or not found[0].dtype.is_floating else VALUE
        what = f"{name} of {case.shapes[variant]} {kind}"
        assert_close(found, expected_value(name, variant, kind), tolerance, what)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name, mode, backend):
    """Inside one function for all shapes; op by op and around a function for the first."""
    case = CASES[name]
    for variant in range(len(case.shapes) if mode == "function" else 1):
        xs = inputs(case, variant)
        found = in_mode(mode, derivatives, case.ours)(*xs)
        what = f"{name} of {case.shapes[variant]}"
        for actual, right, tolerance in zip(found, expected(name, variant),
                                            (VALUE, GRADIENT, CURVATURE)):
            assert_close(actual, right, tolerance, what)
