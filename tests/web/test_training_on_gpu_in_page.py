"""Training of the digits example and a GPT in a page: the same losses on webgpu as on wasm.

The GPU is a slow software adapter (SwiftShader), so only the first epochs, and steps of a
small batch, are compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BACKENDS = {"wasm": ("--threads", "2"), "webgpu": ("--backend", "webgpu", "--software-gpu")}

GPT = """
import random
import tensorbrook as tf
import tiny_gpt

tf.random.set_seed(0)
tiny_gpt.BATCH = 8
rng = random.Random(0)
step = tiny_gpt.trainer(tiny_gpt.GPT(), [tiny_gpt.random_sentence(rng) for _ in range(200)])
for _ in range(12):
    print(float(step()))
print(tf.config.get_backend())
"""

pytestmark = pytest.mark.usefixtures("page_build")


def run_in_page(script: Path, backend: str, *arguments: str) -> str:
    """Run a script in a page and return its output."""
    process = subprocess.run(
        [sys.executable, "-m", "tensorbrook", "run", "--page", script, *BACKENDS[backend], "--",
         *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT / "core")}, capture_output=True, text=True,
        timeout=400)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def losses_in(output: str) -> list[float]:
    return [float(line) for line in output.splitlines() if re.fullmatch(r"[\d.e+-]+", line)]


def test_the_digits_example_has_the_same_losses_on_both_backends():
    script = ROOT / "examples" / "digits_cnn.py"
    outputs = [run_in_page(script, backend, "--epochs", "3", "--losses", "-")
               for backend in BACKENDS]
    wasm, webgpu = map(losses_in, outputs)
    assert len(wasm) == len(webgpu) > 60
    np.testing.assert_allclose(webgpu[:30], wasm[:30], rtol=1e-3)
    accuracies = [float(re.search(r"held-out accuracy: ([\d.]+)%", output)[1])
                  for output in outputs]
    assert min(accuracies) > 90 and abs(accuracies[0] - accuracies[1]) <= 1


def test_a_gpt_has_the_same_losses_on_both_backends(tmp_path: Path):
    shutil.copy(ROOT / "examples" / "tiny_gpt.py", tmp_path)
    script = tmp_path / "first_steps.py"
    script.write_text(GPT)
    outputs = [run_in_page(script, backend) for backend in BACKENDS]
    assert [output.split()[-1] for output in outputs] == ["wasm", "webgpu"]
    wasm, webgpu = map(losses_in, outputs)
    np.testing.assert_allclose(webgpu, wasm, rtol=1e-3)
    assert len(wasm) == 12 and webgpu[-1] < webgpu[0] * 0.8
