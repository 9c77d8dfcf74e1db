"""Parts for reading and adding at places: gather and scatter-add."""
from __future__ import annotations

from ....ir import Call
from ..facts import Facts
from ..part import Part, Scratch, over
from ..templates import template
from .orders import in_order
from .zeros import zeros

LANES = 256
# Up to so many rows, or looks at an index in all, each element of a scatter looks through all
# indices; beyond they are put in order first. Untuned estimates.
FEW_ROWS = 32
FEW_LOOKS = 1 << 22
# Of so many updates or looks of one element a lane takes a part of its own. An untuned estimate.
LOOKS_OF_A_LANE = 32


def gather(call: Call, facts: Facts) -> list[Part]:
    """Rows by their indices, in vectors where rows are made of whole ones."""
    (x, indices), (out,) = call.args, call.outs
    outer, rows, count, inner_bytes = call.numbers
    inner, half = inner_bytes // x.spec.dtype.size, x.spec.dtype.name == "float16"
    if not out.spec.count:
        return []
    if not rows:
        return zeros(out, facts)
    # What is both rows and indices has elements of one kind.
    wide = not half and inner % 4 == 0 and x is not indices
    code = template("gather", element="f16" if half else "vec4u" if wide else "u32", OUTER=outer,
                    ROWS=rows, COUNT=count, INNER=inner // 4 if wide else inner)
    elements = out.spec.count // (4 if wide else 1)
    return [Part(code, {"x": x, "indices": indices, "out": out},
                 over(elements, LANES, facts.workgroups))]


def scatter_add(call: Call, facts: Facts) -> list[Part]:
    """Each element of the result adds up what is its own, in a fixed order: no atomic sums."""
    (_, indices), (out,) = call.args, call.outs
    rows, count, inner = call.numbers
    if not out.spec.count:
        return []
    if not count:
        return zeros(out, facts)
    if rows <= FEW_ROWS or rows * count * inner <= FEW_LOOKS:
        return [_sums(call, {"indices": indices}, count, facts)]
    ordered, parts = in_order(indices, 1, count, facts, outside=rows)
    starts = Scratch(4 * (rows + 1))
    code = template("scatter_starts", ROWS=rows, COUNT=count)
    parts.append(Part(code, {"items": ordered, "starts": starts},
                      over(rows + 1, LANES, facts.workgroups)))
    looks = -(-count // rows)
    return [*parts, _sums(call, {"items": ordered, "starts": starts}, looks, facts)]


def _sums(call: Call, by: dict, looks: int, facts: Facts) -> Part:
    """The part that adds up; each element meets about so many updates or indices."""
    (updates, _), (out,) = call.args, call.outs
    rows, count, inner = call.numbers
    wide, letter = inner % 4 == 0, "f" if updates.spec.dtype.is_floating else "i"
    share = _power_of_two(min(LANES, max(1, looks // LOOKS_OF_A_LANE)))
    code = template("scatter_add", element=f"vec4{letter}" if wide else f"{letter}32",
                    SORTED="starts" in by, SHARED=share > 1, ROWS=rows, COUNT=count,
                    INNER=inner // 4 if wide else inner, SHARE=share)
    elements = rows * inner // (4 if wide else 1)
    return Part(code, {"updates": updates, **by, "out": out},
                over(elements * share, LANES, facts.workgroups))


def _power_of_two(n: int) -> int:
    """The greatest that is not above n."""
    return 1 << n.bit_length() - 1


CALLS = {"gather": gather, "scatter_add_f32": scatter_add, "scatter_add_i32": scatter_add}
