"""Matrix products (GEMM): one invocation per element, GEMV, or tiles, selected by shape.

The selection is a heuristic; not tuned on hardware. Tiles of 128 x 128 should be limited by
arithmetic: an invocation sums 8 x 8 results in 64 registers (112 with temporaries, so that two
workgroups of 256 share 64 K registers); 16 numbers from workgroup memory feed 64 multiplications,
and 256 from the buffers feed 16,384, so that a loaded byte feeds 16. All indices of the inner loop
are constants, its loads are 16 bytes wide and free of bank conflicts, and the next tile is loaded
while this one is multiplied. Mesa's compiler for a Radeon (navi21), which needs no device, emits
1,210 instructions per iteration: 1,024 multiply-adds and 64 loads from workgroup memory; no
register is spilled, and the loads are awaited after the multiply-adds.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir import Atom, KernelCall, LoopKernel
from ..device_info import DeviceInfo
from ..loop_codegen import epilogue_takes_vec4
from ..shader_dispatch import ShaderDispatch, grid, next_power_of_two
from .product_outputs import (element_type, final_dispatch, operand_types, split_k_dispatches,
                              zero_output)

TILE_K = 16                      # length of a step of a tile along k
MAX_PER_ELEMENT_MACS = 1 << 21   # multiply-adds that take no longer than to start a tiled product
MAX_PER_ELEMENT_K = 256          # length of k that one invocation sums
MAX_GEMV_VECTORS = 4             # rows or columns that are treated as vectors
RESIDENT_INVOCATIONS = 1 << 15   # of a large GPU: 256 on each of 128 compute units
PARTIAL_SUM_COST = 1 / 128       # cycles of the whole GPU to store and load a partial sum
DISPATCH_COST = 4000             # cycles, 1 to 3 microseconds, of a dispatch and its dependency
TARGET_WORKGROUPS = 1024         # workgroups of 256 that saturate the memory of a large GPU


@dataclass(frozen=True)
class GemmShape:
    """The parameters of the call, in its order (wasm/engine.h)."""

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
        """Elements of the result."""
        return self.batch * self.m * self.n


@dataclass(frozen=True)
class Tile:
    """A workgroup computes side x side results; an invocation a microtile of
    (4 * microtile_rows_vec4) x (4 * microtile_cols_vec4)."""

    side: int
    microtile_rows_vec4: int
    microtile_cols_vec4: int

    @property
    def lanes(self) -> int:
        return 2 * self.side

    @property
    def workgroup_bytes(self) -> int:
        return 2 * self.side * TILE_K * 4

    @property
    def reuse(self) -> float:
        """Multiplications per number that is loaded from workgroup memory."""
        rows, columns = self.microtile_rows_vec4, self.microtile_cols_vec4
        return 4 * rows * columns / (rows + columns)


TILES = (Tile(128, 2, 2), Tile(64, 2, 1), Tile(32, 1, 1))


@dataclass(frozen=True)
class PerElementGemm:
    """One invocation per element of the result."""

    split_k = 1


@dataclass(frozen=True)
class TiledGemm:
    """Tiles of one size; k is split into `split_k` parts of length `k_per_split`."""

    tile: Tile
    split_k: int
    k_per_split: int


@dataclass(frozen=True)
class GemvGemm:
    """Few vectors times a matrix.

    With `reduces_across_rows`, the rows of the matrix are across k: `lanes` neighbouring
    invocations process columns, in `rows_or_slices` slices of k. Otherwise the rows are along k:
    `lanes` invocations share a row, and a workgroup has `rows_or_slices` rows."""

    vectors_are_columns: bool                # the vectors are columns of b, not rows of a
    reduces_across_rows: bool
    lanes: int
    rows_or_slices: int
    split_k: int
    k_per_split: int


GemmAlgorithm = PerElementGemm | TiledGemm | GemvGemm


def gemm(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """See wasm/engine.h; float16 products are summed in float32."""
    p = canonicalize(GemmShape(*map(int, call.params)))
    if not p.count * p.k:
        return zero_output(call, device_info)
    algorithm = select_algorithm(p, device_info)
    return LOWERINGS[type(algorithm)](call, p, algorithm, device_info)


KERNELS = {"gemm": gemm}


def canonicalize(p: GemmShape) -> GemmShape:
    """Return the same product with fewer batch items, and with vectors along k."""
    if p.batch > 1 and not (p.stride_b or p.transpose_a) and p.stride_a == p.m * p.k:
        p = replace(p, batch=1, m=p.batch * p.m, stride_a=0)
    if p.m == 1:
        p = replace(p, transpose_a=0)
    return replace(p, transpose_b=1) if p.n == 1 else p


def select_algorithm(p: GemmShape, device_info: DeviceInfo) -> GemmAlgorithm:
    """Select the algorithm of a product that is not empty, with k > 0."""
    if p.k <= MAX_PER_ELEMENT_K and p.count * p.k <= MAX_PER_ELEMENT_MACS:
        return PerElementGemm()
    return choose_gemv(p, device_info) if min(p.m, p.n) <= MAX_GEMV_VECTORS \
        else choose_tiled(p, device_info)


def choose_tiled(p: GemmShape, device_info: DeviceInfo) -> TiledGemm:
    """Choose the tile and the split of k with the least estimated time."""
    return min(tile_candidates(p, device_info), key=lambda tiled: estimated_cycles(p, tiled))


def tile_candidates(p: GemmShape, device_info: DeviceInfo) -> list[TiledGemm]:
    """Return the tiled algorithms that the device supports."""
    tiles = [t for t in TILES if t.lanes <= device_info.max_invocations
             and t.workgroup_bytes <= device_info.workgroup_bytes]
    return [TiledGemm(tile, *_split_k(p.k, splits, TILE_K)) for tile in tiles
            for splits in (1, 2, 4, 8, 16, 32) if _can_split(p, splits, device_info)]


def estimated_cycles(p: GemmShape, tiled: TiledGemm) -> float:
    """Estimate the time, in multiply-adds of one invocation at peak rate."""
    tile = tiled.tile
    workgroups = tiled.split_k * p.batch * -(-p.m // tile.side) * -(-p.n // tile.side)
    rounds = max(1, workgroups * tile.lanes / RESIDENT_INVOCATIONS)
    multiply_adds = tile.side ** 2 / tile.lanes * tiled.k_per_split
    tile_cycles = multiply_adds * TILES[0].reuse / tile.reuse
    sum_cycles = tiled.split_k * p.count * PARTIAL_SUM_COST + DISPATCH_COST \
        if tiled.split_k > 1 else 0
    return rounds * tile_cycles + sum_cycles


def choose_gemv(p: GemmShape, device_info: DeviceInfo) -> GemvGemm:
    """Choose enough workgroups to saturate memory, with a minimum of work for each."""
    vectors_are_columns = p.m > MAX_GEMV_VECTORS or p.n < p.m
    across = bool(p.transpose_a if vectors_are_columns else not p.transpose_b)
    width = p.m if vectors_are_columns else p.n
    lanes = min(256, device_info.max_invocations)
    is_vec4 = (width if across else p.k) % 4 == 0
    units = p.batch * (width // 4 if across and is_vec4 else width)
    steps = p.k // 4 if is_vec4 and not across else p.k
    # Invocations that share a unit: a row, or one or four columns.
    sharing, max_sharing = 1, lanes // (8 if is_vec4 else 32)
    if not across:
        sharing, max_sharing = min(32, next_power_of_two(steps)), lanes
    while sharing * 2 <= max_sharing and units * sharing < TARGET_WORKGROUPS * lanes \
            and steps >= 16 * sharing:
        sharing *= 2
    groups, splits = -(-units * sharing // lanes), 1
    while groups * splits < TARGET_WORKGROUPS and steps >= 32 * sharing * splits \
            and _can_split(p, 2 * splits, device_info):
        splits *= 2
    shape = (lanes // sharing, sharing) if across else (sharing, lanes // sharing)
    return GemvGemm(vectors_are_columns, across, *shape, *_split_k(p.k, splits, 4))


def _split_k(k: int, splits: int, multiple: int) -> tuple[int, int]:
    """Return (number of splits, length of each but the last)."""
    length = -(-k // (splits * multiple)) * multiple
    return -(-k // length), length


def _can_split(p: GemmShape, splits: int, device_info: DeviceInfo) -> bool:
    return splits == 1 or (p.k >= 4 * TILE_K * splits and
                           4 * splits * p.count <= device_info.binding_bytes)


# ── dispatches ────────────────────────────────────────────────────────────────────────────────


def _sizes(p: GemmShape) -> dict[str, int]:
    return {"BATCH": p.batch, "N": p.n, "K": p.k}


def _per_element(call: KernelCall, p: GemmShape, algorithm: PerElementGemm,
                 device_info: DeviceInfo) -> list[ShaderDispatch]:
    lanes = min(256, device_info.max_invocations)
    row_stride_a, k_stride_a = (1, p.m) if p.transpose_a else (p.k, 1)
    column_stride_b, k_stride_b = (p.k, 1) if p.transpose_b else (1, p.n)
    return [final_dispatch(
        call, "gemm_per_element", dict(zip("ab", call.args)),
        grid(p.count, lanes, device_info.max_workgroups), M=p.m, STRIDE_A=p.stride_a,
        STRIDE_B=p.stride_b, ROW_STRIDE_A=row_stride_a, K_STRIDE_A=k_stride_a,
        COLUMN_STRIDE_B=column_stride_b, K_STRIDE_B=k_stride_b, LANES=lanes,
        UNROLLED=not device_info.is_software, sum_type=element_type(call), **operand_types(call),
        **_sizes(p))]


def _tiled(call: KernelCall, p: GemmShape, algorithm: TiledGemm,
           device_info: DeviceInfo) -> list[ShaderDispatch]:
    tile, splits, (a, b) = algorithm.tile, algorithm.split_k, call.args
    epilogue = _inlined_epilogue(call, splits)
    workgroups = splits * p.batch * -(-p.m // tile.side) * -(-p.n // tile.side)
    a_is_vec4 = _reads_vec4(a, p.m if p.transpose_a else p.k, epilogue)
    b_is_vec4 = _reads_vec4(b, p.k if p.transpose_b else p.n, epilogue)
    if a is b:
        a_is_vec4 = b_is_vec4 = a_is_vec4 and b_is_vec4       # one buffer has one element type
    return split_k_dispatches(
        call, device_info, splits, "gemm", "ab",
        grid(workgroups, 1, device_info.max_workgroups), M=p.m, TRANSPOSE_A=p.transpose_a,
        TRANSPOSE_B=p.transpose_b, STRIDE_A=p.stride_a, STRIDE_B=p.stride_b,
        K_PER_SPLIT=algorithm.k_per_split, TILE_M=tile.side, TILE_N=tile.side, TILE_K=TILE_K,
        MICROTILE_ROWS_VEC4=tile.microtile_rows_vec4, MICROTILE_COLS_VEC4=tile.microtile_cols_vec4,
        UNROLLED=not device_info.is_software, A_IS_VEC4=a_is_vec4, B_IS_VEC4=b_is_vec4,
        OUT_IS_VEC4=p.n % 4 == 0 and (epilogue is None or epilogue_takes_vec4(call)),
        **operand_types(call), **_sizes(p))


def _gemv(call: KernelCall, p: GemmShape, algorithm: GemvGemm,
          device_info: DeviceInfo) -> list[ShaderDispatch]:
    names, strides = ("vectors", "matrix"), (p.stride_a, p.stride_b)
    vectors, matrix = call.args
    count, width, contiguous = p.m, p.n, not p.transpose_a      # whether each vector is contiguous
    if algorithm.vectors_are_columns:
        names, strides, (vectors, matrix) = names[::-1], strides[::-1], (matrix, vectors)
        count, width, contiguous = p.n, p.m, bool(p.transpose_b)
    epilogue, across = _inlined_epilogue(call, algorithm.split_k), algorithm.reduces_across_rows
    is_vec4 = matrix is not vectors and _reads_vec4(matrix, width if across else p.k, epilogue)
    sharing = algorithm.rows_or_slices if across else algorithm.lanes
    shuffles = device_info.min_subgroup_size > 0 and sharing > 1
    if across:
        template, columns = "gemv_columns", algorithm.lanes * (4 if is_vec4 else 1)
        settings = {"SLICES": algorithm.rows_or_slices}
    else:
        template, columns = "gemv_rows", algorithm.rows_or_slices
        vectors_are_vec4 = is_vec4 and contiguous and _reads_vec4(vectors, p.k, epilogue)
        settings = {"ROWS": algorithm.rows_or_slices, "VECTORS_ARE_VEC4": vectors_are_vec4}
        if shuffles:
            settings |= {"MIN_SUBGROUP_SIZE": device_info.min_subgroup_size}
    workgroups = grid(algorithm.split_k * p.batch * width, columns, device_info.max_workgroups)
    return split_k_dispatches(
        call, device_info, algorithm.split_k, template, names, workgroups, COUNT=count,
        WIDTH=width, VECTORS_ARE_COLUMNS=algorithm.vectors_are_columns, STRIDE_VECTORS=strides[0],
        STRIDE_MATRIX=strides[1], VECTOR_STRIDE=p.k if contiguous else 1,
        K_STRIDE=1 if contiguous else count, K_PER_SPLIT=algorithm.k_per_split,
        LANES=algorithm.lanes, MATRIX_IS_VEC4=is_vec4, SUBGROUPS=shuffles,
        **operand_types(call, call.args.index(matrix)), **settings, **_sizes(p))


def _inlined_epilogue(call: KernelCall, splits: int) -> LoopKernel | None:
    """The epilogue if the dispatch that multiplies computes it; with splits, their sum does."""
    return call.epilogue if splits == 1 else None


def _reads_vec4(x: Atom, row_length: int, epilogue: LoopKernel | None) -> bool:
    """Whether an argument is read as vec4s. Not if the epilogue reads it too: a buffer has one
    element type."""
    return row_length % 4 == 0 and (epilogue is None or x not in epilogue.reads)


LOWERINGS = {PerElementGemm: _per_element, TiledGemm: _tiled, GemvGemm: _gemv}
