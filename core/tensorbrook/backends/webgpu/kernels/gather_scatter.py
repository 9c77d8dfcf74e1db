"""Parts for reading and adding at places: gather and scatter-add."""
from __future__ import annotations

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch, TemporaryBuffer, grid, next_power_of_two, previous_power_of_two
from ..shader_templates import instantiate
from .elementwise_dispatch import invocations
from .sort import radix_sort
from .zeros import zeros

LANES = 256              # of a workgroup
# Up to so many rows, or looks at an index in all, each element of a scatter looks through all
# indices; beyond they are put in order first. Untuned estimates.
MAX_SEARCH_ROWS = 32
MAX_SEARCH_COMPARISONS = 1 << 22
# So many looks of one element each lane takes at least. An untuned estimate.
LOOKS_OF_A_LANE = 32
# Rows of more updates than LONG are shared by lanes, STRIP columns by a workgroup: in padded texts
# most indices are the same. Untuned estimates.
MIN_SHARED_ROW = 64
COLUMNS_PER_GROUP = 16


def gather(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Rows by their indices, in vectors where rows are made of whole ones."""
    (x, indices), (out,) = call.args, call.outs
    outer, rows, count, inner_bytes = call.params
    inner, half = inner_bytes // x.spec.dtype.size, x.spec.dtype.name == "float16"
    if not out.spec.count:
        return []
    if not rows:
        return zeros(out, device_info)
    # What is both rows and indices has elements of one kind.
    wide = not half and inner % 4 == 0 and x is not indices
    return [invocations("gather", {"x": x, "indices": indices, "out": out},
                        out.spec.count // (4 if wide else 1), LANES, device_info,
                        element="f16" if half else "vec4u" if wide else "u32", OUTER=outer,
                        ROWS=rows, COUNT=count, INNER=inner // 4 if wide else inner)]


def scatter_add(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Each element of the result adds up what is its own, in a fixed order: no atomic sums."""
    (_, indices), (out,) = call.args, call.outs
    rows, count, inner = call.params
    if not out.spec.count:
        return []
    if not count:
        return zeros(out, device_info)
    if rows <= MAX_SEARCH_ROWS or rows * count * inner <= MAX_SEARCH_COMPARISONS:
        return [_scatter_by_search(call, device_info)]
    items, parts = radix_sort(indices, 1, count, device_info, num_valid=rows)
    starts = TemporaryBuffer(4 * (rows + 1))
    ordered = {"items": items, "starts": starts}
    return [*parts, invocations("segment_starts", ordered, rows + 1, LANES, device_info, ROWS=rows,
                                COUNT=count), *_scatter_sorted(call, ordered, device_info)]


def _elements(call: KernelCall) -> tuple[str, int]:
    """The type of what is added up at once, a vector where rows are made of whole ones, and how
    many of it make a row."""
    letter = "f" if call.outs[0].spec.dtype.is_floating else "i"
    inner = call.params[2]
    return (f"{letter}32", inner) if inner % 4 else (f"vec4{letter}", inner // 4)


def _scatter_by_search(call: KernelCall, device_info: DeviceInfo) -> ShaderDispatch:
    """The part in which each element looks through all indices."""
    (updates, indices), (out,) = call.args, call.outs
    rows, count, _ = call.params
    element, inner = _elements(call)
    share = previous_power_of_two(min(LANES, max(1, count // LOOKS_OF_A_LANE)))
    return invocations("scatter_by_search", {"updates": updates, "indices": indices, "out": out},
                       rows * inner * share, LANES, device_info, element=element, SHARED=share > 1,
                       ROWS=rows, COUNT=count, INNER=inner, SHARE=share)


def _scatter_sorted(call: KernelCall, ordered: dict, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """The parts that add up items in order: short rows, and, where there may be any, long ones."""
    (updates, _), (out,) = call.args, call.outs
    rows, count, _ = call.params
    element, inner = _elements(call)
    buffers = {"updates": updates, **ordered, "out": out}
    constants = {"element": element, "ROWS": rows, "INNER": inner, "LONG": MIN_SHARED_ROW}
    parts = [invocations("scatter_sorted_short", buffers, rows * inner, LANES, device_info, **constants)]
    if count > MIN_SHARED_ROW:
        columns = min(COLUMNS_PER_GROUP, next_power_of_two(inner))
        code = instantiate("scatter_sorted_long", COUNT=count, COLUMNS=columns, LANES=LANES, **constants)
        units = -(-count // MIN_SHARED_ROW) * -(-inner // columns)
        parts.append(ShaderDispatch(code, buffers, grid(units, 1, device_info.max_workgroups)))
    return parts


KERNELS = {"gather": gather, "scatter_add_f32": scatter_add, "scatter_add_i32": scatter_add}
