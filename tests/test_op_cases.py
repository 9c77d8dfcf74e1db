"""The op cases: values and derivatives for every backend, mode, dtype and shape."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from op_cases import CASES
from assertions import (
    GRADIENT_TOLERANCE,
    SECOND_DERIVATIVE_TOLERANCE,
    VALUE_TOLERANCE,
    assert_close,
    reference_derivatives,
    reference_value,
)
from case_evaluation import (
    MODES,
    derivatives,
    float_tensors,
    gradient,
    in_mode,
    inputs,
    is_differentiable,
    loss,
    results,
    weights,
)
from tensorbrook.base import tree
from tensorbrook.ir import PRIMITIVES
from numpy_jax_oracles import OracleNamespace

JAX_TOLERANCE = 1e-9
DIFFERENTIABLE = [name for name in CASES if is_differentiable(name)]


def calls(name: str) -> list[tuple[int, str]]:
    """The (variant, kind) of every call of a case."""
    return [(i, kind) for i in range(len(CASES[name].shapes)) for kind in CASES[name].kinds]


# ── the reference backend against the oracles ─────────────────────────────────────────────────


@pytest.mark.parametrize("prim", PRIMITIVES)
def test_every_primitive_has_a_case(prim):
    names = [name for name in CASES if name.split("/")[0] == prim]
    assert names, f"primitive {prim} has no case in tests/op_cases.py"
    case = CASES[names[0]]
    f = tf.function(case.function).get_concrete_function(*inputs(case, 0, case.kinds[0]))
    assert prim in {e.prim.name for e in f.graph.eqns}, f"case {names[0]!r} does not use {prim}"


@pytest.mark.parametrize("name", CASES)
def test_values_agree_with_numpy(name):
    case = CASES[name]
    for variant, kind in calls(name):
        with on("reference"), np.errstate(all="ignore"):
            xs = inputs(case, variant, "d" if kind == "f" else kind)
            actual = [np.asarray(t) for t in results(case.function, xs)]
            outs = case.oracle(OracleNamespace(np), *map(np.asarray, xs))
            value = tree.flatten(outs)[0]
        tolerance = 1e-6 if name == "cast/float32" else 1e-9
        assert_close(actual, value, tolerance, f"{name} of {case.shapes[variant]} {kind}")


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives_agree_with_jax(name):
    with on("reference"):
        xs = [np.asarray(x) for x in inputs(CASES[name], 0, "d")]
        jax_seconds, jax_gradients = jax_derivatives(CASES[name], xs)
    _, gradients, seconds = reference_derivatives(name, 0)
    assert_close(gradients, jax_gradients, JAX_TOLERANCE, f"gradient of {name}")
    assert_close(seconds, jax_seconds, JAX_TOLERANCE, f"second derivative of {name}")


def jax_derivatives(case, xs):
    """Return (second derivatives, gradients) of the loss of a case, in float64."""
    floats = tuple(i for i, x in enumerate(xs) if x.dtype.kind == "f")

    def total(*xs):
        outs = tree.flatten(case.oracle(OracleNamespace(jnp), *xs))[0]
        float_outs = [o for o in outs if o.dtype.kind == "f"]
        return sum((o * o * weights_of(o, 100 + i)).sum() for i, o in enumerate(float_outs))

    def directional(*xs):
        grads = jax.grad(total, floats)(*xs)
        return sum((g * weights_of(g, 200 + i)).sum() for i, g in enumerate(grads)), grads

    return jax.jit(jax.grad(directional, floats, has_aux=True))(*xs)


def weights_of(x, seed: int) -> np.ndarray:
    return np.asarray(weights(x.shape, tf.float64, seed))


@pytest.mark.parametrize("name", [
    name for name in DIFFERENTIABLE if CASES[name].finite_differences])
def test_derivatives_agree_with_finite_differences(name):
    """Central differences of the loss and of its gradient, along one direction of all arguments."""
    case, step = CASES[name], 1e-5
    with on("reference"):
        for variant in range(len(case.shapes)):
            (outs_below, grads_below), (outs_above, grads_above) = (
                gradient(case.function, *shifted(inputs(case, variant, "d"), s))
                for s in (-step, step))
            first = (float(loss(outs_above)) - float(loss(outs_below))) / (2 * step)
            second = (component(grads_above, 200) - component(grads_below, 200)) / (2 * step)
            _, gradients, seconds = reference_derivatives(name, variant)
            label = f"{name} of {case.shapes[variant]}"
            assert component(gradients, 300) == pytest.approx(first, rel=1e-6, abs=1e-6), label
            assert component(seconds, 300) == pytest.approx(second, rel=1e-6, abs=1e-6), label


def shifted(xs, step: float):
    """The arguments, shifted by `step` along the direction of `component(_, 300)`."""
    steps = {id(x): weights(x.shape, x.dtype, 300 + i) * step
             for i, x in enumerate(float_tensors(xs))}
    return [x + steps[id(x)] if id(x) in steps else x for x in xs]


def component(arrays, seed: int) -> float:
    """The component of the arrays along a random direction."""
    return sum(float((np.asarray(a) * weights_of(a, seed + i)).sum())
               for i, a in enumerate(arrays))


# ── every backend against the reference backend ───────────────────────────────────────────────


@pytest.mark.parametrize("mode", ("eager", "around_function"))
@pytest.mark.parametrize("name", CASES)
def test_values(name, mode, backend, fast):
    """All variants and dtypes; with --fast the first of each."""
    case = CASES[name]
    for variant, kind in calls(name)[:1] if fast else calls(name):
        function = case.function if mode == "eager" else tf.function(case.function)
        actual = results(function, inputs(case, variant, kind))
        tolerance = 1e-7 if case.exact or not actual[0].dtype.is_floating else VALUE_TOLERANCE
        label = f"{name} of {case.shapes[variant]} {kind}"
        assert_close(actual, reference_value(name, variant, kind), tolerance, label)


@pytest.mark.slow(on="webgpu")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name, mode, backend):
    """All variants inside a tf.function; the first variant in the other modes."""
    case = CASES[name]
    for variant in range(len(case.shapes) if mode == "function" else 1):
        xs = inputs(case, variant)
        groups = in_mode(mode, derivatives, case.function)(*xs)
        label = f"{name} of {case.shapes[variant]}"
        tolerances = VALUE_TOLERANCE, GRADIENT_TOLERANCE, SECOND_DERIVATIVE_TOLERANCE
        for actual, expected, tolerance in zip(
                groups, reference_derivatives(name, variant), tolerances):
            assert_close(actual, expected, tolerance, label)
