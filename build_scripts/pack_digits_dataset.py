"""Pack scikit-learn's 1,797 handwritten digits into the package's data file.

    pip install scikit-learn && python build_scripts/pack_digits_dataset.py

The file is one zlib stream: the labels, one byte each, then the images, 64 bytes each, row by row,
with values from 0 to 16. The images to learn from come first, then the held-out ones: the last
36 of each digit after a shuffle with a fixed seed, so that both parts hold all digits.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path

from sklearn.datasets import load_digits

OUT = Path(__file__).resolve().parents[1] / "core/tensorbrook/keras/datasets/digits.zlib"
TEST_OF_EACH = 36


def order(labels: list[int]) -> list[int]:
    """The indices of the training images, then those of the held-out ones."""
    shuffled = list(range(len(labels)))
    random.Random(0).shuffle(shuffled)
    of_each = [[i for i in shuffled if labels[i] == digit] for digit in range(10)]
    held_out = {i for indices in of_each for i in indices[-TEST_OF_EACH:]}
    return sorted(shuffled, key=lambda i: i in held_out)


def main() -> None:
    digits = load_digits()
    labels = [int(label) for label in digits.target]
    chosen = order(labels)
    pixels = digits.images.astype("uint8")[chosen].tobytes()
    packed = zlib.compress(bytes(labels[i] for i in chosen) + pixels, 9)
    OUT.write_bytes(packed)
    print(f"{OUT.name}: {len(chosen)} digits in {len(packed)} bytes")


if __name__ == "__main__":
    main()
