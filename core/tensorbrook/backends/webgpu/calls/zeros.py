"""The part for kernels that have nothing to read."""
from __future__ import annotations

from ....ir import Var
from ..facts import Facts
from ..part import WGSL_TYPES, Part, over
from ..templates import template

LANES = 256              # those of zeros.wgsl


def zeros(out: Var, facts: Facts) -> list[Part]:
    """A result of zeros."""
    code = template("zeros", element=WGSL_TYPES[out.spec.dtype.name], COUNT=out.spec.count)
    return [Part(code, {"out": out}, over(out.spec.count, LANES, facts.workgroups))]
