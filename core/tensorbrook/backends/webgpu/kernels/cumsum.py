"""Parts for sums along the way."""
from __future__ import annotations

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch, TemporaryBuffer, grid
from ..shader_templates import instantiate
from .elementwise_dispatch import invocations

# Lanes of a workgroup where each takes a line, and where they share one; of a block each then takes
# so many elements.
LINE_LANES = 64
LANES = 256
ELEMENTS_PER_LANE = 8
BLOCK = LANES * ELEMENTS_PER_LANE
# Lines that are as short, or as many, are gone along by an invocation each. Untuned estimates.
MAX_SERIAL_LENGTH = 32
MIN_SERIAL_LINES = 1 << 13


def cumsum(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Along each line by one invocation, or block by block where lines are long and few."""
    (x,), (out,) = call.args, call.outs
    if not out.spec.count:
        return []
    outer, n, inner, exclusive, reverse = call.params
    floating = out.spec.dtype.is_floating
    return _scan_lines(x, out, outer, n, inner, exclusive, reverse, floating, device_info)


def _scan_lines(x, out, outer, n, inner, exclusive, reverse, floating, device_info: DeviceInfo) -> list[ShaderDispatch]:
    flags = {"element": "f32" if floating else "i32", "OUTER": outer, "N": n, "INNER": inner,
             "EXCLUSIVE": bool(exclusive), "REVERSE": bool(reverse)}
    lines = outer * inner
    if n <= MAX_SERIAL_LENGTH or lines >= MIN_SERIAL_LINES:
        return [invocations("cumsum", {"x": x, "out": out}, lines, LINE_LANES, device_info, **flags)]
    blocks = -(-n // BLOCK)
    flags |= {"BLOCKS": blocks, "MORE": blocks > 1, "LANES": LANES, "EACH": ELEMENTS_PER_LANE}
    groups = grid(lines * blocks, 1, device_info.max_workgroups)
    parts: list[ShaderDispatch] = []
    buffers = {"x": x, "out": out}
    if blocks > 1:
        sums, before = (TemporaryBuffer(4 * lines * blocks) for _ in range(2))
        code = instantiate("cumsum_block_scan", SUMS=True, **flags)
        parts.append(ShaderDispatch(code, {"x": x, "out": sums}, groups))
        parts += _scan_lines(sums, before, lines, blocks, 1, True, False, floating, device_info)
        buffers |= {"before": before}
    return [*parts, ShaderDispatch(instantiate("cumsum_block_scan", **flags), buffers, groups)]


KERNELS = {"cumsum_f32": cumsum, "cumsum_i32": cumsum}
