"""Layer 3: automatic differentiation in reverse mode."""
from .tape import GradientTape, UnconnectedGradients

__all__ = ["GradientTape", "UnconnectedGradients"]
