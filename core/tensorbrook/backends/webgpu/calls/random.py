"""Parts for random bits."""
from __future__ import annotations

from ....ir import Call
from ..facts import Facts
from ..part import Part
from .invocations import invocations

LANES = 256              # blocks of four words that a workgroup makes


def random_bits(call: Call, facts: Facts) -> list[Part]:
    """The same bits as everywhere."""
    (state,), (out,) = call.args, call.outs
    if not out.spec.count:
        return []
    return [invocations("random_bits", {"state": state, "out": out}, -(-out.spec.count // 4),
                        LANES, facts, COUNT=out.spec.count)]


CALLS = {"random_bits": random_bits}
