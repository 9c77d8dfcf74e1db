"""Lint and types of the Python sources, as tests, so that one closing line counts everything."""

import subprocess
import sys

import environment
import node


def test_lint():
    done = environment.run_quietly(sys.executable, "-m", "ruff", "check", environment.ROOT)
    assert done.returncode == 0, done.stdout


def test_types():
    pyright = node.WEB / "node_modules" / "pyright" / "index.js"
    done = subprocess.run([node.find().node, pyright, "--project", environment.ROOT],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
