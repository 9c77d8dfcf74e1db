"""Data sets bundled with the package: `tf.keras.datasets.digits.load_data()`."""

from . import digits

__all__ = ["digits"]
