"""The wheel of `pip install .`: its tag, its contents, and that it works without a checkout."""

import os
import subprocess
import sys
import zipfile

import pytest

import environment
import build
import page_wheel

SERVE = ["-m", "tensorbrook", "studio", "--port", "0", "--no-browser"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel with pip, whose build hook rebuilds only what has changed."""
    folder = tmp_path_factory.mktemp("dist")
    environment.check(
        environment.run_quietly(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir",
                                folder, "--no-build-isolation", environment.ROOT),
        "pip could not build the wheel")
    (path,) = folder.iterdir()
    return path


def test_the_wheel_is_universal(wheel):
    assert wheel.name == f"tensorbrook-{page_wheel.version()}-py3-none-any.whl"


def test_the_wheel_contains_engine_runtime_and_studio(wheel):
    names = {name.removeprefix("tensorbrook/") for name in zipfile.ZipFile(wheel).namelist()}
    assert {f"backends/wasm/engine/{name}" for name in build.ENGINES} <= names
    assert {f"studio/static/engine/{name}" for name in build.ENGINES} <= names
    pyodide = (*build.PYODIDE, "python.snapshot")
    assert {f"studio/static/pyodide/{name}" for name in pyodide} <= names
    assert {"studio/static/index.html", "studio/static/run.html",
            "studio/static/tensorbrook.whl", "studio/static/THIRD_PARTY.txt",
            "keras/datasets/digits.zlib"} <= names
    assert page_wheel.NATIVE_ONLY <= names


def test_the_wheel_contains_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"tensorbrook", f"tensorbrook-{page_wheel.version()}.dist-info"}
    assert [n for n in names if n.endswith((".pyc", ".inputs")) or "test" in n.split("/")[-1]] == []


def test_the_installed_wheel_serves_the_studio(wheel, tmp_path):
    environment.check(
        environment.run_quietly(sys.executable, "-m", "pip", "install", "--no-deps", "--no-index",
                                "--target", tmp_path, wheel), "pip could not install the wheel")
    process = subprocess.Popen([sys.executable, *SERVE], stdout=subprocess.PIPE, text=True,
                               cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    with process:
        line = process.stdout.readline()
        process.terminate()
    assert line.startswith("Tensorbrook Studio: http://127.0.0.1:")
