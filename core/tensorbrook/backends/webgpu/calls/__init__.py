"""The kernels that templates carry out, by the names and numbers that wasm/engine.h gives them.

`CALLS[name](call, facts)` gives the parts of a Call, which run one after the other.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir import Call
from ..facts import Facts
from ..part import Part
from . import attention, conv, gemm, orders, places, pool, random, sums

CALLS: Mapping[str, Callable[[Call, Facts], list[Part]]] = {
    **gemm.CALLS, **conv.CALLS, **pool.CALLS, **attention.CALLS, **places.CALLS, **orders.CALLS,
    **random.CALLS, **sums.CALLS}
