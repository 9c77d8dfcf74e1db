"""Reduction code generation: row reductions with a tree over subgroups or workgroup memory.

A row is the set of all indices that reduce to one result, and a workgroup assigns some of its lanes
to each row. The lanes of a row process interleaved elements; each reduces its own, and a tree in
fixed order combines the lanes: by shuffles within a subgroup if the device has subgroups, otherwise
in workgroup memory. Further passes read the row from cache again and recompute elementwise values.
If memory is contiguous across rows and not along them (column sums), neighbouring invocations have
neighbouring rows; the lanes of a row are then a cache line apart, so in different subgroups, and
are combined in workgroup memory on every device. Workgroup shapes are heuristics; not tuned on
hardware.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

from ...base.shapes import num_elements
from ...ir import ElementwiseOp, Load, LoopKernel, ReduceOp
from .axis_order import is_column_reduction, varying_values, vec4_buffers
from .device_info import DeviceInfo
from .expression_codegen import WgslExpression, literal, render_expression
from .shader_dispatch import ShaderDispatch, grid, next_power_of_two, previous_power_of_two
from .split_reduction import split_long_rows
from .wgsl_emitter import VEC4, LoopIndex, WgslEmitter, register_type, subgroup_shuffle

MAX_SINGLE_LANE = 16         # elements of a row that one lane reduces alone
TARGET_INVOCATIONS = 1 << 16             # invocations that keep a large GPU busy
MAX_LANES = 256              # of a workgroup, even if the device supports more
MAX_COLUMN_LANES = 8         # per column, so that 32 columns, a cache line, are contiguous
TREE_FANIN = 16              # lanes that are combined in one level
SLOT_BYTES = 8               # workgroup memory of an accumulator of a lane, on two levels
# With subgroups, a row gets 32 lanes, which are one subgroup on most GPUs, as long as each lane
# needs at most this many iterations.
SUBGROUP, MAX_ITERATIONS = 32, 4


@dataclass(frozen=True)
class WorkgroupShape:
    """A workgroup has `rows_per_group` rows of `lanes` lanes. The lanes of a row are neighbours;
    with `columns`, the rows are neighbours instead."""

    rows: int
    length: int
    lanes: int
    rows_per_group: int
    columns: bool

    @property
    def size(self) -> int:
        return self.lanes * self.rows_per_group

    @property
    def lane_stride(self) -> int:
        """Distance between consecutive lanes of a row."""
        return self.rows_per_group if self.columns else 1

    @property
    def tree_levels(self) -> tuple[int, int]:
        """(chunks of a row's lanes, lanes of a chunk): each level combines up to TREE_FANIN."""
        chunk = self.lanes if self.lanes <= TREE_FANIN else next_power_of_two(isqrt(self.lanes))
        return self.lanes // chunk, chunk


def reduction_dispatches(loop: LoopKernel, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Lower a loop with reductions to dispatches."""
    dispatches = []
    for part, temporaries in split_long_rows(loop, device_info):
        dispatch = _ReductionEmitter(part, device_info).dispatch()
        buffers = {name: temporaries[atom] if atom in temporaries else atom
                   for name, atom in dispatch.buffers.items()}
        dispatches.append(ShaderDispatch(dispatch.code, buffers, dispatch.groups))
    return dispatches


def choose_workgroup(loop: LoopKernel, device_info: DeviceInfo, unroll: int) -> WorkgroupShape:
    rows = num_elements(loop.reduced_space)
    length = num_elements(tuple(loop.iteration_space[a] for a in loop.reduction_axes))
    columns = is_column_reduction(loop)
    slot_bytes = SLOT_BYTES * max(_slots_per_lane(loop), 1)
    max_lanes = previous_power_of_two(min(MAX_LANES, device_info.workgroup_bytes // slot_bytes))
    if columns:
        lanes = min(previous_power_of_two(max(length // MAX_SINGLE_LANE, 1)), MAX_COLUMN_LANES,
                    next_power_of_two(-(-TARGET_INVOCATIONS // rows)), max_lanes)
    elif length <= MAX_SINGLE_LANE:
        lanes = 1
    else:
        in_subgroup = device_info.min_subgroup_size \
            and length // unroll <= SUBGROUP * MAX_ITERATIONS
        lanes = min(previous_power_of_two(length // unroll), max_lanes,
                    SUBGROUP if in_subgroup else max_lanes)
    rows_per_group = min(max_lanes // lanes, next_power_of_two(rows))
    return WorkgroupShape(rows, length, lanes, rows_per_group, columns)


def _slots_per_lane(loop: LoopKernel) -> int:
    """Workgroup memory slots of a lane on each level; passes share the slots of a type."""
    types = [[register_type(v.dtype) for v in row_pass.post_reduce if isinstance(v, ReduceOp)]
             for row_pass in loop.passes]
    return len({slot for types_of_pass in types for slot in enumerate(types_of_pass)})


def _times(text: str, factor: int) -> str:
    return text if factor == 1 else f"{text} * {factor}u"


class _ReductionEmitter:
    """Emits one dispatch of a loop with reductions. `acc{i}_{j}` is the accumulator of value i for
    the j-th of the unrolled elements."""

    def __init__(self, loop: LoopKernel, device_info: DeviceInfo):
        self.loop, self.device_info = loop, device_info
        row_end = loop.iteration_space[-1]
        is_vec4 = row_end % VEC4 == 0 and not is_column_reduction(loop) and row_end > 0
        self.unroll = VEC4 if is_vec4 else 1
        self.shape = choose_workgroup(loop, device_info, self.unroll)
        self.emitter = WgslEmitter(loop, self.unroll,
                                   vec4_buffers(loop) if is_vec4 else frozenset())
        self.varies_in_row = varying_values(loop, set(loop.reduction_axes))
        self.varies_in_vec4 = varying_values(loop, {len(loop.iteration_space) - 1})
        self.emitter.uses_subgroups = device_info.min_subgroup_size > 0 and self.shape.lanes > 1 \
            and not self.shape.columns
        self.subgroup_trees = 0                      # trees so far that use workgroup memory
        self.slot_declarations: dict[str, str] = {}
        self.computed: set[int] = set()              # values that are constant along the row

    def dispatch(self) -> ShaderDispatch:
        shape, emitter = self.shape, self.emitter
        groups = grid(shape.rows, shape.rows_per_group, self.device_info.max_workgroups)
        self.begin(groups)
        for n in range(len(self.loop.passes)):
            self.emit_pass(n)
        declarations = "".join(text + "\n" for text in self.slot_declarations.values())
        parameters = "@builtin(workgroup_id) group: vec3u, " \
            "@builtin(local_invocation_index) lane: u32"
        if emitter.uses_subgroups:
            parameters += ", @builtin(subgroup_size) subgroup_size: u32"
        code = emitter.module(declarations, parameters, shape.size)
        return ShaderDispatch(code, emitter.buffers(), groups)

    def begin(self, groups: tuple[int, int, int]):
        """Emit the row of this invocation and its lane within the row."""
        shape, line = self.shape, self.emitter.line
        first = f"(group.y * {groups[0]}u + group.x) * {shape.rows_per_group}u"
        if shape.lanes == 1:
            line(f"let row = {first} + lane;")
            line(f"if (row >= {shape.rows}u) {{ return; }}")
        else:
            row_lane, row_in_group = (
                (f"lane / {shape.rows_per_group}u", f"lane % {shape.rows_per_group}u")
                if shape.columns else (f"lane % {shape.lanes}u", f"lane / {shape.lanes}u"))
            line(f"let row_lane = {row_lane};")
            line(f"let unclamped_row = {first} + {row_in_group};")
            # All lanes must reach the barriers, also lanes without a row.
            line(f"let in_range = unclamped_row < {shape.rows}u;")
            line(f"let row = min(unclamped_row, {shape.rows - 1}u);")
        if self.emitter.uses_subgroups:
            line(f"let width = min(subgroup_size, {shape.lanes}u);")
        elif shape.lanes > 1:
            chunk = shape.tree_levels[1]
            chunk_index = _times(f"row_lane / {chunk}u", chunk * shape.lane_stride)
            line(f"let row_begin = lane - {_times('row_lane', shape.lane_stride)};")
            line(f"let chunk_begin = row_begin + {chunk_index};")
        kept_sizes = list(self.loop.iteration_space[:self.loop.reduction_axes[0]])
        names = self.emitter.split_index("row", kept_sizes, "i")
        self.row_indices = [LoopIndex(name) for name in names]
        self.leave_row()

    def leave_row(self):
        """Set the indices of code outside of the loop over the row."""
        self.emitter.indices = self.row_indices + \
            [LoopIndex("0u")] * len(self.loop.reduction_axes)

    # ── passes ──

    def emit_pass(self, n: int):
        needed = self.needed(n)
        for i in needed:
            if not self.varies_in_row[i] and i not in self.computed:
                self.emitter.compute(i, False)
                self.computed.add(i)
        reduced = [(i, v) for i, (v, site) in enumerate(zip(self.loop.values,
                                                            self.loop.value_sites))
                   if site == (n, True) and isinstance(v, ReduceOp)]
        stores = self.stores(n, False)
        for i, value in reduced:
            for j in range(self.unroll):
                initial = literal(_initial(value), value.dtype.kind)
                self.emitter.line(f"var acc{i}_{j}: {register_type(value.dtype)} = {initial};")
        if self.shape.length and (reduced or stores):
            self.emit_row_loop([i for i in needed if self.varies_in_row[i]], reduced, stores)
        self.leave_row()
        self.reduce_lanes(reduced)
        self.emit_post_reduce(n, [i for i, _ in reduced])

    def needed(self, n: int) -> list[int]:
        """Return the elementwise values that pass n reduces or stores, and their operands, in
        order; for an empty row only operands of the post-reduction values, because loads of its
        elements may be out of bounds."""
        loop, pending = self.loop, []
        if self.shape.length:
            pending += [v.arg for v in loop.passes[n].post_reduce if isinstance(v, ReduceOp)]
            pending += [s.value for s in self.stores(n, False)]
        pending += [i for v in loop.passes[n].post_reduce
                    if isinstance(v, ElementwiseOp) for i in v.args]
        needed: set[int] = set()
        while pending:
            i = pending.pop()
            if not loop.value_sites[i][1] and i not in needed:
                needed.add(i)
                value = loop.values[i]
                pending += value.args if isinstance(value, ElementwiseOp) else ()
        return sorted(needed)

    def stores(self, n: int, post_reduce: bool):
        return [s for s in self.loop.stores if self.loop.value_sites[s.value] == (n, post_reduce)]

    def emit_row_loop(self, values: list[int], reduced: list, stores: list):
        """Emit the loop over this lane's elements of the row."""
        shape, emitter = self.shape, self.emitter
        sizes = [self.loop.iteration_space[a] for a in self.loop.reduction_axes]
        count = shape.length // self.unroll
        begin, end = "0u", f"{count}u"
        if shape.lanes > 1:
            begin, end = "row_lane", f"end{len(emitter.lines)}"
            emitter.line(f"let {end} = select(0u, {count}u, in_range);")
        emitter.open(f"for (var e = {begin}; e < {end}; e += {shape.lanes}u)")
        names = emitter.split_index("e", [*sizes[:-1], sizes[-1] // self.unroll], "e")
        emitter.indices = [*self.row_indices, *map(LoopIndex, names[:-1]),
                           LoopIndex(names[-1], self.unroll, unrolled=True)]
        for i in values:
            emitter.compute(i, self.varies_in_vec4[i])
        for i, value in reduced:
            for j in range(self.unroll):
                element = emitter.value_text(value.arg, j)
                emitter.line(f"acc{i}_{j} = {self.combined(value, f'acc{i}_{j}', element)};")
        for store in stores:
            emitter.store(store)
        emitter.close()

    @staticmethod
    def combined(value: ReduceOp, x: str, y: str) -> str:
        kind = value.dtype.kind
        return render_expression(value.reduction.combiner,
                                 [WgslExpression(x, kind), WgslExpression(y, kind)], kind)

    # ── combining accumulators ──

    def reduce_lanes(self, reduced: list):
        """Combine the accumulators of unrolled elements, then the accumulators of a row's lanes, in
        a fixed tree."""
        emitter = self.emitter
        for i, value in reduced:
            for distance in (2, 1) if self.unroll == VEC4 else ():
                for j in range(distance):
                    combined = self.combined(value, f"acc{i}_{j}", f"acc{i}_{j + distance}")
                    emitter.line(f"acc{i}_{j} = {combined};")
        if self.shape.lanes > 1 and reduced:
            if emitter.uses_subgroups:
                self.reduce_in_subgroups(reduced)
            else:
                self.reduce_in_workgroup_memory(reduced)
        for i, _ in reduced:
            emitter.line(f"let v{i} = acc{i}_0;")
            emitter.value_names[i, 0] = f"v{i}"

    def reduce_in_workgroup_memory(self, reduced: list):
        """Every lane reduces the slots of its chunk, then one slot per chunk: two levels of loads
        by all lanes cost less than more levels with a barrier each."""
        emitter, (chunks, chunk) = self.emitter, self.shape.tree_levels
        stride = self.shape.lane_stride
        if self.slot_declarations and chunks == 1:
            emitter.line("workgroupBarrier();")           # all lanes have read the previous slots
        for level, (count, begin, step) in enumerate((
                (chunk, "chunk_begin", stride), (chunks, "row_begin", chunk * stride))):
            if count == 1:
                continue
            names = self.workgroup_slots(reduced, level, self.shape.size)
            for name, (i, _) in zip(names, reduced):
                emitter.line(f"{name}[lane] = acc{i}_0;")
            emitter.line("workgroupBarrier();")
            self.reduce_slots(reduced, names, begin, f"{step}u", f"{count * step}u")

    def reduce_in_subgroups(self, reduced: list):
        """The lanes of a subgroup combine their accumulators by shuffles; if a row has several
        subgroups, their results pass through workgroup memory once.

        The subgroup size is a value of the shader: the device may choose it for each shader, but
        not below its minimum. Consecutive trees alternate between two sets of slots, because a lane
        at the barrier of the next tree has finished its reads of the previous one."""
        emitter, lanes = self.emitter, self.shape.lanes
        min_size = self.device_info.min_subgroup_size
        self.shuffle_reduce(reduced, "width")
        if lanes <= min_size:
            return
        names = self.workgroup_slots(reduced, self.subgroup_trees % 2, self.shape.size // min_size)
        self.subgroup_trees += 1
        emitter.open(f"if (width < {lanes}u)")
        emitter.open("if (lane % width == 0u)")
        for name, (i, _) in zip(names, reduced):
            emitter.line(f"{name}[lane / width] = acc{i}_0;")
        emitter.close()
        emitter.line("workgroupBarrier();")
        emitter.line(f"let subgroup_count = {lanes}u / width;")
        emitter.line("let readers = min(subgroup_count, width);")
        emitter.line("let slot = (lane - row_lane) / width + row_lane % readers;")
        self.reduce_slots(reduced, names, "slot", "readers", "subgroup_count")
        self.shuffle_reduce(reduced, "readers")
        emitter.close()

    def reduce_slots(self, reduced: list, names: list[str], begin: str, step: str, end: str):
        """Reduce the slots `begin`, `begin + step`, ... before `begin + end`."""
        emitter = self.emitter
        for name, (i, _) in zip(names, reduced):
            emitter.line(f"acc{i}_0 = {name}[{begin}];")
        emitter.open(f"for (var k = {step}; k < {end}; k += {step})")
        for name, (i, value) in zip(names, reduced):
            combined = self.combined(value, f"acc{i}_0", f"{name}[{begin} + k]")
            emitter.line(f"acc{i}_0 = {combined};")
        emitter.close()

    def shuffle_reduce(self, reduced: list, width: str):
        """Combine the accumulators of `width` neighbouring lanes; all get the same result."""
        emitter = self.emitter
        emitter.open(f"for (var d = 1u; d < {width}; d *= 2u)")
        for i, value in reduced:
            emitter.line(f"let other{i} = {subgroup_shuffle(f'acc{i}_0', value.dtype, 'd')};")
            emitter.line(f"acc{i}_0 = {self.combined(value, f'acc{i}_0', f'other{i}')};")
        emitter.close()

    def workgroup_slots(self, reduced: list, slot_set: int, count: int) -> list[str]:
        """Declare arrays of `count` slots in workgroup memory, one per accumulator of a set; return
        their names."""
        names = []
        for n, (_, value) in enumerate(reduced):
            kind = register_type(value.dtype)
            name = f"slots{slot_set}_{kind}_{n}"
            names.append(name)
            self.slot_declarations[name] = f"var<workgroup> {name}: array<{kind}, {count}>;"
        return names

    # ── post-reduction values ──

    def emit_post_reduce(self, n: int, reduced: list[int]):
        """Emit the post-reduction values in all lanes of a row, and their stores in one."""
        emitter, stores = self.emitter, self.stores(n, True)
        values = [i for i, site in enumerate(self.loop.value_sites) if site == (n, True)]
        for i in values:
            if i not in reduced:
                emitter.compute(i, False)
        if not stores:
            return
        if self.shape.lanes > 1:
            if any(isinstance(self.loop.values[i], Load) for i in values) \
                    or self.may_alias(stores):
                emitter.line("storageBarrier();")         # a result may alias an operand
            emitter.open("if (in_range && row_lane == 0u)")
        for store in stores:
            emitter.store_element(store, 0, emitter.value_text(store.value, 0))
        if self.shape.lanes > 1:
            emitter.close()

    def may_alias(self, stores: list) -> bool:
        """Whether a store may overwrite an operand that is constant along the row while other
        lanes, which no barrier of a tree has synchronized, still read it."""
        stored = {(s.target.spec.dtype, s.target.spec.count) for s in stores}
        loaded = {(v.source.spec.dtype, v.source.spec.count)
                  for v, varies in zip(self.loop.values, self.varies_in_row)
                  if isinstance(v, Load) and not varies}
        return self.emitter.uses_subgroups and not stored.isdisjoint(loaded)


def _initial(value: ReduceOp) -> Any:
    """The initial value of an accumulator."""
    initial, dtype = value.reduction.init, value.dtype
    if initial == "lowest":
        return float("-inf") if dtype.is_floating else dtype.min
    if initial == "highest":
        return float("inf") if dtype.is_floating else dtype.max
    return initial
