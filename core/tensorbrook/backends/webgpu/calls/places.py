"""Parts for reading and adding at places: gather and scatter-add."""
from __future__ import annotations

from ....ir import Call
from ..facts import Facts
from ..part import Part, Scratch, over, power_above, power_below
from ..templates import template
from .invocations import invocations
from .orders import in_order
from .zeros import zeros

LANES = 256              # of a workgroup
# Up to so many rows, or looks at an index in all, each element of a scatter looks through all
# indices; beyond they are put in order first. Untuned estimates.
FEW_ROWS = 32
FEW_LOOKS = 1 << 22
# So many looks of one element each lane takes at least. An untuned estimate.
LOOKS_OF_A_LANE = 32
# Rows of more updates than LONG are shared by lanes, STRIP columns by a workgroup: in padded texts
# most indices are the same. Untuned estimates.
LONG = 64
STRIP = 16


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
    return [invocations("gather", {"x": x, "indices": indices, "out": out},
                        out.spec.count // (4 if wide else 1), LANES, facts,
                        element="f16" if half else "vec4u" if wide else "u32", OUTER=outer,
                        ROWS=rows, COUNT=count, INNER=inner // 4 if wide else inner)]


def scatter_add(call: Call, facts: Facts) -> list[Part]:
    """Each element of the result adds up what is its own, in a fixed order: no atomic sums."""
    (_, indices), (out,) = call.args, call.outs
    rows, count, inner = call.numbers
    if not out.spec.count:
        return []
    if not count:
        return zeros(out, facts)
    if rows <= FEW_ROWS or rows * count * inner <= FEW_LOOKS:
        return [_looked_for(call, facts)]
    items, parts = in_order(indices, 1, count, facts, outside=rows)
    starts = Scratch(4 * (rows + 1))
    ordered = {"items": items, "starts": starts}
    return [*parts, invocations("scatter_starts", ordered, rows + 1, LANES, facts, ROWS=rows,
                                COUNT=count), *_summed(call, ordered, facts)]


def _elements(call: Call) -> tuple[str, int]:
    """The type of what is added up at once, a vector where rows are made of whole ones, and how
    many of it make a row."""
    letter = "f" if call.outs[0].spec.dtype.is_floating else "i"
    inner = call.numbers[2]
    return (f"{letter}32", inner) if inner % 4 else (f"vec4{letter}", inner // 4)


def _looked_for(call: Call, facts: Facts) -> Part:
    """The part in which each element looks through all indices."""
    (updates, indices), (out,) = call.args, call.outs
    rows, count, _ = call.numbers
    element, inner = _elements(call)
    share = power_below(min(LANES, max(1, count // LOOKS_OF_A_LANE)))
    return invocations("scatter_add", {"updates": updates, "indices": indices, "out": out},
                       rows * inner * share, LANES, facts, element=element, SHARED=share > 1,
                       ROWS=rows, COUNT=count, INNER=inner, SHARE=share)


def _summed(call: Call, ordered: dict, facts: Facts) -> list[Part]:
    """The parts that add up items in order: short rows, and, where there may be any, long ones."""
    (updates, _), (out,) = call.args, call.outs
    rows, count, _ = call.numbers
    element, inner = _elements(call)
    buffers = {"updates": updates, **ordered, "out": out}
    constants = {"element": element, "ROWS": rows, "INNER": inner, "LONG": LONG}
    parts = [invocations("scatter_rows", buffers, rows * inner, LANES, facts, **constants)]
    if count > LONG:
        columns = min(STRIP, power_above(inner))
        code = template("scatter_long", COUNT=count, COLUMNS=columns, LANES=LANES, **constants)
        units = -(-count // LONG) * -(-inner // columns)
        parts.append(Part(code, buffers, over(units, 1, facts.workgroups)))
    return parts


CALLS = {"gather": gather, "scatter_add_f32": scatter_add, "scatter_add_i32": scatter_add}
