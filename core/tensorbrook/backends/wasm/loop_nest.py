"""Which loops a Loop becomes: axes merged and ordered, one of them taken four lanes at a time."""
from dataclasses import dataclass
from math import prod

from ...base.views import View, coalesce_axes
from ...ir.kernel import IndexValue, Load, LoopKernel, ReduceOp, Value
from .expression_codegen import NAN_DROPPING_REDUCTIONS
from .pass_values import PassValues

LANES = 4
CHUNK = 16                  # elements of a cache line of float32
# A transpose takes so many columns before the next rows or, where they do not divide what there is,
# so many rows before the next columns. Chromium, one thread, 1024 x 1024 / 1000 x 1040 floats: 8
# columns 343 / 110 us, 16 columns 533 / 95; 16 / 32 / 64 / 128 rows of 1024 1410 / 540 / 450 / 510.
TRANSPOSE_COLUMNS, TRANSPOSE_ROWS = 8, 64
# What one vector costs in instructions: four lane loads, four lane stores, and four accumulators
# brought down to one number, of which a largest or smallest float has two. They only rank a loop's
# axes. Chromium, one thread, 160000 floats in rows of 8 / 16 / 24 / 32, along the row: softmax 205
# / 139 / 131 / 126 us, layer norm 65 / 54 / 58 / 47; across rows: softmax 158 to 164, layer norm
# 80 to 82, whatever their length.
GATHER_COST, SCATTER_COST, HORIZONTAL = 4, 5, 12


@dataclass(frozen=True)
class LoopNest:
    """Loop i, outermost first, turns `sizes[i]` times and walks the axes `groups[i]`, merged into
    one, by `scales[i]` at a turn. The first `kept` loops are not folded. Loop `vector` runs over
    lanes. The body of stage n is written `unrolls[n]` times, for neighbours along loop `spread`;
    the threads divide loop `shared`, if there is one."""

    axis_groups: tuple[tuple[int, ...], ...]
    scales: tuple[int, ...]
    sizes: tuple[int, ...]
    num_outer: int
    vector: int
    unroll_loop: int
    unrolls: tuple[int, ...]
    thread_loop: int | None

    def loop_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Strides along the space's axes as steps along the loops."""
        return tuple(strides[g[-1]] * k if g else 0 for g, k in zip(self.axis_groups, self.scales))

    @property
    def reduces_lanes(self) -> bool:
        """Whether lanes are folded together."""
        return self.vector >= self.num_outer

    def row_layout(self) -> tuple[tuple[int, ...], int]:
        """Steps in elements through what is kept of the rows in hand, and how many those are."""
        steps, count = [0] * len(self.sizes), 1
        if not self.reduces_lanes:
            steps[self.unroll_loop], count = LANES, LANES * self.unrolls[0]
            steps[self.vector] = 1
        for i in reversed(range(self.num_outer, len(self.sizes))):
            steps[i], count = count, count * self.sizes[i]
        return tuple(steps), count


def choose_loop_nest(loop: LoopKernel, shares: list[PassValues], split: bool) -> LoopNest:
    """The nest for a loop whose stages have these shares."""
    loads, stores, indices = _strides(loop, shares)
    weight = sum(share.weight + len(share.reloaded) + len(share.spilled) for share in shares)
    groups = _merged(loop, loads, stores, indices)
    folded = [g for g in groups if g[0] in loop.reduction_axes]
    kept = [g for g in groups if g[0] not in loop.reduction_axes] if groups else [()]
    costs = {g: _cost(loop, g, loads, stores, weight) for g in kept + folded}
    vector = min(reversed(costs), key=costs.__getitem__)
    across = _transposed_axes(loop, vector, kept)
    order = [g for g in kept if g not in (vector, across)]
    order += [g for g in (across, vector) if g in kept]
    order += [g for g in folded if g != vector] + [g for g in folded if g == vector]
    sizes, scales = [_size(loop, g) for g in order], [1] * len(order)
    at = order.index(vector)
    spread = at - 1 if across else at
    if across and not folded and sizes[spread] % TRANSPOSE_COLUMNS == 0:
        # Some columns at a time: cache lines are used up on both sides while they are there.
        order.append(across)
        sizes = [*sizes[:spread], sizes[spread] // TRANSPOSE_COLUMNS, sizes[at], TRANSPOSE_COLUMNS]
        scales = [*scales[:spread], TRANSPOSE_COLUMNS, 1, 1]
        spread = at + 1
    elif across and sizes[at] % TRANSPOSE_ROWS == 0:
        order.insert(spread, vector)
        sizes[spread:at + 1] = sizes[at] // TRANSPOSE_ROWS, sizes[spread], TRANSPOSE_ROWS
        scales.insert(spread, TRANSPOSE_ROWS)
        at, spread = at + 1, at
    outer = len(order) - len(folded)
    columns = at < outer and bool(folded)
    unrolls = [_unroll(sizes[at], share.weight + share.memory, columns) for share in shares]
    if columns and len(shares) == 1:
        unrolls = [_unroll_columns(sizes[at], unrolls[0], loop)]
    if at < outer:
        # One stage after the other goes over the same rows, so the shortest decides for all.
        # V8 of Node 20, one thread, 16000 rows of 10, 1 / 2 / 4 at a time: softmax 383 / 270 / 223
        # us, cross entropy and its gradient 417 / 329 / 287, layer norm 126 / 93 / 97.
        unrolls = [LANES if across else max(unrolls)] * len(shares)
    shared = _shared(sizes[:outer], (at, spread)) if split else None
    return LoopNest(tuple(order), tuple(scales), tuple(sizes), outer, at, spread, tuple(unrolls),
                shared)


def epilogue_nest(loop: LoopKernel, shares: list[PassValues]) -> LoopNest:
    """The nest for a loop of one stage over rows and columns, row after row; down a lone column."""
    groups = ((0,), (1,)) if loop.iteration_space[1] > 1 else ((1,), (0,))
    sizes = tuple(_size(loop, g) for g in groups)
    unrolls = tuple(_unroll(sizes[1], s.weight + s.memory, False) for s in shares)
    return LoopNest(groups, (1, 1), sizes, 2, 1, 1, unrolls, None)


def rows_are_contiguous(loop: LoopKernel) -> bool:
    """Whether one row of a loop over rows and columns, columns > 1, goes on as the next begins."""
    views = [v.view for v in loop.values if isinstance(v, Load)] + [s.view for s in loop.stores]
    views += [View(loop.iteration_space, v.strides) for v in loop.values if isinstance(v, IndexValue)]
    return loop.iteration_space[1] > 1 and all(v.strides[0] == loop.iteration_space[1] * v.strides[1] for v in views)


def zero_axes(strides: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Strides over the outer space, which has size 1 along `axes`."""
    return tuple(0 if i in axes else s for i, s in enumerate(strides))


def _strides(loop: LoopKernel, shares: list[PassValues]) -> tuple[list, list, list]:
    """The strides of every load, store and index over the space, as often as stages do them."""
    early = [loop.values[i] for share in shares for i in share.recomputed]
    late = [v for stage in loop.passes for v in stage.post_reduce]
    loads = [v.view.strides for v in early if isinstance(v, Load)]
    loads += [zero_axes(v.view.strides, loop.reduction_axes) for v in late if isinstance(v, Load)]
    indices = [v.strides for v in early if isinstance(v, IndexValue)]
    indices += [zero_axes(v.strides, loop.reduction_axes) for v in late if isinstance(v, IndexValue)]
    stores = [zero_axes(s.view.strides, loop.reduction_axes if loop.value_sites[s.value][1] else ())
              for s in loop.stores]
    return loads, stores, indices


def _merged(loop: LoopKernel, loads: list, stores: list, indices: list) -> tuple[tuple[int, ...], ...]:
    """Groups of axes, ordered so that memory is written and, where folded, read in order."""
    def reach(axis):
        strides = loads if axis in loop.reduction_axes else stores[:1]
        return max((abs(s[axis]) for s in strides), default=0)
    order = sorted(range(len(loop.iteration_space)), key=lambda axis: (-reach(axis), axis))
    views = [View(loop.iteration_space, s).transpose(order) for s in loads + stores + indices]
    sizes, labels = tuple(loop.iteration_space[a] for a in order), tuple(a in loop.reduction_axes for a in order)
    return tuple(tuple(order[i] for i in group) for group in coalesce_axes(sizes, views, labels))


def _size(loop: LoopKernel, group: tuple[int, ...]) -> int:
    return prod(loop.iteration_space[axis] for axis in group)


def _cost(loop: LoopKernel, group: tuple[int, ...], loads: list, stores: list, weight: int) -> float:
    """About how many instructions an element takes if the loop over `group` runs over lanes."""
    if not group:
        return 0
    n, axis, folded = _size(loop, group), group[-1], group[0] in loop.reduction_axes
    vectors, singles = divmod(n, LANES)
    memory = sum(1 if s[axis] in (0, 1) else GATHER_COST for s in loads)
    memory += sum(1 if s[axis] == 1 or folded and s[axis] == 0 else SCATTER_COST for s in stores)
    single = weight + len(loads) + len(stores)
    horizontal = sum(map(_lane_reduction_cost, loop.values)) if folded else 0
    return (vectors * (weight + memory) + singles * single + horizontal) / max(n, 1)


def _lane_reduction_cost(value: Value) -> int:
    """What a value takes when the lanes of a row are brought together."""
    if not isinstance(value, ReduceOp):
        return 0
    two = value.dtype.kind == "f" and value.reduction.combiner in NAN_DROPPING_REDUCTIONS
    return 2 * HORIZONTAL if two else HORIZONTAL


def _transposed_axes(loop: LoopKernel, vector: tuple[int, ...], kept: list) -> tuple[int, ...] | None:
    """The axes along which something lies side by side that does not along the vector loop: tiles
    of four by four then turn it, where there is room for some."""
    if vector not in kept or _size(loop, vector) < LANES:
        return None
    for value, (_, late) in zip(loop.values, loop.value_sites):
        if not late and isinstance(value, Load) and value.dtype.size == 4 and vector:
            if value.view.strides[vector[-1]] not in (0, 1):
                for group in kept:
                    if value.view.strides[group[-1]] == 1 and _size(loop, group) >= LANES:
                        return group
    return None


def _unroll(n: int, weight: int, down_columns: bool) -> int:
    """How many vectors at a time: more where the body is short or is summed down columns."""
    # Chromium, one thread, 16384 floats, 1 / 2 / 4 at a time: max(x, 0) 1.03 / 0.72 / 0.72 us,
    # sums of rows 0.97 / 0.67 / 0.65, of columns 1.60 / 1.45 / 0.75, x + y 1.3 / 1.2 / 1.3.
    wanted = 4 if weight <= (24 if down_columns else 10) else 2 if weight <= 24 else 1
    return max(1, min(wanted, n // LANES))


def _unroll_columns(n: int, most: int, loop: LoopKernel) -> int:
    """How many vectors at a time where columns are folded: each has an accumulator for each fold,
    and beside eight of them V8 has registers left."""
    # Chromium, one thread. One fold, 4 / 8 / 12 at a time: sums of the columns of 1024 x 1024 168 /
    # 78 / 76 us, of 8192 x 128 67 / 50 / 94. Two folds of 1024 x 1024, 2 / 4 / 8: 102 / 72 / 147.
    # Four of 8192 x 64, 1 / 2 / 4: 140 / 81 / 195.
    folds = sum(isinstance(v, ReduceOp) for v in loop.values)
    return max(1, min(8 // folds, n // LANES)) if folds else most


def _shared(kept: list[int], by_chunks: tuple[int, int]) -> int | None:
    """The outermost loop with enough turns for many threads, else the one with most."""
    turns = [-(-n // CHUNK) if i in by_chunks else n for i, n in enumerate(kept)]
    enough = [i for i, n in enumerate(turns) if n >= CHUNK]
    return min(enough) if enough else max(range(len(kept)), key=lambda i: turns[i], default=None)
