"""Parts for random bits."""
from __future__ import annotations

from ....ir import Call
from ..facts import Facts
from ..part import Part, over
from ..templates import template

LANES = 256              # blocks of four words that a workgroup of random_bits.wgsl makes


def random_bits(call: Call, facts: Facts) -> list[Part]:
    """The same bits as everywhere."""
    (state,), (out,) = call.args, call.outs
    if not out.spec.count:
        return []
    return [Part(template("random_bits", COUNT=out.spec.count), {"state": state, "out": out},
                 over(-(-out.spec.count // 4), LANES, facts.workgroups))]


CALLS = {"random_bits": random_bits}
