"""The examples run unchanged and reach their documented accuracies."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name, *options):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "core"), "PYTHONWARNINGS": "error",
                                "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run([sys.executable, str(ROOT / "examples" / name), *options], text=True,
                            capture_output=True, env=environment, timeout=120, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name, pattern, minimum", [
    ("fit_line.py", r"y = ([\d.]+) x", 2.95),
    ("digits_mlp.py", r"held-out accuracy: ([\d.]+)%", 96.0),
    ("custom_loop.py", r"epoch 10: .* held-out accuracy ([\d.]+)%", 95.0),
    ("digits_cnn.py", r"held-out accuracy: ([\d.]+)%", 98.0),
    ("tiny_gpt.py", r"grammatical sentences: ([\d.]+)%", 88.0),
])
def test_an_example_reaches_its_result(name, pattern, minimum):
    match = re.search(pattern, run(name))
    assert match
    assert float(match[1]) >= minimum


def test_every_example_has_a_test():
    assert [path.name for path in EXAMPLES] == [
        "custom_loop.py", "digits_cnn.py", "digits_mlp.py", "fit_line.py", "tiny_gpt.py"]


def test_a_seed_determines_the_losses(tmp_path):
    files = [tmp_path / name for name in ("first", "second", "other")]
    for path, seed in zip(files, "774"):
        run("digits_cnn.py", "--epochs", "1", "--seed", seed, "--losses", str(path))
    first, second, other = (path.read_text().split() for path in files)
    assert len(first) == 23
    assert first == second != other
    assert float(first[-1]) < float(first[0])
