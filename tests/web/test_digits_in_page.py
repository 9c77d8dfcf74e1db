"""The purpose of it all: a page learns to read digits, with the same numbers as everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 20          # of training, on two cores, that the page may take to 98 %


def trained(*options: str) -> tuple[list[float], float, float]:
    """(loss of every step, share of held-out digits read right, seconds of training)."""
    command = [sys.executable, "-m", "tensorbrook", "run", ROOT / "examples" / "digits_cnn.py"]
    done = subprocess.run([*command, "--threads", "2", *options, "--", "--losses", "-"],
                          env=os.environ | {"PYTHONPATH": str(ROOT / "core")},
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    losses = [float(line) for line in done.stdout.splitlines() if re.fullmatch(r"[\d.e+-]+", line)]
    result = re.search(r"read right: ([\d.]+)%.* trained ([\d.]+) s", done.stdout)
    assert result, done.stdout
    return losses, float(result[1]), float(result[2])


@pytest.fixture(scope="module")
def in_page(built):
    return trained("--page")


def test_a_page_reads_98_of_100_digits_within_seconds(in_page):
    _, right, seconds = in_page
    assert right >= 98 and seconds <= SECONDS


def test_a_page_has_the_losses_of_a_desktop(in_page):
    here, _, _ = trained()
    there, _, _ = in_page
    assert len(here) == len(there) > 300
    np.testing.assert_allclose(there[:20], here[:20], rtol=1e-4)
