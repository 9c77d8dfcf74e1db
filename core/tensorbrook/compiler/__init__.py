"""Layer 4: pure passes over plain data, from a graph to kernels to a plan. See pipeline.py."""
from .graph.float16_lowering import uses_float16
from .pipeline import lower, lower_to_kernels, optimize

__all__ = ["lower", "lower_to_kernels", "optimize", "uses_float16"]
