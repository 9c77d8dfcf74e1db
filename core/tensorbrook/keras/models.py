"""Models: `tf.keras.models.Sequential`, and `Model` to derive from."""

from .model import Model
from .sequential import Sequential

__all__ = ["Model", "Sequential"]
