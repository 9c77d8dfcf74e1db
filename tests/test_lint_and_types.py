"""Lint and type checks of the Python sources, as tests."""

import subprocess
import sys

import environment
import node


def test_lint():
    result = environment.run_quietly(sys.executable, "-m", "ruff", "check", environment.ROOT)
    assert result.returncode == 0, result.stdout


def test_types():
    pyright = node.WEB / "node_modules" / "pyright" / "index.js"
    result = subprocess.run([node.find().node, pyright, "--project", environment.ROOT],
                          capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
