"""Parts for rows in order: sorting, the largest elements, and the passes of long rows.

As in wasm/kernels/sort.c, items are sorted: a place and above it a key whose unsigned order is that
of the numbers, so that no two are equal and any order of items is stable. Short rows are sorted in
a workgroup's own memory, long ones by their digits.
"""
from __future__ import annotations

from ....ir import Atom, KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch, TemporaryBuffer, grid, next_power_of_two
from ..shader_templates import instantiate
from .elementwise_dispatch import invocations
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


def sort(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Whole rows: short ones a tile each."""
    (x,), (values, indices) = call.args, call.outs
    rows, n, floating, descending = call.params
    if not rows * n:
        return []
    if n <= TILE:
        return _tiles(x, (values, indices), rows, n, n, floating, descending, device_info)
    ordered, parts = radix_sort(x, rows, n, device_info, floating, descending)
    return [*parts, _gather_sorted(x, ordered, (values, indices), rows, n, n, device_info)]


def top_k(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Tiles hand on their first k; where these are too many the whole row is sorted."""
    (x,), (values, indices) = call.args, call.outs
    rows, n, k, floating = call.params
    if not rows * k:
        return []
    if n <= TILE or 2 * k <= TILE:
        return _tiles(x, (values, indices), rows, n, k, floating, True, device_info)
    ordered, parts = radix_sort(x, rows, n, device_info, floating, True)
    return [*parts, _gather_sorted(x, ordered, (values, indices), rows, n, k, device_info)]


# ── tiles ─────────────────────────────────────────────────────────────────────────────────────


def _tiles(x: Atom, outs, rows: int, n: int, k: int, floating, descending,
           device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Rounds of tiles, each of which leaves k, until one tile of each row is left."""
    constants = {"ROWS": rows, "N": n, "K": k, "FLOATING": floating, "DESCENDING": descending}
    parts: list[ShaderDispatch] = []
    left, items = n, None
    while True:
        tiles = -(-left // TILE)
        tile = min(TILE, next_power_of_two(left))
        span = min(TILE, tile * next_power_of_two(rows * tiles))
        first, last = items is None, tiles == 1
        buffers = {"x": x} if first or last else {}
        buffers |= {} if first else {"items": items}
        items = TemporaryBuffer(ITEM_BYTES * rows * tiles * k)
        buffers |= dict(zip(("values", "places"), outs)) if last else {"out": items}
        code = instantiate("bitonic_tile", X=first or last, FIRST=first, LAST=last, COUNT=left,
                        TILES=tiles, TILE=tile, SPAN=span, LANES=LANES, **constants)
        parts.append(ShaderDispatch(code, buffers, grid(rows * tiles, span // tile, device_info.max_workgroups)))
        if last:
            return parts
        left = tiles * k


def _gather_sorted(x: Atom, items: TemporaryBuffer, outs, rows: int, n: int, k: int, device_info: DeviceInfo) -> ShaderDispatch:
    buffers = {"x": x, "items": items, **dict(zip(("values", "places"), outs))}
    return invocations("gather_sorted", buffers, rows * k, LANES, device_info, ROWS=rows, N=n, K=k)


# ── digits ────────────────────────────────────────────────────────────────────────────────────


def radix_sort(x: Atom, rows: int, n: int, device_info: DeviceInfo, floating=False, descending=False,
             num_valid: int = 0) -> tuple[TemporaryBuffer, list[ShaderDispatch]]:
    """(the items of each row of `x` in order, what puts them there). With `outside` the numbers
    are indices, and all beyond 0 to outside - 1 come last."""
    items, spare = (TemporaryBuffer(ITEM_BYTES * rows * n) for _ in range(2))
    parts = [_make_keys(x, items, rows, n, floating, descending, device_info, num_valid)]
    cuts = min(MOST_PARTS, -(-n // PART))
    counts = TemporaryBuffer(4 * DIGITS * rows * cuts)
    bits = num_valid.bit_length() if num_valid else 32
    for digit in range(-(-bits // BITS)):
        parts.append(_histogram(items, counts, rows, n, cuts, digit, device_info))
        parts += _radix_scatter(items, counts, spare, rows, n, cuts, digit, device_info)
        items, spare = spare, items
    return items, parts


def _make_keys(x, items, rows, n, floating, descending, device_info: DeviceInfo, num_valid: int = 0) -> ShaderDispatch:
    keys = {"INDICES": True, "ROWS": num_valid} if num_valid else \
        {"FLOATING": floating, "DESCENDING": descending}
    return invocations("radix_keys", {"x": x, "items": items}, rows * n, LANES, device_info,
                       COUNT=rows * n, N=n, **keys)


def _histogram(items, counts, rows, n, parts, digit, device_info: DeviceInfo) -> ShaderDispatch:
    code = instantiate("radix_histogram", ROWS=rows, N=n, PARTS=parts, DIGIT=digit, BITS=BITS)
    return ShaderDispatch(code, {"items": items, "counts": counts}, grid(rows * parts, 1, device_info.max_workgroups))


def _radix_scatter(items, counts, out, rows, n, parts, digit, device_info: DeviceInfo) -> list[ShaderDispatch]:
    starts = TemporaryBuffer(4 * DIGITS * rows * parts)
    return [ShaderDispatch(instantiate("radix_offsets", ROWS=rows, PARTS=parts, BITS=BITS),
                 {"counts": counts, "starts": starts}, grid(rows, 1, device_info.max_workgroups)),
            ShaderDispatch(instantiate("radix_scatter", ROWS=rows, N=n, PARTS=parts, DIGIT=digit, BITS=BITS),
                 {"items": items, "starts": starts, "out": out},
                 grid(rows * parts, 1, device_info.max_workgroups))]


# ── the passes of long rows, as the plan has them ─────────────────────────────────────────────


def radix_keys(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    (x,), (items,) = call.args, call.outs
    rows, n, floating, descending = call.params
    return [_make_keys(x, items, rows, n, floating, descending, device_info)] if items.spec.count else []


def radix_histogram(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Where rows have no items their digits do not occur."""
    (items,), (counts,) = call.args, call.outs
    if not counts.spec.count:
        return []
    rows, n, cuts, digit = call.params
    return [_histogram(items, counts, rows, n, cuts, digit, device_info)] if items.spec.count else \
        zeros(counts, device_info)


def radix_scatter(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """By the counts that are there, or by those of more parts where these are long."""
    (items, counts), (out,) = call.args, call.outs
    rows, n, parts, digit = call.params
    if not out.spec.count:
        return []
    if n <= parts * PART:
        return _radix_scatter(items, counts, out, rows, n, parts, digit, device_info)
    cuts = min(MOST_PARTS, -(-n // PART))
    finer = TemporaryBuffer(4 * DIGITS * rows * cuts)
    return [_histogram(items, finer, rows, n, cuts, digit, device_info),
            *_radix_scatter(items, finer, out, rows, n, cuts, digit, device_info)]


KERNELS = {"sort": sort, "top_k": top_k, "radix_keys": radix_keys, "radix_histogram": radix_histogram,
         "radix_scatter": radix_scatter}
