"""Loop nest selection: merges and orders a LoopKernel's axes and picks the vectorized loop."""
from dataclasses import dataclass
from math import prod

from ...base.views import View
from ...ir.kernels import IndexValue, Load, LoopKernel, ReduceOp, Value
from .expression_codegen import NAN_DROPPING_REDUCTIONS
from .pass_values import PassValues

LANES = 4
CHUNK = 16                  # float32 elements of a cache line
# A transpose is tiled: TRANSPOSE_COLUMNS columns of all rows at a time or, where that does not
# divide the number of columns, TRANSPOSE_ROWS rows of all columns. Chromium, one thread,
# 1024 x 1024 / 1000 x 1040 floats: 8 columns 343 / 110 us, 16 columns 533 / 95; 16 / 32 / 64 / 128
# rows of 1024 1410 / 540 / 450 / 510.
TRANSPOSE_COLUMNS, TRANSPOSE_ROWS = 8, 64
# Instructions per vector: to gather it from four loads, to scatter it with four stores, and to
# reduce the four lanes of an accumulator. They only rank a loop's axes. Chromium, one thread,
# 160000 floats in rows of 8 / 16 / 24 / 32, vectorized along the row: softmax 205 / 139 / 131 /
# 126 us, layer norm 65 / 54 / 58 / 47; across rows, at every length: softmax 158 to 164, layer norm
# 80 to 82.
GATHER_COST, SCATTER_COST, HORIZONTAL_COST = 4, 5, 12


@dataclass(frozen=True)
class LoopNest:
    """Loop i, outermost first, has `sizes[i]` iterations over the axes `axis_groups[i]`, merged
    into one, and advances by `scales[i]` elements per iteration. The first `num_outer` loops are
    not reduced. Loop `vector_loop` is vectorized. The body of pass n is unrolled
    `unroll_factors[n]` times along loop `unroll_loop`. The threads partition `thread_loop`."""

    axis_groups: tuple[tuple[int, ...], ...]
    scales: tuple[int, ...]
    sizes: tuple[int, ...]
    num_outer: int
    vector_loop: int
    unroll_loop: int
    unroll_factors: tuple[int, ...]
    thread_loop: int | None

    def loop_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Convert strides along the iteration space's axes into strides along the loops."""
        return tuple(strides[g[-1]] * k if g else 0 for g, k in zip(self.axis_groups, self.scales))

    @property
    def reduces_lanes(self) -> bool:
        """Whether the vectorized loop is reduced, so that lanes have to be combined."""
        return self.vector_loop >= self.num_outer

    def row_layout(self) -> tuple[tuple[int, ...], int]:
        """Return the layout of one value in the row cache, which holds the rows of one iteration
        of the outer loops: its strides along the loops, in elements, and its element count."""
        strides, count = [0] * len(self.sizes), 1
        if not self.reduces_lanes:
            strides[self.unroll_loop], count = LANES, LANES * self.unroll_factors[0]
            strides[self.vector_loop] = 1
        for i in reversed(range(self.num_outer, len(self.sizes))):
            strides[i], count = count, count * self.sizes[i]
        return tuple(strides), count


def choose_loop_nest(loop: LoopKernel, passes: list[PassValues], parallel: bool) -> LoopNest:
    """Choose the nest of a loop kernel with ordered axes whose passes compute the given values."""
    loads, stores = _strides(loop, passes)
    weight = sum(p.weight + len(p.reloaded) + len(p.spilled) for p in passes)
    groups = [(axis,) for axis, n in enumerate(loop.iteration_space) if n != 1]
    reduced = [g for g in groups if g[0] in loop.reduction_axes]
    outer = [g for g in groups if g[0] not in loop.reduction_axes] if groups else [()]
    costs = {g: _cost(loop, g, loads, stores, weight) for g in outer + reduced}
    vectorized = min(reversed(costs), key=costs.__getitem__)
    transposed = _transposed_axes(loop, vectorized, outer)
    order = [g for g in outer if g not in (vectorized, transposed)]
    order += [g for g in (transposed, vectorized) if g in outer]
    order += [g for g in reduced if g != vectorized] + [g for g in reduced if g == vectorized]
    sizes, scales = [_size(loop, g) for g in order], [1] * len(order)
    vector = order.index(vectorized)
    unroll = vector - 1 if transposed else vector
    if transposed and not reduced and sizes[unroll] % TRANSPOSE_COLUMNS == 0:
        # A tile of a few columns uses the cache lines of both sides completely while they are
        # in cache.
        order.append(transposed)
        columns = sizes[unroll] // TRANSPOSE_COLUMNS
        sizes = [*sizes[:unroll], columns, sizes[vector], TRANSPOSE_COLUMNS]
        scales = [*scales[:unroll], TRANSPOSE_COLUMNS, 1, 1]
        unroll = vector + 1
    elif transposed and sizes[vector] % TRANSPOSE_ROWS == 0:
        order.insert(unroll, vectorized)
        rows = sizes[vector] // TRANSPOSE_ROWS
        sizes[unroll:vector + 1] = rows, sizes[unroll], TRANSPOSE_ROWS
        scales.insert(unroll, TRANSPOSE_ROWS)
        vector, unroll = vector + 1, vector
    num_outer = len(order) - len(reduced)
    sums_columns = vector < num_outer and bool(reduced)
    factors = [_unroll_factor(sizes[vector], p.weight + p.memory, sums_columns) for p in passes]
    if sums_columns and len(passes) == 1:
        factors = [_column_unroll_factor(sizes[vector], factors[0], loop)]
    if vector < num_outer:
        # All passes process the same rows, so they share the factor of the shortest body.
        # V8 of Node 20, one thread, 16000 rows of 10, 1 / 2 / 4 at a time: softmax 383 / 270 / 223
        # us, cross entropy and its gradient 417 / 329 / 287, layer norm 126 / 93 / 97.
        factors = [LANES if transposed else max(factors)] * len(passes)
    thread_loop = _thread_loop(sizes[:num_outer], (vector, unroll)) if parallel else None
    return LoopNest(tuple(order), tuple(scales), tuple(sizes), num_outer, vector, unroll,
                    tuple(factors), thread_loop)


def epilogue_nest(loop: LoopKernel, passes: list[PassValues]) -> LoopNest:
    """Return the nest of an epilogue over (rows, columns): row by row; a single column is
    vectorized down the rows."""
    groups = ((0,), (1,)) if loop.iteration_space[1] > 1 else ((1,), (0,))
    sizes = tuple(_size(loop, g) for g in groups)
    factors = tuple(_unroll_factor(sizes[1], p.weight + p.memory, False) for p in passes)
    return LoopNest(groups, (1, 1), sizes, 2, 1, 1, factors, None)


def rows_are_contiguous(loop: LoopKernel) -> bool:
    """Whether, in a loop over (rows, columns > 1), every row begins where the previous row ends,
    so that rows can be flattened."""
    space = loop.iteration_space
    views = [v.view for v in loop.values if isinstance(v, Load)] + [s.view for s in loop.stores]
    views += [View(space, v.strides) for v in loop.values if isinstance(v, IndexValue)]
    return space[1] > 1 and all(v.strides[0] == space[1] * v.strides[1] for v in views)


def zero_axes(strides: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides with 0 along `axes`."""
    return tuple(0 if i in axes else s for i, s in enumerate(strides))


def _strides(loop: LoopKernel, passes: list[PassValues]) -> tuple[list, list]:
    """Return the strides of all loads and stores, of a load for every pass that computes it."""
    per_element = [loop.values[i] for p in passes for i in p.recomputed]
    post_reduce = [v for p in loop.passes for v in p.post_reduce]

    def reduced(strides):
        return zero_axes(strides, loop.reduction_axes)
    loads = [v.view.strides for v in per_element if isinstance(v, Load)]
    loads += [reduced(v.view.strides) for v in post_reduce if isinstance(v, Load)]
    stores = [reduced(s.view.strides) if loop.value_sites[s.value][1] else s.view.strides
              for s in loop.stores]
    return loads, stores


def _size(loop: LoopKernel, group: tuple[int, ...]) -> int:
    return prod(loop.iteration_space[axis] for axis in group)


def _cost(
    loop: LoopKernel, group: tuple[int, ...], loads: list, stores: list, weight: int
) -> float:
    """Estimate the instructions per element if the loop over `group` is vectorized."""
    if not group:
        return 0
    n, axis, reduced = _size(loop, group), group[-1], group[0] in loop.reduction_axes
    vectors, singles = divmod(n, LANES)
    memory = sum(1 if s[axis] in (0, 1) else GATHER_COST for s in loads)
    memory += sum(1 if s[axis] == 1 or reduced and s[axis] == 0 else SCATTER_COST for s in stores)
    single = weight + len(loads) + len(stores)
    horizontal = sum(map(_lane_reduction_cost, loop.values)) if reduced else 0
    return (vectors * (weight + memory) + singles * single + horizontal) / max(n, 1)


def _lane_reduction_cost(value: Value) -> int:
    """Estimate the instructions that combine the lanes of a reduction's accumulators."""
    if not isinstance(value, ReduceOp):
        return 0
    # A float maximum or minimum has two accumulators; the second one records NaN.
    two = value.dtype.kind == "f" and value.reduction.combiner in NAN_DROPPING_REDUCTIONS
    return 2 * HORIZONTAL_COST if two else HORIZONTAL_COST


def _transposed_axes(
    loop: LoopKernel, vectorized: tuple[int, ...], outer: list
) -> tuple[int, ...] | None:
    """Return the axes along which a load is contiguous that is strided along the vectorized axes,
    or None. Such a load is transposed in tiles of LANES x LANES elements."""
    if vectorized not in outer or _size(loop, vectorized) < LANES:
        return None
    for value, (_, post_reduce) in zip(loop.values, loop.value_sites):
        if not post_reduce and isinstance(value, Load) and value.dtype.size == 4 and vectorized:
            if value.view.strides[vectorized[-1]] not in (0, 1):
                for group in outer:
                    if value.view.strides[group[-1]] == 1 and _size(loop, group) >= LANES:
                        return group
    return None


def _unroll_factor(n: int, weight: int, sums_columns: bool) -> int:
    """Return how many vectors to process at a time: more if the body is short or sums columns."""
    # Chromium, one thread, 16384 floats, 1 / 2 / 4 at a time: max(x, 0) 1.03 / 0.72 / 0.72 us,
    # sums of rows 0.97 / 0.67 / 0.65, of columns 1.60 / 1.45 / 0.75, x + y 1.3 / 1.2 / 1.3.
    factor = 4 if weight <= (24 if sums_columns else 10) else 2 if weight <= 24 else 1
    return max(1, min(factor, n // LANES))


def _column_unroll_factor(n: int, default: int, loop: LoopKernel) -> int:
    """Return how many vectors to process at a time when columns are reduced. Each vector has one
    accumulator per reduction; V8 can keep eight of them in registers besides other values."""
    # Chromium, one thread. One reduction, 4 / 8 / 12 at a time: sums of the columns of 1024 x 1024
    # 168 / 78 / 76 us, of 8192 x 128 67 / 50 / 94. Two reductions of 1024 x 1024, 2 / 4 / 8: 102 /
    # 72 / 147. Four of 8192 x 64, 1 / 2 / 4: 140 / 81 / 195.
    reductions = sum(isinstance(v, ReduceOp) for v in loop.values)
    return max(1, min(8 // reductions, n // LANES)) if reductions else default


def _thread_loop(sizes: list[int], chunked: tuple[int, int]) -> int | None:
    """Return the outermost loop with at least CHUNK units of work to partition, else the loop with
    the most units. A unit is one iteration; in the `chunked` loops it is a cache line."""
    units = [-(-n // CHUNK) if i in chunked else n for i, n in enumerate(sizes)]
    large = [i for i, n in enumerate(units) if n >= CHUNK]
    return min(large) if large else max(range(len(sizes)), key=lambda i: units[i], default=None)
