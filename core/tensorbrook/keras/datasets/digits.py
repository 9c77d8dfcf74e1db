"""The 1,797 handwritten digits of UCI: 8 by 8 pixels each, real, and small enough to carry."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from ...tensor import as_tensor
from ..data_conversion import to_numpy

FILE = Path(__file__).with_name("digits.zlib")
COUNT = 1797
TRAIN = 1437  # the file holds these first, then the 360 held out: 36 of each digit
SIDE = 8
BRIGHTEST = 16

# What each byte of the file becomes: a shade in 0..1 as float32, or itself as int32.
_SHADES = [struct.pack("f", byte / BRIGHTEST) for byte in range(256)]
_ITSELF = [struct.pack("i", byte) for byte in range(256)]


def load_data() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """`(x_train, y_train), (x_test, y_test)`: images (n, 8, 8, 1) in 0..1, labels int32.

    >>> (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    >>> x_train.shape, x_test.shape
    ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    content = zlib.decompress(FILE.read_bytes())
    labels, pixels = content[:COUNT], content[COUNT:]
    return part(labels, pixels, 0, TRAIN), part(labels, pixels, TRAIN, COUNT)


def part(labels: bytes, pixels: bytes, start: int, stop: int) -> tuple[Any, Any]:
    """The images and labels from one index to another, as arrays."""
    area = SIDE * SIDE
    shades = _spread(pixels[start * area:stop * area], _SHADES)
    images = shades.cast("f", (stop - start, SIDE, SIDE, 1))
    numbers = _spread(labels[start:stop], _ITSELF).cast("i")
    return to_numpy(as_tensor(images)), to_numpy(as_tensor(numbers))


def _spread(content: bytes, table: list[bytes]) -> memoryview[Any]:
    """The four bytes that `table` has for each byte, side by side; byte by byte in Python would
    keep a page waiting for a tenth of a second."""
    out = bytearray(4 * len(content))
    for place in range(4):
        out[place::4] = content.translate(bytes(table[byte][place] for byte in range(256)))
    return memoryview(out)
