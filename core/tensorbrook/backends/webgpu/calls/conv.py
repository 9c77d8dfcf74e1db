"""Convolutions and their gradients: products of gathered windows, or element by element where the
groups have few channels."""
from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

from ....ir import Call
from ..facts import Facts
from ..loops import takes_four
from ..part import Part, over
from . import gemm
from .endings import element_of, last, operands, summed, zeros

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
class Conv:
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


def ceiling(a: int, b: int) -> int:
    return -(-a // b)


# ── the families ──

def conv2d(call: Call, facts: Facts) -> list[Part]:
    return correlation(call, facts, turned=False)


def conv2d_input_grad(call: Call, facts: Facts) -> list[Part]:
    return correlation(call, facts, turned=True)


def correlation(call: Call, facts: Facts, turned: bool) -> list[Part]:
    """Pixels from the windows of pixels, forward or turned around."""
    p = Conv(*map(int, call.numbers))
    columns = (p.c if turned else p.co) // p.groups
    if not all(atom.spec.count for atom in (*call.args, *call.outs)):
        return zeros(call, facts)
    if p.is_product:
        out, into = (p.c, p.co) if turned else (p.co, p.c)
        return product(call, facts, p.n * p.h * p.wd, out, into, 0, int(turned))
    if p.groups > 1 and columns < DIRECT:
        return [direct(call, facts, p, turned)]
    return tiles(call, facts, p, turned)


def conv2d_filter_grad(call: Call, facts: Facts) -> list[Part]:
    p = Conv(*map(int, call.numbers))
    if not all(atom.spec.count for atom in (*call.args, *call.outs)):
        return zeros(call, facts)
    if p.is_product:
        return product(call, facts, p.c, p.co, p.n * p.h * p.wd, 1, 0)
    if p.groups > 1 and p.co // p.groups < DIRECT:
        return filter_direct(call, facts, p)
    return filter_tiles(call, facts, p)


def product(call: Call, facts: Facts, m: int, n: int, k: int, transpose_a: int, transpose_b: int):
    """The call as a product of matrices."""
    return gemm.gemm(replace(call, function="gemm", numbers=(
        1, m, n, k, transpose_a, transpose_b, 0, 0)), facts)


# ── element by element ──

def direct(call: Call, facts: Facts, p: Conv, turned: bool) -> Part:
    four = p.is_depthwise and by_four(call, 0, p.c) and by_four(call, 1, p.c)
    groups = over(call.outs[0].spec.count // (4 if four else 1), LANES, facts.workgroups)
    return last(call, "conv_direct", dict(zip("xw", call.args)), groups, TURNED=turned,
                BY_FOUR=four, LANES=LANES, sum_type=element_of(call), **operands(call),
                **p.constants(turned))


def filter_direct(call: Call, facts: Facts, p: Conv) -> list[Part]:
    four = p.is_depthwise and by_four(call, 0, p.c) and by_four(call, 1, p.c)
    count = call.outs[0].spec.count // (4 if four else 1)
    pieces = limited(ceiling(INVOCATIONS, count), p.n * p.oh * p.ow // PIXELS)
    groups = over(count * pieces, LANES, facts.workgroups)
    return summed(call, facts, pieces, "conv_filter_direct", "xg", groups, BY_FOUR=four,
                  LANES=LANES, **operands(call), **p.constants())


# ── tiles ──

def tiles(call: Call, facts: Facts, p: Conv, turned: bool) -> list[Part]:
    """Under a stride, only every stride-th pixel of an input gradient meets a given tap: pixels
    that are alike modulo the stride form a phase, and a workgroup's pixels are of one phase."""
    sizes = p.constants(turned)
    down, across = (p.sh, p.sw) if turned else (1, 1)
    rows = p.n * ceiling(sizes["OUT_Y"], down) * ceiling(sizes["OUT_X"], across)
    length = ceiling(p.kh, down) * ceiling(p.kw, across) * sizes["CHANNELS"]
    layers = p.groups * down * across
    tile, (x, y), pieces = shape_of(rows, sizes["COLUMNS"], length, layers)
    tile |= {"PERIOD_Y": p.sh // gcd(p.sh, p.dh), "PERIOD_X": p.sw // gcd(p.sw, p.dw)}
    groups = over(x * y * layers * pieces, 1, facts.workgroups)
    return summed(call, facts, pieces, "conv", "xw", groups, TURNED=turned, TILES=x * y,
                  QUADS=TILE_K // 4, NUMBERED=not facts.software, **operands(call),
                  X_BY_FOUR=by_four(call, 0, sizes["CHANNELS"]),
                  W_BY_FOUR=not turned and by_four(call, 1, sizes["COLUMNS"]),
                  OUT_BY_FOUR=ends_by_four(call, sizes["COLUMNS"], pieces), **sizes, **tile)


def filter_tiles(call: Call, facts: Facts, p: Conv) -> list[Part]:
    sizes = p.constants()
    rows = p.taps * sizes["CHANNELS"]
    tile, (x, y), pieces = shape_of(rows, sizes["COLUMNS"], p.n * p.oh * p.ow, p.groups)
    groups = over(x * y * p.groups * pieces, 1, facts.workgroups)
    return summed(call, facts, pieces, "conv_filter", "xg", groups, NUMBERED=not facts.software,
                  **operands(call), X_BY_FOUR=by_four(call, 0, sizes["CHANNELS"]),
                  G_BY_FOUR=by_four(call, 1, sizes["COLUMNS"]),
                  OUT_BY_FOUR=ends_by_four(call, sizes["COLUMNS"], pieces),
                  TALL=tile["ROWS"] // 4, **sizes, **tile)


def shape_of(rows: int, columns: int, length: int, layers: int):
    """The constants of a tile, how many tiles lie side by side and above each other, and the parts
    that the sums are cut into where the tiles alone would not keep a GPU busy."""
    wide = min(size for size in (16, 32, 64) if size >= min(columns, 64))
    across = ceiling(columns, wide)
    many = ceiling(rows, 128) * across * layers >= WORKGROUPS
    high, each = (128, 8) if many else (32 if rows <= 32 else 64, 4)
    down = ceiling(rows, high)
    pieces = limited(WORKGROUPS // (down * across * layers), length // (STEPS * TILE_K)) \
        if length >= LONG * TILE_K else 1
    tile = {"TILE_ROWS": high, "TILE_COLUMNS": wide, "TILE_K": TILE_K, "ROWS": each,
            "GATHERS": TILE_K * each // wide, "FETCHES": TILE_K * each // high}
    return tile, (across, down), pieces


def limited(wanted: int, most: int) -> int:
    return max(1, min(wanted, most))


def by_four(call: Call, at: int, channels: int) -> bool:
    """Whether an argument is read four channels at a time. Not where the epilogue reads it, too:
    one buffer has one type."""
    after = call.epilogue.reads if call.epilogue else ()
    return channels % 4 == 0 and call.args[at] not in after and call.args[0] is not call.args[1]


def ends_by_four(call: Call, columns: int, pieces: int) -> bool:
    """Whether a tile writes four columns at a time, and what follows it goes on with them."""
    return columns % 4 == 0 and (pieces > 1 or takes_four(call))


CALLS = {"conv2d": conv2d, "conv2d_input_grad": conv2d_input_grad,
         "conv2d_filter_grad": conv2d_filter_grad}
