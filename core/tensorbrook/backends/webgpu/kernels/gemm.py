"""Matrix products. `route` chooses by shape, from untuned estimates: no GPU was measured.

Why tiles of 128 x 128 should be bound by arithmetic: an invocation sums 8 x 8 results in 64
registers (112 with what is under way, so 2 workgroups of 256 share 64 K of them); 16 numbers
from workgroup memory feed 64 multiplications, and 256 from the buffers 16,384, so a byte feeds 16.
All indices of the inner loop are numbers, its reads 16 bytes wide and free of bank conflicts, and
the next tile is under way while sums are made of this one. Mesa's compiler for a Radeon (navi21),
which needs no device, makes of a turn of the loop 1,210 instructions: 1,024 multiply and add, 64
read workgroup memory; nothing is spilled, and what is loaded is waited for after the sums.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir import Atom, KernelCall, LoopKernel
from ..device_info import DeviceInfo
from ..loop_codegen import epilogue_takes_vec4
from ..shader_dispatch import ShaderDispatch, grid, next_power_of_two
from .product_outputs import element_type, final_dispatch, operand_types, split_k_dispatches, zero_output

DEPTH = 16              # places of k in workgroup memory at a time
MAX_PER_ELEMENT_MACS = 1 << 21           # multiplications that take no longer than to begin with tiles does
SHORT = 256             # places of k that an invocation goes through alone
MAX_GEMV_VECTORS = 4                # up to so many rows or columns are vectors
RESIDENT_INVOCATIONS = 1 << 15      # invocations that a large GPU runs side by side: 256 on each of 128 units
PARTIAL_SUM_COST = 1 / 128      # steps that all of them make while a number goes to memory and back
DISPATCH_COST = 4000        # such steps, 1 to 3 microseconds, for a dispatch more and what waits for it
TARGET_WORKGROUPS = 1024           # workgroups of 256 that keep a large GPU's memory busy


@dataclass(frozen=True)
class GemmShape:
    """The numbers of the call, in its order (wasm/engine.h)."""

    batch: int
    m: int
    n: int
    k: int
    transpose_a: int = 0
    transpose_b: int = 0
    stride_a: int = 0
    stride_b: int = 0

    @property
    def count(self) -> int:
        return self.batch * self.m * self.n


@dataclass(frozen=True)
class Tile:
    """A workgroup's share of the result: side x side; an invocation's: 4 tall x 4 wide."""

    side: int
    tall: int
    wide: int

    @property
    def lanes(self) -> int:
        return 2 * self.side

    @property
    def workgroup_bytes(self) -> int:
        return 2 * self.side * DEPTH * 4

    @property
    def reuse(self) -> float:
        """Multiplications for a number read from workgroup memory."""
        return 4 * self.tall * self.wide / (self.tall + self.wide)


TILES = (Tile(128, 2, 2), Tile(64, 2, 1), Tile(32, 1, 1))


@dataclass(frozen=True)
class PerElementGemm:
    """An invocation for each element of the result."""

    split_k = 1


@dataclass(frozen=True)
class TiledGemm:
    """Tiles of one size, k cut into `splits` parts of `split` places."""

    tile: Tile
    split_k: int
    split: int


@dataclass(frozen=True)
class GemvGemm:
    """Few vectors times a matrix. `across`: the matrix's rows lie across k, so that invocations
    side by side take columns; otherwise along k, and `lanes` of them share a row. `others` is how
    often a workgroup has `lanes`."""

    vectors_are_columns: bool                       # the vectors are columns of b, not rows of a
    reduces_across_rows: bool
    lanes: int
    rows_or_slices: int
    split_k: int
    split: int


def gemm(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """See wasm/engine.h; sums are float32 for float16, too."""
    p = canonicalize(GemmShape(*map(int, call.params)))
    if not p.count * p.k:
        return zero_output(call, device_info)
    plan = select_algorithm(p, device_info)
    return PARTS[type(plan)](call, p, plan, device_info)


KERNELS = {"gemm": gemm}


GemmAlgorithm = PerElementGemm | TiledGemm | GemvGemm


def canonicalize(p: GemmShape) -> GemmShape:
    """The same product with fewer items, and with rows and columns of 1 lying along k."""
    if p.batch > 1 and not (p.stride_b or p.transpose_a) and p.stride_a == p.m * p.k:
        p = replace(p, batch=1, m=p.batch * p.m, stride_a=0)
    if p.m == 1:
        p = replace(p, transpose_a=0)
    return replace(p, transpose_b=1) if p.n == 1 else p


def select_algorithm(p: GemmShape, device_info: DeviceInfo) -> GemmAlgorithm:
    """How a product with elements and k > 0 is best made."""
    if p.k <= SHORT and p.count * p.k <= MAX_PER_ELEMENT_MACS:
        return PerElementGemm()
    return vectors(p, device_info) if min(p.m, p.n) <= MAX_GEMV_VECTORS else tiles(p, device_info)


def tiles(p: GemmShape, device_info: DeviceInfo) -> TiledGemm:
    """The tile and the parts of k that are estimated to take the least time."""
    return min(tile_candidates(p, device_info), key=lambda plan: estimated_cycles(p, plan))


def tile_candidates(p: GemmShape, device_info: DeviceInfo) -> list[TiledGemm]:
    """The ways with tiles that a device can go."""
    allowed = [t for t in TILES if t.lanes <= device_info.max_invocations
               and t.workgroup_bytes <= device_info.workgroup_bytes]
    return [TiledGemm(tile, *_cut(p.k, splits, DEPTH)) for tile in allowed
            for splits in (1, 2, 4, 8, 16, 32) if _may_split(p, splits, device_info)]


def estimated_cycles(p: GemmShape, plan: TiledGemm) -> float:
    """An estimate of time, in multiplications that one invocation makes at best."""
    tile = plan.tile
    workgroups = plan.split_k * p.batch * -(-p.m // tile.side) * -(-p.n // tile.side)
    rounds = max(1, workgroups * tile.lanes / RESIDENT_INVOCATIONS)
    each = tile.side ** 2 / tile.lanes * plan.split * TILES[0].reuse / tile.reuse
    more = plan.split_k * p.count * PARTIAL_SUM_COST + DISPATCH_COST if plan.split_k > 1 else 0
    return rounds * each + more


def vectors(p: GemmShape, device_info: DeviceInfo) -> GemvGemm:
    """Workgroups enough to ask memory for all it can give, each with some work."""
    down = p.m > MAX_GEMV_VECTORS or p.n < p.m
    across = bool(p.transpose_a if down else not p.transpose_b)
    width, lanes = p.m if down else p.n, min(256, device_info.max_invocations)
    four = (width if across else p.k) % 4 == 0
    units = p.batch * (width // 4 if across and four else width)
    places = p.k // 4 if four and not across else p.k
    sharing, most = 1, lanes // (8 if four else 32)
    if not across:
        most = lanes
        sharing = min(32, next_power_of_two(places))
    while sharing * 2 <= most and units * sharing < TARGET_WORKGROUPS * lanes and places >= 16 * sharing:
        sharing *= 2
    groups, splits = -(-units * sharing // lanes), 1
    while groups * splits < TARGET_WORKGROUPS and places >= 32 * sharing * splits \
            and _may_split(p, 2 * splits, device_info):
        splits *= 2
    cut = _cut(p.k, splits, 4)
    side = (lanes // sharing, sharing) if across else (sharing, lanes // sharing)
    return GemvGemm(down, across, *side, *cut)


def _cut(k: int, splits: int, multiple: int) -> tuple[int, int]:
    """How many parts of k there are, and how long each but the last is."""
    split = -(-k // (splits * multiple)) * multiple
    return -(-k // split), split


def _may_split(p: GemmShape, splits: int, device_info: DeviceInfo) -> bool:
    return splits == 1 or (p.k >= 4 * DEPTH * splits and
                           4 * splits * p.count <= device_info.binding_bytes)


# ── parts ─────────────────────────────────────────────────────────────────────────────────────


def _sizes(p: GemmShape) -> dict[str, int]:
    return {"BATCH": p.batch, "N": p.n, "K": p.k}


def _of_elements(call: KernelCall, p: GemmShape, plan: PerElementGemm, device_info: DeviceInfo) -> list[ShaderDispatch]:
    lanes = min(256, device_info.max_invocations)
    row, step_a = (1, p.m) if p.transpose_a else (p.k, 1)
    column, step_b = (p.k, 1) if p.transpose_b else (1, p.n)
    return [final_dispatch(call, "gemm_per_element", dict(zip("ab", call.args)),
                 grid(p.count, lanes, device_info.max_workgroups), M=p.m, STRIDE_A=p.stride_a,
                 STRIDE_B=p.stride_b, ROW=row, STEP_A=step_a, COLUMN=column, STEP_B=step_b,
                 LANES=lanes, NUMBERED=not device_info.is_software, sum_type=element_type(call),
                 **operand_types(call), **_sizes(p))]


def _of_tiles(call: KernelCall, p: GemmShape, plan: TiledGemm, device_info: DeviceInfo) -> list[ShaderDispatch]:
    tile, after, (a, b) = plan.tile, _after(call, plan.split_k), call.args
    workgroups = plan.split_k * p.batch * -(-p.m // tile.side) * -(-p.n // tile.side)
    four_a = _by_four(a, p.m if p.transpose_a else p.k, after)
    four_b = _by_four(b, p.k if p.transpose_b else p.n, after)
    if a is b:
        four_a = four_b = four_a and four_b                   # one buffer has one type
    return split_k_dispatches(
        call, device_info, plan.split_k, "gemm", "ab", grid(workgroups, 1, device_info.max_workgroups), M=p.m,
        TRANSPOSE_A=p.transpose_a, TRANSPOSE_B=p.transpose_b, STRIDE_A=p.stride_a,
        STRIDE_B=p.stride_b, SPLIT=plan.split, ROWS=tile.side, COLUMNS=tile.side, TALL=tile.tall,
        WIDE=tile.wide, DEPTH=DEPTH, NUMBERED=not device_info.is_software, FOUR_A=four_a, FOUR_B=four_b,
        FOUR_OUT=p.n % 4 == 0 and (after is None or epilogue_takes_vec4(call)), **operand_types(call),
        **_sizes(p))


def _of_vectors(call: KernelCall, p: GemmShape, plan: GemvGemm, device_info: DeviceInfo) -> list[ShaderDispatch]:
    names, strides = ("vectors", "matrix"), (p.stride_a, p.stride_b)
    few, matrix = call.args
    count, width, along = p.m, p.n, not p.transpose_a          # along: each vector in one piece
    if plan.vectors_are_columns:
        names, strides, (few, matrix) = names[::-1], strides[::-1], (matrix, few)
        count, width, along = p.n, p.m, bool(p.transpose_b)
    after = _after(call, plan.split_k)
    four = matrix is not few and _by_four(matrix, width if plan.reduces_across_rows else p.k, after)
    shuffles = device_info.min_subgroup_size > 0 and (plan.rows_or_slices if plan.reduces_across_rows else plan.lanes) > 1
    each, more = (plan.lanes * (4 if four else 1), {"SLICES": plan.rows_or_slices}) if plan.reduces_across_rows else \
        (plan.rows_or_slices, {"ROWS": plan.rows_or_slices,
                       "FOUR_VECTORS": four and along and _by_four(few, p.k, after)})
    if shuffles and not plan.reduces_across_rows:
        more |= {"LEAST": device_info.min_subgroup_size}
    return split_k_dispatches(
        call, device_info, plan.split_k, f"gemv_{'columns' if plan.reduces_across_rows else 'rows'}", names,
        grid(plan.split_k * p.batch * width, each, device_info.max_workgroups), COUNT=count, WIDTH=width,
        DOWN=plan.vectors_are_columns, STRIDE_VECTORS=strides[0], STRIDE_MATRIX=strides[1],
        VECTOR=p.k if along else 1, STEP=1 if along else count, SPLIT=plan.split,
        LANES=plan.lanes, FOUR=four, SUBGROUPS=shuffles,
        **operand_types(call, call.args.index(matrix)), **more, **_sizes(p))


def _after(call: KernelCall, splits: int) -> LoopKernel | None:
    """What follows within the part that multiplies."""
    return call.epilogue if splits == 1 else None


def _by_four(x: Atom, row: int, after: LoopKernel | None) -> bool:
    """Whether an argument is read four numbers at a time. Not where the epilogue reads it, too:
    one buffer has one type."""
    return row % 4 == 0 and (after is None or x not in after.reads)


PARTS = {PerElementGemm: _of_elements, TiledGemm: _of_tiles, GemvGemm: _of_vectors}
