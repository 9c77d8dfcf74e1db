"""What the table's lines should give: the reference backend in double precision."""
import functools
from collections.abc import Callable

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from op_cases import CASES
from case_evaluation import derivatives, differentiable, inputs, results

# Of the largest element: single precision after as many steps as each measure takes.
VALUE, GRADIENT, CURVATURE = 1e-5, 5e-5, 2e-4


def assert_close(actual, expected, tolerance: float, what: str):
    """Same shapes and dtypes (any floats); each difference small beside the largest element."""
    assert len(actual) == len(expected), what
    for a, e in zip(map(np.asarray, actual), map(np.asarray, expected)):
        assert a.shape == e.shape, f"{what}: shape {a.shape}, expected {e.shape}"
        both = a.dtype.kind + e.dtype.kind
        assert a.dtype == e.dtype or both == "ff", f"{what}: {a.dtype}, expected {e.dtype}"
        finite = np.abs(e[np.isfinite(e)]) if e.dtype.kind == "f" else np.ones(())
        scale = max(1.0, finite.max(initial=0.0))
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * scale, err_msg=what)


def assert_refused(mistake: Callable, message: str, error=tf.errors.InvalidArgumentError):
    """The error says what the message begins with."""
    with pytest.raises(error) as caught:
        mistake()
    assert str(caught.value).startswith(message)


def assert_same_bytes(by_threads: dict[tuple[str, int], list], name: str):
    """A program gives the same on one thread as on two and three."""
    for count in (2, 3):
        for one, more in zip(by_threads[name, 1], by_threads[name, count], strict=True):
            np.testing.assert_array_equal(more, one, err_msg=f"{name} on {count} threads")


@functools.cache
def expected(name: str, variant: int) -> tuple[list, list, list]:
    """What the reference backend gives in double precision."""
    case = CASES[name]
    with on("reference"):
        found = derivatives(case.ours, *inputs(case, variant, "d"))
        return tuple([np.asarray(t) for t in group] for group in found)


@functools.cache
def expected_value(name: str, variant: int, kind: str) -> list:
    if kind == "f" and differentiable(name):
        return expected(name, variant)[0]
    with on("reference"):
        xs = inputs(CASES[name], variant, "d" if kind == "f" else kind)
        return [np.asarray(t) for t in results(CASES[name].ours, xs)]
