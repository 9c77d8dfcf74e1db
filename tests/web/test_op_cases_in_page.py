"""The op cases in a page: the page runs the same compiled programs, with the same results."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from op_cases import CASES
from assertions import (
    GRADIENT_TOLERANCE,
    SECOND_DERIVATIVE_TOLERANCE,
    VALUE_TOLERANCE,
    assert_close,
    reference_derivatives,
    reference_value,
)

FOLDER = Path(__file__).parent
CORE = FOLDER.parents[1] / "core"

# The options of each backend, and how many shapes of a case it evaluates: a software adapter
# compiles about one shader per shape, which is slow, so it evaluates the first and the last only.
BACKENDS = {"wasm": (["--threads", "2"], "all"),
            "webgpu": (["--backend", "webgpu", "--software-gpu"], "few")}


@pytest.fixture(scope="module", params=BACKENDS)
def page_results(request, page_build, tmp_path_factory) -> dict:
    """The results of every op case in a page on a backend."""
    options, shapes = BACKENDS[request.param]
    folder = tmp_path_factory.mktemp("op_cases")
    cases = FOLDER.parent.glob("op_case*.py")
    for path in (FOLDER / "op_cases_in_page.py", *cases, FOLDER.parent / "case_evaluation.py"):
        shutil.copy(path, folder)
    command = [sys.executable, "-m", "tensorbrook", "run", folder / "op_cases_in_page.py"]
    process = subprocess.run(
        [*command, "--page", *options, "--", shapes],
        env=os.environ | {"PYTHONPATH": str(CORE)}, capture_output=True, text=True, timeout=900)
    assert process.returncode == 0, process.stdout + process.stderr
    computed = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert computed["about"]["backend"] == request.param
    return computed


def arrays(tensors) -> list[np.ndarray]:
    return [np.array(elements, dtype).reshape(shape) for dtype, shape, elements in tensors]


def test_the_thread_count(page_results):
    about = page_results["about"]
    assert about["threads"] == (2 if about["backend"] == "wasm" else 1)


@pytest.mark.parametrize("name", CASES)
def test_op_case(name, page_results):
    case = CASES[name]
    for variant, kind, tensors in page_results[name]["values"]:
        call = f"{name} of {case.shapes[variant]} {kind}"
        tolerance = 1e-7 if case.exact or tensors[0][0] != "float32" else VALUE_TOLERANCE
        assert_close(arrays(tensors), reference_value(name, variant, kind), tolerance, call)
    for variant, *groups in page_results[name]["derivatives"]:
        call = f"{name} of {case.shapes[variant]}"
        tolerances = VALUE_TOLERANCE, GRADIENT_TOLERANCE, SECOND_DERIVATIVE_TOLERANCE
        for tensors, reference, tolerance in zip(
                groups, reference_derivatives(name, variant), tolerances):
            assert_close(arrays(tensors), reference, tolerance, call)
