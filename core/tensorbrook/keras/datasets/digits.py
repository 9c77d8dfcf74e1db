"""Handwritten digits data set of UCI: 1,797 images of 8 x 8 pixels, bundled with the package."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from ...tensor import as_tensor
from ..data_conversion import to_numpy

FILE = Path(__file__).with_name("digits.zlib")
COUNT = 1797
TRAIN = 1437  # training samples, stored first; then 360 test samples, 36 of each digit
SIDE = 8
MAX_PIXEL = 16

# The four bytes of each possible byte of the file: a pixel in 0..1 as float32, a label as int32.
_PIXEL_BYTES = [struct.pack("f", byte / MAX_PIXEL) for byte in range(256)]
_LABEL_BYTES = [struct.pack("i", byte) for byte in range(256)]


def load_data() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return `(x_train, y_train), (x_test, y_test)`.

    Images are float32 (n, 8, 8, 1) in 0..1, labels int32 (n,): NumPy arrays, or Tensors if NumPy
    is not installed. Source: E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49.

    >>> (x_train, y_train), (x_test, y_test) = tf.keras.datasets.digits.load_data()
    >>> x_train.shape, x_test.shape
    ((1437, 8, 8, 1), (360, 8, 8, 1))
    """
    content = zlib.decompress(FILE.read_bytes())
    labels, pixels = content[:COUNT], content[COUNT:]
    return _samples(labels, pixels, 0, TRAIN), _samples(labels, pixels, TRAIN, COUNT)


def _samples(labels: bytes, pixels: bytes, start: int, stop: int) -> tuple[Any, Any]:
    """The images and the labels of samples `start` to `stop`, as arrays."""
    area = SIDE * SIDE
    images = _widen(pixels[start * area:stop * area], _PIXEL_BYTES)
    images = images.cast("f", (stop - start, SIDE, SIDE, 1))
    classes = _widen(labels[start:stop], _LABEL_BYTES).cast("i")
    return to_numpy(as_tensor(images)), to_numpy(as_tensor(classes))


def _widen(content: bytes, table: list[bytes]) -> memoryview[Any]:
    """Replace each byte by its four bytes in `table`.

    A Python loop over the bytes would block a page for a tenth of a second.
    """
    out = bytearray(4 * len(content))
    for i in range(4):
        out[i::4] = content.translate(bytes(table[byte][i] for byte in range(256)))
    return memoryview(out)
