"""The test engine, built if it is out of date, with one host for each number of threads."""

import subprocess
import sys

import pytest
from kernels import ROOT, Kernels


@pytest.fixture(scope="session")
def built():
    subprocess.run([sys.executable, str(ROOT / "build_scripts" / "engine.py")], check=True)


@pytest.fixture(scope="session")
def engines(built):
    """threads -> Kernels; every test compares all of them."""
    made = {threads: Kernels(threads) for threads in (1, 2, 3)}
    yield made
    for kernels in made.values():
        kernels.host.close()
