"""The table of operations in a page: the same bytes run there, so the same numbers come out."""
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
from assertions import CURVATURE, GRADIENT, VALUE, assert_close, expected, expected_value

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "core"


# How each backend is had, and how many shapes of a line are taken: the processor that plays the GPU
# compiles every shader for itself, about one a shape, so the first and the last have to do.
ON = {"wasm": (["--threads", "2"], "all"),
      "webgpu": (["--backend", "webgpu", "--software-gpu"], "few")}


@pytest.fixture(scope="module", params=ON)
def found(request, built, tmp_path_factory) -> dict:
    """What the page computed of every line, on a backend."""
    options, shapes = ON[request.param]
    folder = tmp_path_factory.mktemp("table")
    table = HERE.parent.glob("case*.py")
    for path in (HERE / "table_in_page.py", *table, HERE.parent / "measures.py"):
        shutil.copy(path, folder)
    command = [sys.executable, "-m", "tensorbrook", "run", folder / "table_in_page.py"]
    done = subprocess.run(
        [*command, "--page", *options, "--", shapes],
        env=os.environ | {"PYTHONPATH": str(CORE)}, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    computed = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert computed["about"]["backend"] == request.param
    return computed


def arrays(tensors) -> list[np.ndarray]:
    return [np.array(elements, dtype).reshape(shape) for dtype, shape, elements in tensors]


def test_it_ran_on_threads_where_there_are_any(found):
    about = found["about"]
    assert about["threads"] == (2 if about["backend"] == "wasm" else 1)


@pytest.mark.parametrize("name", CASES)
def test_line(name, found):
    case = CASES[name]
    for variant, kind, tensors in found[name]["values"]:
        what = f"{name} of {case.shapes[variant]} {kind}"
        tolerance = 1e-7 if case.exact or tensors[0][0] != "float32" else VALUE
        assert_close(arrays(tensors), expected_value(name, variant, kind), tolerance, what)
    for variant, *groups in found[name]["slopes"]:
        what = f"{name} of {case.shapes[variant]}"
        for tensors, right, tolerance in zip(groups, expected(name, variant),
                                             (VALUE, GRADIENT, CURVATURE)):
            assert_close(arrays(tensors), right, tolerance, what)
