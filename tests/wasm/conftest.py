"""Fixtures: up-to-date engine files, and hosts of the test engine with 1, 2 and 3 threads."""

import subprocess
import sys

import pytest
from kernels import ROOT, Kernels


@pytest.fixture(scope="session")
def engine_files():
    subprocess.run([sys.executable, str(ROOT / "build_scripts" / "engine.py")], check=True)


@pytest.fixture(scope="session")
def engines(engine_files):
    """Return {threads: Kernels}; the tests compare all of them."""
    engines = {threads: Kernels(threads) for threads in (1, 2, 3)}
    yield engines
    for engine in engines.values():
        engine.host.close()
