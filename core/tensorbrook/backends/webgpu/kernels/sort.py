"""Sort and top-k: bitonic sort of short rows in workgroup memory, radix sort of long rows.

As in wasm/kernels/sort.c, the sorted items are pairs of an index and a key. The unsigned order of
the keys is the order of the elements; equal keys are ordered by index. No two items are equal, so
every sort of them is stable.
"""
from __future__ import annotations

from ....ir import Atom, KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch, TemporaryBuffer, grid, next_power_of_two
from ..shader_templates import instantiate
from .elementwise_dispatch import elementwise_dispatch
from .zeros import zeros

LANES = 256              # of a workgroup
BITS = 8                 # of a digit, as in the plan's histograms
DIGITS = 1 << BITS
TILE = 1024              # items in workgroup memory: 8 KB, so that two workgroups fit into 16 KB
ITEM_BYTES = 8
# Items of a chunk, for which one workgroup computes the histogram and scatters, and the maximum
# number of chunks of a row: each lane iterates over all chunks. Heuristics; not tuned on hardware.
ITEMS_PER_CHUNK = 2048
MAX_CHUNKS = 1024


def sort(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    (x,), (values, indices) = call.args, call.outs
    rows, n, floating, descending = call.params
    if not rows * n:
        return []
    if n <= TILE:
        return _bitonic_tiles(x, (values, indices), rows, n, n, floating, descending, device_info)
    items, dispatches = radix_sort(x, rows, n, device_info, floating, descending)
    return [*dispatches, _gather_sorted(x, items, (values, indices), rows, n, n, device_info)]


def top_k(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Reduce tiles to their first k items, or sort the whole row if k is too large for a tile."""
    (x,), (values, indices) = call.args, call.outs
    rows, n, k, floating = call.params
    if not rows * k:
        return []
    if n <= TILE or 2 * k <= TILE:
        return _bitonic_tiles(x, (values, indices), rows, n, k, floating, True, device_info)
    items, dispatches = radix_sort(x, rows, n, device_info, floating, True)
    return [*dispatches, _gather_sorted(x, items, (values, indices), rows, n, k, device_info)]


# ── bitonic sort ──────────────────────────────────────────────────────────────────────────────


def _bitonic_tiles(x: Atom, outs, rows: int, n: int, k: int, floating, descending,
                   device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Sort tiles and keep k items of each, until each row is one tile."""
    settings = {"ROWS": rows, "N": n, "K": k, "FLOATING": floating, "DESCENDING": descending}
    dispatches: list[ShaderDispatch] = []
    remaining, items = n, None
    while True:
        tiles = -(-remaining // TILE)
        tile = min(TILE, next_power_of_two(remaining))
        group_items = min(TILE, tile * next_power_of_two(rows * tiles))
        is_first, is_last = items is None, tiles == 1
        buffers = {"x": x} if is_first or is_last else {}
        buffers |= {} if is_first else {"items": items}
        items = TemporaryBuffer(ITEM_BYTES * rows * tiles * k)
        buffers |= dict(zip(("values", "indices"), outs)) if is_last else {"out": items}
        code = instantiate("bitonic_tile", X=is_first or is_last, FIRST=is_first, LAST=is_last,
                           COUNT=remaining, TILES=tiles, TILE=tile, GROUP_ITEMS=group_items,
                           LANES=LANES, **settings)
        groups = grid(rows * tiles, group_items // tile, device_info.max_workgroups)
        dispatches.append(ShaderDispatch(code, buffers, groups))
        if is_last:
            return dispatches
        remaining = tiles * k


def _gather_sorted(x: Atom, items: TemporaryBuffer, outs, rows: int, n: int, k: int,
                   device_info: DeviceInfo) -> ShaderDispatch:
    buffers = {"x": x, "items": items, **dict(zip(("values", "indices"), outs))}
    return elementwise_dispatch("gather_sorted", buffers, rows * k, LANES, device_info, ROWS=rows,
                                N=n, K=k)


# ── radix sort ────────────────────────────────────────────────────────────────────────────────


def radix_sort(x: Atom, rows: int, n: int, device_info: DeviceInfo, floating=False,
               descending=False, num_valid: int = 0
               ) -> tuple[TemporaryBuffer, list[ShaderDispatch]]:
    """Return (sorted items of each row of `x`, the dispatches that sort them). If `num_valid` is
    not 0, the elements are indices, and indices outside of 0..num_valid-1 come last."""
    items, spare = (TemporaryBuffer(ITEM_BYTES * rows * n) for _ in range(2))
    dispatches = [_make_keys(x, items, rows, n, floating, descending, device_info, num_valid)]
    chunks = min(MAX_CHUNKS, -(-n // ITEMS_PER_CHUNK))
    counts = TemporaryBuffer(4 * DIGITS * rows * chunks)
    bits = num_valid.bit_length() if num_valid else 32
    for digit in range(-(-bits // BITS)):
        dispatches.append(_histogram(items, counts, rows, n, chunks, digit, device_info))
        dispatches += _radix_scatter(items, counts, spare, rows, n, chunks, digit, device_info)
        items, spare = spare, items
    return items, dispatches


def _make_keys(x, items, rows, n, floating, descending, device_info: DeviceInfo,
               num_valid: int = 0) -> ShaderDispatch:
    settings = {"INDICES": True, "ROWS": num_valid} if num_valid else \
        {"FLOATING": floating, "DESCENDING": descending}
    return elementwise_dispatch("radix_keys", {"x": x, "items": items}, rows * n, LANES,
                                device_info, COUNT=rows * n, N=n, **settings)


def _histogram(items, counts, rows, n, chunks, digit, device_info: DeviceInfo) -> ShaderDispatch:
    code = instantiate("radix_histogram", ROWS=rows, N=n, CHUNKS=chunks, DIGIT=digit, BITS=BITS)
    return ShaderDispatch(code, {"items": items, "counts": counts},
                          grid(rows * chunks, 1, device_info.max_workgroups))


def _radix_scatter(items, counts, out, rows, n, chunks, digit,
                   device_info: DeviceInfo) -> list[ShaderDispatch]:
    starts = TemporaryBuffer(4 * DIGITS * rows * chunks)
    offsets = instantiate("radix_offsets", ROWS=rows, CHUNKS=chunks, BITS=BITS)
    scatter = instantiate("radix_scatter", ROWS=rows, N=n, CHUNKS=chunks, DIGIT=digit, BITS=BITS)
    return [ShaderDispatch(offsets, {"counts": counts, "starts": starts},
                           grid(rows, 1, device_info.max_workgroups)),
            ShaderDispatch(scatter, {"items": items, "starts": starts, "out": out},
                           grid(rows * chunks, 1, device_info.max_workgroups))]


# ── the steps of a radix sort as kernels of the plan ──────────────────────────────────────────


def radix_keys(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    (x,), (items,) = call.args, call.outs
    rows, n, floating, descending = call.params
    return [_make_keys(x, items, rows, n, floating, descending, device_info)] \
        if items.spec.count else []


def radix_histogram(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Count digits; the counts of rows without items are 0."""
    (items,), (counts,) = call.args, call.outs
    if not counts.spec.count:
        return []
    rows, n, chunks, digit = call.params
    return [_histogram(items, counts, rows, n, chunks, digit, device_info)] \
        if items.spec.count else zeros(counts, device_info)


def radix_scatter(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Scatter with the given histograms, or with histograms of smaller chunks if the given chunks
    are large."""
    (items, counts), (out,) = call.args, call.outs
    rows, n, chunks, digit = call.params
    if not out.spec.count:
        return []
    if n <= chunks * ITEMS_PER_CHUNK:
        return _radix_scatter(items, counts, out, rows, n, chunks, digit, device_info)
    chunks = min(MAX_CHUNKS, -(-n // ITEMS_PER_CHUNK))
    finer = TemporaryBuffer(4 * DIGITS * rows * chunks)
    return [_histogram(items, finer, rows, n, chunks, digit, device_info),
            *_radix_scatter(items, finer, out, rows, n, chunks, digit, device_info)]


KERNELS = {"sort": sort, "top_k": top_k, "radix_keys": radix_keys,
           "radix_histogram": radix_histogram, "radix_scatter": radix_scatter}
