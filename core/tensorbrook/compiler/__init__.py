"""Layer 4: pure passes over plain data, Graph -> Graph -> Kernels -> Plan."""
from .fuse import fuse
from .halves import widened
from .plan import plan
from .simplify import simplify

__all__ = ["fuse", "plan", "simplify", "widened"]
