"""Layer 3: gradients, by walking what was recorded from last to first."""
from .tape import GradientTape, UnconnectedGradients

__all__ = ["GradientTape", "UnconnectedGradients"]
