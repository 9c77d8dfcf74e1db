"""How products end: in pieces that are summed up, or whole, and then in what follows them."""
from __future__ import annotations

from ....base.dtypes import float16
from ....ir import Call
from ..facts import Facts
from ..loops import with_epilogue
from ..part import WGSL_TYPES, Part, Scratch, over
from ..templates import template
from .zeros import LANES

# Untuned estimates: invocations that keep a GPU busy, and how many at most share an element, so
# that neighbours still read 64 bytes that follow each other.
BUSY = 1 << 15
SHARING = 16
SECTOR = 8               # elements of 32 bytes, which memory gives at least


def element_of(call: Call) -> str:
    """The type of the result's elements."""
    return WGSL_TYPES[call.outs[0].spec.dtype.name]


def operands(call: Call, first: int = 0) -> dict[str, str | bool]:
    """What the two arguments are in memory and what they are taken as, for templates that include
    pieces/taken.wgsl: argument `first`, and then the other."""
    args = call.args[first], call.args[1 - first]
    loads = call.loads or tuple(a.spec.dtype for a in call.args)
    rounds = [loaded is float16 and a.spec.dtype is not float16
              for a, loaded in zip(args, (loads[first], loads[1 - first]))]
    types = [WGSL_TYPES[a.spec.dtype.name] for a in args]
    found = {"first_type": types[0], "second_type": types[1], "ROUND": any(rounds),
             "ROUND_FIRST": rounds[0], "ROUND_SECOND": rounds[1]}
    return found | ({"half_type": "f16"} if any(rounds) else {})


def last(call: Call, name: str, buffers: dict, groups, **constants) -> Part:
    """The part that writes the result, and carries out what follows it."""
    code, more = with_epilogue(template(name, **constants), call)
    own = {"out": call.outs[0]} if call.kept else {}
    return Part(code, buffers | own | more, groups)


def summed(call: Call, facts: Facts, pieces: int, name: str, names, groups,
           **constants) -> list[Part]:
    """A part that reads the call's arguments by these names; if it makes several pieces, which are
    float32, then their sum."""
    out, = call.outs
    args = dict(zip(names, call.args))
    if pieces == 1:
        return [last(call, name, args, groups, sum_type=element_of(call), PARTS=1, **constants)]
    count = out.spec.count
    between, lines = Scratch(4 * pieces * count), sharing(count, pieces)
    columns = min(256, facts.invocations) // lines
    shuffles = facts.subgroups > 0 and lines > 1
    code = template(name, sum_type="f32", PARTS=pieces, **constants)
    return [Part(code, args | {"out": between}, groups),
            last(call, "sum_pieces", {"pieces": between}, over(count, columns, facts.workgroups),
                 element=element_of(call), PARTS=pieces, COUNT=count, WIDTH=call.rectangle[1],
                 COLUMNS=columns, LINES=lines, BESIDE=SECTOR if shuffles else columns,
                 SUBGROUPS=shuffles)]


def sharing(count: int, pieces: int) -> int:
    """How many invocations add up the pieces of an element."""
    lines = 1
    while count * lines < BUSY and 2 * lines <= min(SHARING, pieces):
        lines *= 2
    return lines


def zeros(call: Call, facts: Facts) -> list[Part]:
    """There is nothing to add up."""
    count, width = call.outs[0].spec.count, call.rectangle[1]
    groups = over(count, LANES, facts.workgroups)
    return [last(call, "zeros", {}, groups, element=element_of(call), COUNT=count,
                 WIDTH=width, LANES=LANES)] if count else []
