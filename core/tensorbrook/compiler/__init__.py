"""Layer 4: pure passes over plain data, Graph -> Graph -> Kernels -> Plan."""
from .fuse import fuse
from .halves import has_halves, widened
from .plan import plan
from .simplify import simplify

__all__ = ["fuse", "has_halves", "plan", "simplify", "widened"]
