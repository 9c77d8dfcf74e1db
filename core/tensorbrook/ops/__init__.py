"""Layer 3: the primitives, and the public operations composed of primitives."""
from . import (
    array_ops, attention, control_flow, indexing, kernel_primitives, linalg, math, nn, primitives,
    random)

__all__ = ["array_ops", "attention", "control_flow", "indexing", "kernel_primitives", "linalg",
           "math", "nn", "primitives", "random"]
