"""Layer 3: the primitives, and the functions of them that users call."""
from . import (
    attention, kernel_primitives, control_flow, indexing, linalg, math, nn, primitives, random, array_ops)

__all__ = ["array_ops", "attention", "control_flow", "indexing", "kernel_primitives", "linalg", "math", "nn", "primitives",
           "random"]
