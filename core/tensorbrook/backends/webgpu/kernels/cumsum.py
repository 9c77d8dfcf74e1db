"""Cumulative sums: one invocation per line, or a block scan for few long lines."""
from __future__ import annotations

from ....ir import Atom, KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch, TemporaryBuffer, grid
from ..shader_templates import instantiate
from .elementwise_dispatch import elementwise_dispatch

LINE_LANES = 64          # of a workgroup, if each lane scans a line
LANES = 256              # of a workgroup, if its lanes share a block of a line
ELEMENTS_PER_LANE = 8    # of a block
BLOCK = LANES * ELEMENTS_PER_LANE
# Lines up to this length, or at least this many lines, are scanned by one invocation each.
# Heuristics; not tuned on hardware.
MAX_SERIAL_LENGTH = 32
MIN_SERIAL_LINES = 1 << 13


def cumsum(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    (x,), (out,) = call.args, call.outs
    if not out.spec.count:
        return []
    outer, n, inner, exclusive, reverse = call.params
    element = "f32" if out.spec.dtype.is_floating else "i32"
    return _scan_lines(x, out, outer, n, inner, exclusive, reverse, element, device_info)


def _scan_lines(x: Atom | TemporaryBuffer, out: Atom | TemporaryBuffer, outer: int, n: int,
                inner: int, exclusive: bool, reverse: bool, element: str,
                device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Scan the lines of x (outer, n, inner) along the middle axis."""
    settings = {"element": element, "OUTER": outer, "N": n, "INNER": inner,
                "EXCLUSIVE": bool(exclusive), "REVERSE": bool(reverse)}
    lines = outer * inner
    if n <= MAX_SERIAL_LENGTH or lines >= MIN_SERIAL_LINES:
        return [elementwise_dispatch("cumsum", {"x": x, "out": out}, lines, LINE_LANES,
                                     device_info, **settings)]
    blocks = -(-n // BLOCK)
    settings |= {"BLOCKS": blocks, "ADD_BLOCK_SUMS": blocks > 1, "LANES": LANES,
                 "ELEMENTS_PER_LANE": ELEMENTS_PER_LANE}
    groups = grid(lines * blocks, 1, device_info.max_workgroups)
    dispatches: list[ShaderDispatch] = []
    buffers = {"x": x, "out": out}
    if blocks > 1:
        block_sums, earlier_sums = (TemporaryBuffer(4 * lines * blocks) for _ in range(2))
        code = instantiate("cumsum_block_scan", ONLY_BLOCK_SUMS=True, **settings)
        dispatches.append(ShaderDispatch(code, {"x": x, "out": block_sums}, groups))
        dispatches += _scan_lines(block_sums, earlier_sums, lines, blocks, 1, True, False, element,
                                  device_info)
        buffers |= {"earlier_sums": earlier_sums}
    code = instantiate("cumsum_block_scan", **settings)
    return [*dispatches, ShaderDispatch(code, buffers, groups)]


KERNELS = {"cumsum_f32": cumsum, "cumsum_i32": cumsum}
