"""Fixtures: up-to-date engine files, and hosts of the test engines with 1, 2 and 3 threads."""

import subprocess
import sys

import pytest
from kernels import ENGINE, ROOT, SIMD_ENGINE, Kernels


@pytest.fixture(scope="session")
def engine_files():
    subprocess.run([sys.executable, str(ROOT / "build_scripts" / "engine.py")], check=True)


@pytest.fixture(scope="session", params=[True, False], ids=["relaxed", "simd"])
def engines(request, engine_files):
    """Return {threads: Kernels} with or without relaxed SIMD; the tests compare all of them."""
    relaxed = request.param
    engine = ENGINE if relaxed else SIMD_ENGINE
    engines = {threads: Kernels(threads, engine, relaxed) for threads in (1, 2, 3)}
    yield engines
    for engine in engines.values():
        engine.host.close()
