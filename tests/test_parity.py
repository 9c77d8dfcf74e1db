"""The same seed trains to the same losses on a GPU as on the processor: within 1e-3 over 50 steps.

The networks are those of the examples. A loss is compared as it stands, not beside its size."""
import runpy
from pathlib import Path

import numpy as np
import pytest

import tensorbrook as tf
from backends import on

EXAMPLES = Path(__file__).parent.parent / "examples"
STEPS, PARITY = 50, 1e-3


def digits() -> list[float]:
    """The convolutional network reads digits; `fit` trains it."""
    example = runpy.run_path(str(EXAMPLES / "digits_cnn.py"))
    (images, labels), _ = tf.keras.datasets.digits.load_data()
    model, told, epochs = example["digit_reader"](), example["StepLosses"](), 5
    count = 64 * STEPS // epochs
    model.fit(images[:count], labels[:count], batch_size=64, epochs=epochs, verbose=0,
              callbacks=[told])
    return told.losses


def sentences() -> list[float]:
    """The small GPT learns a grammar, in a loop of its own."""
    example = runpy.run_path(str(EXAMPLES / "tiny_gpt.py"))
    chance = example["random"].Random(0)
    step = example["trainer"](example["GPT"](), [example["written"](chance) for _ in range(500)])
    return [float(step()) for _ in range(STEPS)]


def losses(train, backend: str) -> np.ndarray:
    with on(backend):
        tf.random.set_seed(0)
        return np.array(train())


@pytest.mark.parametrize("train", [digits, sentences], ids=lambda train: train.__name__)
def test_the_losses_are_those_of_the_processor(train):
    theirs, ours = losses(train, "wasm"), losses(train, "webgpu")
    assert len(theirs) == STEPS and theirs[-1] < 0.7 * theirs[0], "it learns"
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=PARITY)
