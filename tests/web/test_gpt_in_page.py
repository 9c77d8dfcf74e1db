"""A GPT learns in a page, with the same numbers as on a desktop."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def losses(*options: str) -> list[float]:
    """What each fiftieth step of the example tells."""
    command = [sys.executable, "-m", "tensorbrook", "run", ROOT / "examples" / "tiny_gpt.py"]
    done = subprocess.run([*command, "--threads", "2", *options, "--", "--steps", "100"],
                          env=os.environ | {"PYTHONPATH": str(ROOT / "core")},
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return [float(bits) for bits in re.findall(r"step \d+: ([\d.]+) bits", done.stdout)]


def test_a_page_has_the_losses_of_a_desktop(built):
    there, here = losses("--page"), losses()
    assert len(here) == len(there) == 2 and here[1] < 0.6
    assert there[0] == pytest.approx(here[0], rel=0.02)
