"""The GPT example in a page: the same losses as on a desktop."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def losses(*options: str) -> list[float]:
    """The losses that the example prints every fifty steps."""
    command = [sys.executable, "-m", "tensorbrook", "run", ROOT / "examples" / "tiny_gpt.py"]
    process = subprocess.run([*command, "--threads", "2", *options, "--", "--steps", "100"],
                             env=os.environ | {"PYTHONPATH": str(ROOT / "core")},
                             capture_output=True, text=True, timeout=200)
    assert process.returncode == 0, process.stdout + process.stderr
    return [float(bits) for bits in re.findall(r"step \d+: ([\d.]+) bits", process.stdout)]


def test_a_page_has_the_losses_of_a_desktop(page_build):
    page_losses, native_losses = losses("--page"), losses()
    assert len(native_losses) == len(page_losses) == 2 and native_losses[1] < 0.6
    assert page_losses[0] == pytest.approx(native_losses[0], rel=0.02)
