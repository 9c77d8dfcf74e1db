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


COUNTING = """
import tensorbrook as tf

layers = tf.keras.layers
model = tf.keras.Sequential([tf.keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Dropout(0.5),
                             layers.Flatten(), layers.Dense(10)])
model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
batch = tf.random.normal((32, 8, 8, 1)), tf.random.uniform((32,), 0, 10, tf.int32)
step = model.make_train_function()
step(batch)
before = tf.config.get_counters()
for _ in range(10):
    step(batch)
after = tf.config.get_counters()
print(*(after[name] - before[name] for name in ("host_calls", "programs", "kernels")))
"""


def test_a_training_step_in_a_page_is_one_call_of_the_host(built, tmp_path):
    script = tmp_path / "counting.py"
    script.write_text(COUNTING)
    done = subprocess.run(
        [sys.executable, "-m", "tensorbrook", "run", "--page", script], text=True, timeout=200,
        env=os.environ | {"PYTHONPATH": str(ROOT / "core")}, capture_output=True)
    host_calls, programs, kernels = map(int, done.stdout.split())
    assert (host_calls, programs) == (10, 10) and kernels > 100
