"""The digits and a GPT learn in a page on backend webgpu, with the losses they have on wasm.

The processor plays the GPU here (SwiftShader), so only the first epochs and steps are taken; they
show whether the whole would go the same way.
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
ON = {"wasm": ("--threads", "2"), "webgpu": ("--backend", "webgpu", "--software-gpu")}

GPT = """
import random
import tensorbrook as tf
import tiny_gpt

tf.random.set_seed(0)
chance = random.Random(0)
step = tiny_gpt.trainer(tiny_gpt.GPT(), [tiny_gpt.written(chance) for _ in range(200)])
for _ in range(12):
    print(float(step()))
print(tf.config.get_backend())
"""

pytestmark = pytest.mark.usefixtures("built")


def printed(script: Path, backend: str, *words: str) -> str:
    """What a script prints in a page."""
    done = subprocess.run(
        [sys.executable, "-m", "tensorbrook", "run", "--page", script, *ON[backend], "--", *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "core")}, capture_output=True, text=True,
        timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def losses(text: str) -> list[float]:
    return [float(line) for line in text.splitlines() if re.fullmatch(r"[\d.e+-]+", line)]


def test_the_digits_are_read_as_well_on_both():
    script = ROOT / "examples" / "digits_cnn.py"
    found = [printed(script, backend, "--epochs", "3", "--losses", "-") for backend in ON]
    wasm, webgpu = map(losses, found)
    assert len(wasm) == len(webgpu) > 60
    np.testing.assert_allclose(webgpu[:30], wasm[:30], rtol=1e-3)
    right = [float(re.search(r"read right: ([\d.]+)%", text)[1]) for text in found]
    assert min(right) > 90 and abs(right[0] - right[1]) <= 1


def test_a_gpt_has_the_same_losses_on_both(tmp_path: Path):
    shutil.copy(ROOT / "examples" / "tiny_gpt.py", tmp_path)
    script = tmp_path / "first_steps.py"
    script.write_text(GPT)
    wasm, webgpu = (printed(script, backend) for backend in ON)
    assert (wasm.split()[-1], webgpu.split()[-1]) == ("wasm", "webgpu")
    np.testing.assert_allclose(losses(webgpu), losses(wasm), rtol=1e-3)
    assert len(losses(wasm)) == 12 and losses(webgpu)[-1] < losses(webgpu)[0] * 0.8
