"""Assertions about results and errors, and the reference results of the op cases."""
import functools
from collections.abc import Callable

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from op_cases import CASES
from case_evaluation import derivatives, inputs, is_differentiable, results

# Relative to the largest element: float32 rounding errors grow with the length of the computation.
VALUE_TOLERANCE, GRADIENT_TOLERANCE, SECOND_DERIVATIVE_TOLERANCE = 1e-5, 5e-5, 2e-4


def assert_close(actual, expected, tolerance: float, label: str):
    """Equal shapes, equal or floating-point dtypes, and errors relative to the largest element."""
    assert len(actual) == len(expected), label
    for a, e in zip(map(np.asarray, actual), map(np.asarray, expected)):
        assert a.shape == e.shape, f"{label}: shape {a.shape}, expected {e.shape}"
        kinds = a.dtype.kind + e.dtype.kind
        assert a.dtype == e.dtype or kinds == "ff", f"{label}: {a.dtype}, expected {e.dtype}"
        finite = np.abs(e[np.isfinite(e)]) if e.dtype.kind == "f" else np.ones(())
        scale = max(1.0, finite.max(initial=0.0))
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * scale, err_msg=label)


def assert_raises_message(call: Callable, message: str, error=tf.errors.InvalidArgumentError):
    """`call` raises an error whose text begins with `message`."""
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value).startswith(message)


def assert_independent_of_threads(results_by_threads: dict[tuple[str, int], list], name: str):
    """A program has the same results, to the last bit, on 1, 2 and 3 threads."""
    for count in (2, 3):
        pairs = zip(results_by_threads[name, count], results_by_threads[name, 1], strict=True)
        for actual, expected in pairs:
            np.testing.assert_array_equal(actual, expected, err_msg=f"{name} on {count} threads")


@functools.cache
def reference_derivatives(name: str, variant: int) -> tuple[list, list, list]:
    """`case_evaluation.derivatives` of a case on the reference backend, in float64."""
    case = CASES[name]
    with on("reference"):
        groups = derivatives(case.function, *inputs(case, variant, "d"))
        return tuple([np.asarray(t) for t in group] for group in groups)


@functools.cache
def reference_value(name: str, variant: int, kind: str) -> list:
    """The results of a case on the reference backend, in float64 where they are floating point."""
    if kind == "f" and is_differentiable(name):
        return reference_derivatives(name, variant)[0]
    with on("reference"):
        xs = inputs(CASES[name], variant, "d" if kind == "f" else kind)
        return [np.asarray(t) for t in results(CASES[name].function, xs)]
