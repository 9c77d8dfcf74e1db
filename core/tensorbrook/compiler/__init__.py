"""Layer 4: pure passes over plain data, Graph -> Graph -> Kernels -> Plan."""
from .loop_fusion import fuse
from .float16_lowering import uses_float16, lower_float16
from .planner import build_plan
from .simplify import simplify

__all__ = ["fuse", "uses_float16", "build_plan", "simplify", "lower_float16"]
