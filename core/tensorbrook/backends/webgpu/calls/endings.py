"""How products end: in pieces that are summed up, or whole, and then in what follows them."""
from __future__ import annotations

from ....ir import Call
from ..facts import Facts
from ..loops import with_epilogue
from ..part import WGSL_TYPES, Part, Scratch, over
from ..templates import template

SUMMED = 16                          # elements of a workgroup of sum_pieces.wgsl
ZEROS = 256                          # and of zeros.wgsl


def element_of(call: Call) -> str:
    return WGSL_TYPES[call.outs[0].spec.dtype.name]


def last(call: Call, name: str, buffers: dict, groups, **constants) -> Part:
    """The part that writes the result, and carries out what follows it."""
    code = template(name, element=element_of(call), **constants)
    code, more = with_epilogue(code, call)
    return Part(code, buffers | {"out": call.outs[0]} | more, groups)


def summed(call: Call, facts: Facts, pieces: int, name: str, names, groups,
           **constants) -> list[Part]:
    """A part that reads the call's arguments by these names; if it makes several pieces, which are
    float32, then their sum."""
    out, = call.outs
    args = dict(zip(names, call.args))
    if pieces == 1:
        return [last(call, name, args, groups, sum_type=element_of(call), PARTS=1, **constants)]
    between = Scratch(4 * pieces * out.spec.count)
    code = template(name, element=element_of(call), sum_type="f32", PARTS=pieces, **constants)
    return [Part(code, args | {"out": between}, groups),
            last(call, "sum_pieces", {"pieces": between},
                 over(out.spec.count, SUMMED, facts.workgroups), PARTS=pieces,
                 COUNT=out.spec.count, WIDTH=call.rectangle[1])]


def zeros(call: Call, facts: Facts) -> list[Part]:
    """There is nothing to add up."""
    count, width = call.outs[0].spec.count, call.rectangle[1]
    groups = over(count, ZEROS, facts.workgroups)
    return [last(call, "zeros", {}, groups, COUNT=count, WIDTH=width)] if count else []
