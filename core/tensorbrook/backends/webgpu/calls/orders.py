"""Parts for rows in order: sorting, the largest elements, and the passes of long rows.

As in wasm/kernels/sort.c, items are sorted: a place and above it a key whose unsigned order is that
of the numbers, so that no two are equal and any order of items is stable. Short rows are sorted in
a workgroup's own memory, long ones by their digits.
"""
from __future__ import annotations

from ....ir import Atom, Call
from ..facts import Facts
from ..part import Part, Scratch, over, power_above
from ..templates import template
from .invocations import invocations
from .zeros import zeros

LANES = 256              # of a workgroup
BITS = 8                 # of a digit, as in the plan's counts
DIGITS = 1 << BITS
TILE = 1024              # items in a workgroup's memory: 8 KB, so that two of them fit into 16
ITEM_BYTES = 8
# Items that a workgroup counts and places, and into how many such parts a row is cut at most,
# since each lane goes through all of them. Untuned estimates.
PART = 2048
MOST_PARTS = 1024


def sort(call: Call, facts: Facts) -> list[Part]:
    """Whole rows: short ones a tile each."""
    (x,), (values, indices) = call.args, call.outs
    rows, n, floating, descending = call.numbers
    if not rows * n:
        return []
    if n <= TILE:
        return _tiles(x, (values, indices), rows, n, n, floating, descending, facts)
    ordered, parts = in_order(x, rows, n, facts, floating, descending)
    return [*parts, _picked(x, ordered, (values, indices), rows, n, n, facts)]


def top_k(call: Call, facts: Facts) -> list[Part]:
    """Tiles hand on their first k; where these are too many the whole row is sorted."""
    (x,), (values, indices) = call.args, call.outs
    rows, n, k, floating = call.numbers
    if not rows * k:
        return []
    if n <= TILE or 2 * k <= TILE:
        return _tiles(x, (values, indices), rows, n, k, floating, True, facts)
    ordered, parts = in_order(x, rows, n, facts, floating, True)
    return [*parts, _picked(x, ordered, (values, indices), rows, n, k, facts)]


# ── tiles ─────────────────────────────────────────────────────────────────────────────────────


def _tiles(x: Atom, outs, rows: int, n: int, k: int, floating, descending,
           facts: Facts) -> list[Part]:
    """Rounds of tiles, each of which leaves k, until one tile of each row is left."""
    constants = {"ROWS": rows, "N": n, "K": k, "FLOATING": floating, "DESCENDING": descending}
    parts: list[Part] = []
    left, items = n, None
    while True:
        tiles = -(-left // TILE)
        tile = min(TILE, power_above(left))
        span = min(TILE, tile * power_above(rows * tiles))
        first, last = items is None, tiles == 1
        buffers = {"x": x} if first or last else {}
        buffers |= {} if first else {"items": items}
        items = Scratch(ITEM_BYTES * rows * tiles * k)
        buffers |= dict(zip(("values", "places"), outs)) if last else {"out": items}
        code = template("sort_tile", X=first or last, FIRST=first, LAST=last, COUNT=left,
                        TILES=tiles, TILE=tile, SPAN=span, LANES=LANES, **constants)
        parts.append(Part(code, buffers, over(rows * tiles, span // tile, facts.workgroups)))
        if last:
            return parts
        left = tiles * k


def _picked(x: Atom, items: Scratch, outs, rows: int, n: int, k: int, facts: Facts) -> Part:
    buffers = {"x": x, "items": items, **dict(zip(("values", "places"), outs))}
    return invocations("sort_picked", buffers, rows * k, LANES, facts, ROWS=rows, N=n, K=k)


# ── digits ────────────────────────────────────────────────────────────────────────────────────


def in_order(x: Atom, rows: int, n: int, facts: Facts, floating=False, descending=False,
             outside: int = 0) -> tuple[Scratch, list[Part]]:
    """(the items of each row of `x` in order, what puts them there). With `outside` the numbers
    are indices, and all beyond 0 to outside - 1 come last."""
    items, spare = (Scratch(ITEM_BYTES * rows * n) for _ in range(2))
    parts = [_items(x, items, rows, n, floating, descending, facts, outside)]
    cuts = min(MOST_PARTS, -(-n // PART))
    counts = Scratch(4 * DIGITS * rows * cuts)
    bits = outside.bit_length() if outside else 32
    for digit in range(-(-bits // BITS)):
        parts.append(_count(items, counts, rows, n, cuts, digit, facts))
        parts += _place(items, counts, spare, rows, n, cuts, digit, facts)
        items, spare = spare, items
    return items, parts


def _items(x, items, rows, n, floating, descending, facts: Facts, outside: int = 0) -> Part:
    keys = {"INDICES": True, "ROWS": outside} if outside else \
        {"FLOATING": floating, "DESCENDING": descending}
    return invocations("sort_items", {"x": x, "items": items}, rows * n, LANES, facts,
                       COUNT=rows * n, N=n, **keys)


def _count(items, counts, rows, n, parts, digit, facts: Facts) -> Part:
    code = template("sort_count", ROWS=rows, N=n, PARTS=parts, DIGIT=digit, BITS=BITS)
    return Part(code, {"items": items, "counts": counts}, over(rows * parts, 1, facts.workgroups))


def _place(items, counts, out, rows, n, parts, digit, facts: Facts) -> list[Part]:
    starts = Scratch(4 * DIGITS * rows * parts)
    return [Part(template("sort_starts", ROWS=rows, PARTS=parts, BITS=BITS),
                 {"counts": counts, "starts": starts}, over(rows, 1, facts.workgroups)),
            Part(template("sort_place", ROWS=rows, N=n, PARTS=parts, DIGIT=digit, BITS=BITS),
                 {"items": items, "starts": starts, "out": out},
                 over(rows * parts, 1, facts.workgroups))]


# ── the passes of long rows, as the plan has them ─────────────────────────────────────────────


def sort_items(call: Call, facts: Facts) -> list[Part]:
    (x,), (items,) = call.args, call.outs
    rows, n, floating, descending = call.numbers
    return [_items(x, items, rows, n, floating, descending, facts)] if items.spec.count else []


def sort_count(call: Call, facts: Facts) -> list[Part]:
    """Where rows have no items their digits do not occur."""
    (items,), (counts,) = call.args, call.outs
    if not counts.spec.count:
        return []
    rows, n, cuts, digit = call.numbers
    return [_count(items, counts, rows, n, cuts, digit, facts)] if items.spec.count else \
        zeros(counts, facts)


def sort_place(call: Call, facts: Facts) -> list[Part]:
    """By the counts that are there, or by those of more parts where these are long."""
    (items, counts), (out,) = call.args, call.outs
    rows, n, parts, digit = call.numbers
    if not out.spec.count:
        return []
    if n <= parts * PART:
        return _place(items, counts, out, rows, n, parts, digit, facts)
    cuts = min(MOST_PARTS, -(-n // PART))
    finer = Scratch(4 * DIGITS * rows * cuts)
    return [_count(items, finer, rows, n, cuts, digit, facts),
            *_place(items, finer, out, rows, n, cuts, digit, facts)]


CALLS = {"sort": sort, "top_k": top_k, "sort_items": sort_items, "sort_count": sort_count,
         "sort_place": sort_place}
