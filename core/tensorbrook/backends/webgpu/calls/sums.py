"""Parts for sums along the way."""
from __future__ import annotations

from ....ir import Call
from ..facts import Facts
from ..part import Part, Scratch, over
from ..templates import template
from .invocations import invocations

# Lanes of a workgroup where each takes a line, and where they share one; of a block each then takes
# so many elements.
LINE_LANES = 64
LANES = 256
EACH = 8
BLOCK = LANES * EACH
# Lines that are as short, or as many, are gone along by an invocation each. Untuned estimates.
SHORT = 32
MANY = 1 << 13


def cumsum(call: Call, facts: Facts) -> list[Part]:
    """Along each line by one invocation, or block by block where lines are long and few."""
    (x,), (out,) = call.args, call.outs
    if not out.spec.count:
        return []
    outer, n, inner, exclusive, reverse = call.numbers
    floating = out.spec.dtype.is_floating
    return _along(x, out, outer, n, inner, exclusive, reverse, floating, facts)


def _along(x, out, outer, n, inner, exclusive, reverse, floating, facts: Facts) -> list[Part]:
    flags = {"element": "f32" if floating else "i32", "OUTER": outer, "N": n, "INNER": inner,
             "EXCLUSIVE": bool(exclusive), "REVERSE": bool(reverse)}
    lines = outer * inner
    if n <= SHORT or lines >= MANY:
        return [invocations("cumsum", {"x": x, "out": out}, lines, LINE_LANES, facts, **flags)]
    blocks = -(-n // BLOCK)
    flags |= {"BLOCKS": blocks, "MORE": blocks > 1, "LANES": LANES, "EACH": EACH}
    groups = over(lines * blocks, 1, facts.workgroups)
    parts: list[Part] = []
    buffers = {"x": x, "out": out}
    if blocks > 1:
        sums, before = (Scratch(4 * lines * blocks) for _ in range(2))
        code = template("cumsum_blocks", SUMS=True, **flags)
        parts.append(Part(code, {"x": x, "out": sums}, groups))
        parts += _along(sums, before, lines, blocks, 1, True, False, floating, facts)
        buffers |= {"before": before}
    return [*parts, Part(template("cumsum_blocks", **flags), buffers, groups)]


CALLS = {"cumsum_f32": cumsum, "cumsum_i32": cumsum}
