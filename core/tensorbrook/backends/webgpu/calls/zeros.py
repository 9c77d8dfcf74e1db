"""The part for kernels that have nothing to read."""
from __future__ import annotations

from ....ir import Var
from ..facts import Facts
from ..part import WGSL_TYPES, Part
from .invocations import invocations

LANES = 256              # of a workgroup


def zeros(out: Var, facts: Facts) -> list[Part]:
    """A result of zeros."""
    count, element = out.spec.count, WGSL_TYPES[out.spec.dtype.name]
    return [invocations("zeros", {"out": out}, count, LANES, facts, element=element, COUNT=count,
                        WIDTH=count)]
