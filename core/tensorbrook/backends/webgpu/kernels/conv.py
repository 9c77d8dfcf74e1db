"""Convolutions and their gradients: products of gathered windows, or element by element where the
groups have few channels."""
from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..loop_codegen import epilogue_takes_vec4
from ..shader_dispatch import ShaderDispatch, grid
from . import gemm
from .product_outputs import element_type, final_dispatch, operand_types, split_k_dispatches, zero_output

# Untuned estimates: no GPU was at hand.
WORKGROUPS = 256                     # tiles that keep a GPU busy
INVOCATIONS = 1 << 15                # the same where each makes one element
DIRECT = 16                          # columns of a group below which a tile would be empty
STEPS = 8                            # a part of the sums has no fewer steps of a tile,
LONG = 24                            # and there are no parts where a tile makes fewer
PIXELS = 64                          # nor fewer pixels where it is made one by one
TILE_K = 16                          # how far a tile goes along the sums in one step
LANES = 64                           # invocations of a workgroup, of which each makes one element


@dataclass(frozen=True)
class ConvShape:
    """The numbers of a convolution, as wasm/engine.h names them."""

    n: int
    h: int
    wd: int
    c: int
    kh: int
    kw: int
    co: int
    oh: int
    ow: int
    sh: int
    sw: int
    dh: int
    dw: int
    pt: int
    pl: int
    groups: int

    @property
    def is_product(self) -> bool:
        """A window of one pixel for each pixel: a plain product of pixels x channels."""
        return (self.kh, self.kw, self.sh, self.sw, self.pt, self.pl, self.groups) \
            == (1, 1, 1, 1, 0, 0, 1) and (self.oh, self.ow) == (self.h, self.wd)

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.c == self.co

    @property
    def taps(self) -> int:
        return self.kh * self.kw

    @property
    def filter_constants(self) -> dict[str, int]:
        return {"N": self.n, "GROUPS": self.groups, "TAPS_Y": self.kh, "TAPS_X": self.kw,
                "STRIDE_Y": self.sh, "STRIDE_X": self.sw, "DILATION_Y": self.dh,
                "DILATION_X": self.dw, "PADDING_Y": self.pt, "PADDING_X": self.pl}

    def constants(self, turned: bool = False) -> dict[str, int]:
        """The sizes that the templates take, from image to result, or turned around."""
        image, result = (self.h, self.wd, self.c // self.groups), \
            (self.oh, self.ow, self.co // self.groups)
        x, out = (result, image) if turned else (image, result)
        return self.filter_constants | dict(zip(("IN_Y", "IN_X", "CHANNELS"), x)) \
            | dict(zip(("OUT_Y", "OUT_X", "COLUMNS"), out))


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


# ── the families ──

def conv2d(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    return convolve(call, device_info, transposed=False)


def conv2d_input_grad(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    return convolve(call, device_info, transposed=True)


def convolve(call: KernelCall, device_info: DeviceInfo, transposed: bool) -> list[ShaderDispatch]:
    """Pixels from the windows of pixels, forward or turned around."""
    p = ConvShape(*map(int, call.params))
    columns = (p.c if transposed else p.co) // p.groups
    if not all(atom.spec.count for atom in (*call.args, *call.outs)):
        return zero_output(call, device_info)
    if p.is_product:
        out, into = (p.c, p.co) if transposed else (p.co, p.c)
        return as_gemm(call, device_info, p.n * p.h * p.wd, out, into, 0, int(transposed))
    if p.groups > 1 and columns < DIRECT:
        return [direct_conv(call, device_info, p, transposed)]
    return implicit_gemm(call, device_info, p, transposed)


def conv2d_filter_grad(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    p = ConvShape(*map(int, call.params))
    if not all(atom.spec.count for atom in (*call.args, *call.outs)):
        return zero_output(call, device_info)
    if p.is_product:
        return as_gemm(call, device_info, p.c, p.co, p.n * p.h * p.wd, 1, 0)
    if p.groups > 1 and p.co // p.groups < DIRECT:
        return direct_filter_grad(call, device_info, p)
    return filter_tiles(call, device_info, p)


def as_gemm(call: KernelCall, device_info: DeviceInfo, m: int, n: int, k: int, transpose_a: int, transpose_b: int):
    """The call as a product of matrices."""
    return gemm.gemm(replace(call, kernel="gemm", params=(
        1, m, n, k, transpose_a, transpose_b, 0, 0)), device_info)


# ── element by element ──

def direct_conv(call: KernelCall, device_info: DeviceInfo, p: ConvShape, transposed: bool) -> ShaderDispatch:
    four = p.is_depthwise and reads_vec4(call, 0, p.c) and reads_vec4(call, 1, p.c)
    groups = grid(call.outs[0].spec.count // (4 if four else 1), LANES, device_info.max_workgroups)
    return final_dispatch(call, "conv_direct", dict(zip("xw", call.args)), groups, TURNED=transposed,
                BY_FOUR=four, LANES=LANES, sum_type=element_type(call), **operand_types(call),
                **p.constants(transposed))


def direct_filter_grad(call: KernelCall, device_info: DeviceInfo, p: ConvShape) -> list[ShaderDispatch]:
    four = p.is_depthwise and reads_vec4(call, 0, p.c) and reads_vec4(call, 1, p.c)
    count = call.outs[0].spec.count // (4 if four else 1)
    pieces = clamp(ceil_div(INVOCATIONS, count), p.n * p.oh * p.ow // PIXELS)
    groups = grid(count * pieces, LANES, device_info.max_workgroups)
    return split_k_dispatches(call, device_info, pieces, "conv_filter_direct", "xg", groups, BY_FOUR=four,
                  LANES=LANES, **operand_types(call), **p.constants())


# ── tiles ──

def implicit_gemm(call: KernelCall, device_info: DeviceInfo, p: ConvShape, transposed: bool) -> list[ShaderDispatch]:
    """Under a stride, only every stride-th pixel of an input gradient meets a given tap: pixels
    that are alike modulo the stride form a phase, and a workgroup's pixels are of one phase."""
    sizes = p.constants(transposed)
    down, across = (p.sh, p.sw) if transposed else (1, 1)
    rows = p.n * ceil_div(sizes["OUT_Y"], down) * ceil_div(sizes["OUT_X"], across)
    length = ceil_div(p.kh, down) * ceil_div(p.kw, across) * sizes["CHANNELS"]
    layers = p.groups * down * across
    tile, (x, y), pieces = choose_tile(rows, sizes["COLUMNS"], length, layers)
    tile |= {"PERIOD_Y": p.sh // gcd(p.sh, p.dh), "PERIOD_X": p.sw // gcd(p.sw, p.dw)}
    groups = grid(x * y * layers * pieces, 1, device_info.max_workgroups)
    return split_k_dispatches(call, device_info, pieces, "conv", "xw", groups, TURNED=transposed, TILES=x * y,
                  QUADS=TILE_K // 4, NUMBERED=not device_info.is_software, **operand_types(call),
                  X_BY_FOUR=reads_vec4(call, 0, sizes["CHANNELS"]),
                  W_BY_FOUR=not transposed and reads_vec4(call, 1, sizes["COLUMNS"]),
                  OUT_BY_FOUR=writes_vec4(call, sizes["COLUMNS"], pieces), **sizes, **tile)


def filter_tiles(call: KernelCall, device_info: DeviceInfo, p: ConvShape) -> list[ShaderDispatch]:
    sizes = p.constants()
    rows = p.taps * sizes["CHANNELS"]
    tile, (x, y), pieces = choose_tile(rows, sizes["COLUMNS"], p.n * p.oh * p.ow, p.groups)
    groups = grid(x * y * p.groups * pieces, 1, device_info.max_workgroups)
    return split_k_dispatches(call, device_info, pieces, "conv_filter", "xg", groups, NUMBERED=not device_info.is_software,
                  **operand_types(call), X_BY_FOUR=reads_vec4(call, 0, sizes["CHANNELS"]),
                  G_BY_FOUR=reads_vec4(call, 1, sizes["COLUMNS"]),
                  OUT_BY_FOUR=writes_vec4(call, sizes["COLUMNS"], pieces),
                  TALL=tile["ROWS"] // 4, **sizes, **tile)


def choose_tile(rows: int, columns: int, length: int, layers: int):
    """The constants of a tile, how many tiles lie side by side and above each other, and the parts
    that the sums are cut into where the tiles alone would not keep a GPU busy."""
    wide = min(size for size in (16, 32, 64) if size >= min(columns, 64))
    across = ceil_div(columns, wide)
    many = ceil_div(rows, 128) * across * layers >= WORKGROUPS
    high, each = (128, 8) if many else (32 if rows <= 32 else 64, 4)
    down = ceil_div(rows, high)
    pieces = clamp(WORKGROUPS // (down * across * layers), length // (STEPS * TILE_K)) \
        if length >= LONG * TILE_K else 1
    tile = {"TILE_ROWS": high, "TILE_COLUMNS": wide, "TILE_K": TILE_K, "ROWS": each,
            "GATHERS": TILE_K * each // wide, "FETCHES": TILE_K * each // high}
    return tile, (across, down), pieces


def clamp(wanted: int, most: int) -> int:
    return max(1, min(wanted, most))


def reads_vec4(call: KernelCall, at: int, channels: int) -> bool:
    """Whether an argument is read four channels at a time. Not where the epilogue reads it, too:
    one buffer has one type."""
    after = call.epilogue.reads if call.epilogue else ()
    return channels % 4 == 0 and call.args[at] not in after and call.args[0] is not call.args[1]


def writes_vec4(call: KernelCall, columns: int, pieces: int) -> bool:
    """Whether a tile writes four columns at a time, and what follows it goes on with them."""
    return columns % 4 == 0 and (pieces > 1 or epilogue_takes_vec4(call))


KERNELS = {"conv2d": conv2d, "conv2d_input_grad": conv2d_input_grad,
         "conv2d_filter_grad": conv2d_filter_grad}
