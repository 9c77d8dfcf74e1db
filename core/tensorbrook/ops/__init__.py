"""Layer 3: the primitives, and the functions of them that users call."""
from . import contractions, index, linalg, math, nn, primitives, random, shape

__all__ = ["contractions", "index", "linalg", "math", "nn", "primitives", "random", "shape"]
