"""Layer 3: the primitives, and the functions of them that users call."""
from . import (
    attention, contractions, control, index, linalg, math, nn, primitives, random, shape)

__all__ = ["attention", "contractions", "control", "index", "linalg", "math", "nn", "primitives",
           "random", "shape"]
