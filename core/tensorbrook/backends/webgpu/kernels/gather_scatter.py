"""Gather and scatter-add along rows."""
from __future__ import annotations

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import (ShaderDispatch, TemporaryBuffer, grid, next_power_of_two,
                               previous_power_of_two)
from ..shader_templates import instantiate
from .elementwise_dispatch import elementwise_dispatch
from .sort import radix_sort
from .zeros import zeros

LANES = 256              # of a workgroup
# All thresholds are heuristics; not tuned on hardware. With up to this many rows, or comparisons in
# all, each element of a scatter-add searches all indices; otherwise the indices are sorted first.
MAX_SEARCH_ROWS = 32
MAX_SEARCH_COMPARISONS = 1 << 22
MIN_COMPARISONS_PER_LANE = 32
# A row with more updates than MIN_SHARED_ROW is summed by several lanes, and a workgroup sums
# COLUMNS_PER_GROUP columns of it: in padded texts most indices are equal.
MIN_SHARED_ROW = 64
COLUMNS_PER_GROUP = 16


def gather(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Gather rows by index, as vec4s if rows are whole vec4s."""
    (x, indices), (out,) = call.args, call.outs
    outer, rows, count, inner_bytes = call.params
    inner, is_half = inner_bytes // x.spec.dtype.size, x.spec.dtype.name == "float16"
    if not out.spec.count:
        return []
    if not rows:
        return zeros(out, device_info)
    # A buffer that is both rows and indices has one element type.
    is_vec4 = not is_half and inner % 4 == 0 and x is not indices
    width = 4 if is_vec4 else 1
    element = "f16" if is_half else "vec4u" if is_vec4 else "u32"
    return [elementwise_dispatch(
        "gather", {"x": x, "indices": indices, "out": out}, out.spec.count // width, LANES,
        device_info, element=element, OUTER=outer, ROWS=rows, COUNT=count, INNER=inner // width)]


def scatter_add(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Sum the updates of each element in a fixed order, without atomics."""
    (_, indices), (out,) = call.args, call.outs
    rows, count, inner = call.params
    if not out.spec.count:
        return []
    if not count:
        return zeros(out, device_info)
    if rows <= MAX_SEARCH_ROWS or rows * count * inner <= MAX_SEARCH_COMPARISONS:
        return [_scatter_by_search(call, device_info)]
    items, dispatches = radix_sort(indices, 1, count, device_info, num_valid=rows)
    starts = TemporaryBuffer(4 * (rows + 1))
    segments = {"items": items, "starts": starts}
    find_starts = elementwise_dispatch("segment_starts", segments, rows + 1, LANES, device_info,
                                       ROWS=rows, COUNT=count)
    return [*dispatches, find_starts, *_scatter_sorted(call, segments, device_info)]


def _element_type(call: KernelCall) -> tuple[str, int]:
    """Return (type, elements of a row): a vec4 type if rows are whole vec4s."""
    letter = "f" if call.outs[0].spec.dtype.is_floating else "i"
    inner = call.params[2]
    return (f"{letter}32", inner) if inner % 4 else (f"vec4{letter}", inner // 4)


def _scatter_by_search(call: KernelCall, device_info: DeviceInfo) -> ShaderDispatch:
    """Each element searches all indices for its row."""
    (updates, indices), (out,) = call.args, call.outs
    rows, count, _ = call.params
    element, inner = _element_type(call)
    lanes = previous_power_of_two(min(LANES, max(1, count // MIN_COMPARISONS_PER_LANE)))
    return elementwise_dispatch(
        "scatter_by_search", {"updates": updates, "indices": indices, "out": out},
        rows * inner * lanes, LANES, device_info, element=element, SHARED=lanes > 1, ROWS=rows,
        COUNT=count, INNER=inner, LANES_PER_ELEMENT=lanes)


def _scatter_sorted(call: KernelCall, segments: dict,
                    device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Sum sorted updates: rows with few updates, then, if there may be any, rows with many."""
    (updates, _), (out,) = call.args, call.outs
    rows, count, _ = call.params
    element, inner = _element_type(call)
    buffers = {"updates": updates, **segments, "out": out}
    settings = {"element": element, "ROWS": rows, "INNER": inner, "MAX_SHORT": MIN_SHARED_ROW}
    dispatches = [elementwise_dispatch("scatter_sorted_short", buffers, rows * inner, LANES,
                                       device_info, **settings)]
    if count > MIN_SHARED_ROW:
        columns = min(COLUMNS_PER_GROUP, next_power_of_two(inner))
        code = instantiate("scatter_sorted_long", COUNT=count, COLUMNS=columns, LANES=LANES,
                           **settings)
        groups = -(-count // MIN_SHARED_ROW) * -(-inner // columns)
        dispatches.append(ShaderDispatch(code, buffers,
                                         grid(groups, 1, device_info.max_workgroups)))
    return dispatches


KERNELS = {"gather": gather, "scatter_add_f32": scatter_add, "scatter_add_i32": scatter_add}
