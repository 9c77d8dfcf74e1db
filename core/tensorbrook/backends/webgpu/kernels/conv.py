"""Convolutions and their gradients: implicit GEMM, or direct loops for groups of few channels."""
from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..loop_codegen import epilogue_takes_vec4
from ..shader_dispatch import ShaderDispatch, grid
from . import gemm
from .product_outputs import (element_type, final_dispatch, operand_types, split_k_dispatches,
                              zero_output)

# Heuristics; not tuned on hardware.
TARGET_WORKGROUPS = 256              # that keep a GPU busy
TARGET_INVOCATIONS = 1 << 15         # the same for one element per invocation
MIN_TILED_COLUMNS = 16               # columns of a group; with fewer, a tile would be mostly empty
MIN_STEPS_PER_SPLIT = 8              # steps of a tile along k in each split,
MIN_SPLIT_STEPS = 24                 # if a tile has at least this many steps in all
MIN_PIXELS_PER_SPLIT = 64            # pixels of a split of a direct filter gradient
TILE_K = 16                          # length of a step of a tile along k
LANES = 64                           # of a workgroup with one element per invocation


@dataclass(frozen=True)
class ConvShape:
    """The parameters of a convolution, named as in wasm/engine.h."""

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
        """Whether the windows are single pixels: a matrix product of pixels x channels."""
        return (self.kh, self.kw, self.sh, self.sw, self.pt, self.pl, self.groups) \
            == (1, 1, 1, 1, 0, 0, 1) and (self.oh, self.ow) == (self.h, self.wd)

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.c == self.co

    @property
    def taps(self) -> int:
        return self.kh * self.kw

    def settings(self, transposed: bool = False) -> dict[str, int]:
        """Return the constants of include/convolution.wgsl, from image to result or transposed."""
        image = self.h, self.wd, self.c // self.groups
        result = self.oh, self.ow, self.co // self.groups
        x, out = (result, image) if transposed else (image, result)
        return {"N": self.n, "GROUPS": self.groups, "TAPS_Y": self.kh, "TAPS_X": self.kw,
                "STRIDE_Y": self.sh, "STRIDE_X": self.sw, "DILATION_Y": self.dh,
                "DILATION_X": self.dw, "PADDING_Y": self.pt, "PADDING_X": self.pl,
                **dict(zip(("IN_Y", "IN_X", "CHANNELS"), x)),
                **dict(zip(("OUT_Y", "OUT_X", "COLUMNS"), out))}


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


# ── kernels ──

def conv2d(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    return convolve(call, device_info, transposed=False)


def conv2d_input_grad(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    return convolve(call, device_info, transposed=True)


def convolve(call: KernelCall, device_info: DeviceInfo, transposed: bool) -> list[ShaderDispatch]:
    """Compute a convolution, or transposed the gradient of its image."""
    p = ConvShape(*map(int, call.params))
    columns = (p.c if transposed else p.co) // p.groups
    if not all(atom.spec.count for atom in (*call.args, *call.outs)):
        return zero_output(call, device_info)
    if p.is_product:
        n, k = (p.c, p.co) if transposed else (p.co, p.c)
        return as_gemm(call, device_info, p.n * p.h * p.wd, n, k, 0, int(transposed))
    if p.groups > 1 and columns < MIN_TILED_COLUMNS:
        return [direct_conv(call, device_info, p, transposed)]
    return implicit_gemm(call, device_info, p, transposed)


def conv2d_filter_grad(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    p = ConvShape(*map(int, call.params))
    if not all(atom.spec.count for atom in (*call.args, *call.outs)):
        return zero_output(call, device_info)
    if p.is_product:
        return as_gemm(call, device_info, p.c, p.co, p.n * p.h * p.wd, 1, 0)
    if p.groups > 1 and p.co // p.groups < MIN_TILED_COLUMNS:
        return direct_filter_grad(call, device_info, p)
    return implicit_gemm_filter_grad(call, device_info, p)


def as_gemm(call: KernelCall, device_info: DeviceInfo, m: int, n: int, k: int, transpose_a: int,
            transpose_b: int) -> list[ShaderDispatch]:
    """Compute the call as a matrix product."""
    params = 1, m, n, k, transpose_a, transpose_b, 0, 0
    return gemm.gemm(replace(call, kernel="gemm", params=params), device_info)


# ── direct loops ──

def direct_conv(call: KernelCall, device_info: DeviceInfo, p: ConvShape,
                transposed: bool) -> ShaderDispatch:
    is_vec4 = p.is_depthwise and reads_vec4(call, 0, p.c) and reads_vec4(call, 1, p.c)
    count = call.outs[0].spec.count // (4 if is_vec4 else 1)
    return final_dispatch(call, "conv_direct", dict(zip("xw", call.args)),
                          grid(count, LANES, device_info.max_workgroups), TRANSPOSED=transposed,
                          IS_VEC4=is_vec4, LANES=LANES, sum_type=element_type(call),
                          **operand_types(call), **p.settings(transposed))


def direct_filter_grad(call: KernelCall, device_info: DeviceInfo,
                       p: ConvShape) -> list[ShaderDispatch]:
    is_vec4 = p.is_depthwise and reads_vec4(call, 0, p.c) and reads_vec4(call, 1, p.c)
    count = call.outs[0].spec.count // (4 if is_vec4 else 1)
    splits = clamp(ceil_div(TARGET_INVOCATIONS, count), p.n * p.oh * p.ow // MIN_PIXELS_PER_SPLIT)
    groups = grid(count * splits, LANES, device_info.max_workgroups)
    return split_k_dispatches(call, device_info, splits, "conv_filter_direct", "xg", groups,
                              IS_VEC4=is_vec4, LANES=LANES, **operand_types(call), **p.settings())


# ── implicit GEMM ──

def implicit_gemm(call: KernelCall, device_info: DeviceInfo, p: ConvShape,
                  transposed: bool) -> list[ShaderDispatch]:
    """Compute tiles of a product with gathered windows.

    With a stride, a given tap contributes only to every stride-th pixel of an input gradient:
    pixels that are equal modulo the stride form a phase, and all pixels of a workgroup are of one
    phase."""
    settings = p.settings(transposed)
    phases_y, phases_x = (p.sh, p.sw) if transposed else (1, 1)
    rows = p.n * ceil_div(settings["OUT_Y"], phases_y) * ceil_div(settings["OUT_X"], phases_x)
    k = ceil_div(p.kh, phases_y) * ceil_div(p.kw, phases_x) * settings["CHANNELS"]
    layers = p.groups * phases_y * phases_x
    tile, tiles, splits = choose_tile(rows, settings["COLUMNS"], k, layers)
    periods = {"PERIOD_Y": p.sh // gcd(p.sh, p.dh), "PERIOD_X": p.sw // gcd(p.sw, p.dw)}
    return split_k_dispatches(
        call, device_info, splits, "conv", "xw",
        grid(tiles * layers * splits, 1, device_info.max_workgroups), TRANSPOSED=transposed,
        TILES=tiles, TILE_K_VEC4=TILE_K // 4, UNROLLED=not device_info.is_software,
        X_IS_VEC4=reads_vec4(call, 0, settings["CHANNELS"]),
        W_IS_VEC4=not transposed and reads_vec4(call, 1, settings["COLUMNS"]),
        OUT_IS_VEC4=stores_vec4(call, settings["COLUMNS"], splits), **operand_types(call),
        **settings, **tile, **periods)


def implicit_gemm_filter_grad(call: KernelCall, device_info: DeviceInfo,
                              p: ConvShape) -> list[ShaderDispatch]:
    settings = p.settings()
    rows = p.taps * settings["CHANNELS"]
    tile, tiles, splits = choose_tile(rows, settings["COLUMNS"], p.n * p.oh * p.ow, p.groups)
    return split_k_dispatches(
        call, device_info, splits, "conv_filter", "xg",
        grid(tiles * p.groups * splits, 1, device_info.max_workgroups),
        UNROLLED=not device_info.is_software, X_IS_VEC4=reads_vec4(call, 0, settings["CHANNELS"]),
        G_IS_VEC4=reads_vec4(call, 1, settings["COLUMNS"]),
        OUT_IS_VEC4=stores_vec4(call, settings["COLUMNS"], splits),
        MICROTILE_ROWS_VEC4=tile["MICROTILE_ROWS"] // 4, **operand_types(call), **settings, **tile)


def choose_tile(rows: int, columns: int, k: int, layers: int) -> tuple[dict[str, int], int, int]:
    """Return (constants of a tile, tiles of a layer, splits of k). k is split if the tiles alone do
    not keep a GPU busy."""
    tile_columns = min(size for size in (16, 32, 64) if size >= min(columns, 64))
    tiles_x = ceil_div(columns, tile_columns)
    is_large = ceil_div(rows, 128) * tiles_x * layers >= TARGET_WORKGROUPS
    tile_rows, microtile_rows = (128, 8) if is_large else (32 if rows <= 32 else 64, 4)
    tiles = ceil_div(rows, tile_rows) * tiles_x
    splits = clamp(TARGET_WORKGROUPS // (tiles * layers), k // (MIN_STEPS_PER_SPLIT * TILE_K)) \
        if k >= MIN_SPLIT_STEPS * TILE_K else 1
    settings = {"TILE_ROWS": tile_rows, "TILE_COLUMNS": tile_columns, "TILE_K": TILE_K,
                "MICROTILE_ROWS": microtile_rows,
                "WINDOW_LOADS": TILE_K * microtile_rows // tile_columns,
                "FACTOR_LOADS": TILE_K * microtile_rows // tile_rows}
    return settings, tiles, splits


def clamp(value: int, maximum: int) -> int:
    """Clamp to 1..maximum; a maximum below 1 counts as 1."""
    return max(1, min(value, maximum))


def reads_vec4(call: KernelCall, arg: int, channels: int) -> bool:
    """Whether an argument is read as vec4s of channels. Not if the epilogue reads it too, or if it
    is both arguments: a buffer has one element type."""
    epilogue_reads = call.epilogue.reads if call.epilogue else ()
    return channels % 4 == 0 and call.args[arg] not in epilogue_reads \
        and call.args[0] is not call.args[1]


def stores_vec4(call: KernelCall, columns: int, splits: int) -> bool:
    """Whether a tile stores vec4s of columns, which its epilogue must support."""
    return columns % 4 == 0 and (splits > 1 or epilogue_takes_vec4(call))


KERNELS = {"conv2d": conv2d, "conv2d_input_grad": conv2d_input_grad,
           "conv2d_filter_grad": conv2d_filter_grad}
