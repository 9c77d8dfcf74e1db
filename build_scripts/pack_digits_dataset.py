"""Pack scikit-learn's 1,797 handwritten digits into the package's data file.

    pip install scikit-learn && python build_scripts/pack_digits_dataset.py

The file is one zlib stream: the labels, one byte each, then the images, 64 bytes each, in row-major
order with values from 0 to 16. The training images precede the held-out images, which are the last
36 of each digit after a shuffle with a fixed seed, so that both sets contain all digits.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path

from sklearn.datasets import load_digits

OUT = Path(__file__).resolve().parents[1] / "core/tensorbrook/keras/datasets/digits.zlib"
HELD_OUT_PER_DIGIT = 36


def split(labels: list[int]) -> list[int]:
    """The indices of the training images, followed by those of the held-out images."""
    shuffled = list(range(len(labels)))
    random.Random(0).shuffle(shuffled)
    by_digit = [[i for i in shuffled if labels[i] == digit] for digit in range(10)]
    held_out = {i for indices in by_digit for i in indices[-HELD_OUT_PER_DIGIT:]}
    return sorted(shuffled, key=lambda i: i in held_out)


def main() -> None:
    digits = load_digits()
    labels = [int(label) for label in digits.target]
    order = split(labels)
    pixels = digits.images.astype("uint8")[order].tobytes()
    packed = zlib.compress(bytes(labels[i] for i in order) + pixels, 9)
    OUT.write_bytes(packed)
    print(f"{OUT.name}: {len(order)} digits in {len(packed)} bytes")


if __name__ == "__main__":
    main()
