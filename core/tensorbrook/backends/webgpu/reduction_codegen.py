"""Loops that fold: a row is all indices that fold into one, and each has some lanes of a workgroup.

The lanes walk a row side by side, each folds what it meets, and a tree folds that, always in one
order: lanes of a subgroup shuffle where the device has subgroups, others meet in workgroup memory.
Stages go over the row again and compute again what they need: it comes from cache. Where rows lie
side by side rather than their elements (sums of columns), neighbouring invocations have
neighbouring rows; the lanes of a row, a line of memory apart, are then in subgroups of their own
and meet in workgroup memory on every device. All shapes are estimates: no GPU was measured.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

from ...base.shapes import num_elements
from ...ir import ElementwiseOp, Load, LoopKernel, ReduceOp
from .device_info import DeviceInfo
from .expression_codegen import WgslExpression, literal, render_expression
from .axis_order import is_column_reduction, varying_values, vec4_buffers
from .shader_dispatch import ShaderDispatch, grid, next_power_of_two, previous_power_of_two
from .split_reduction import split_long_rows
from .wgsl_emitter import VEC4, LoopIndex, WgslEmitter, register_type, subgroup_shuffle

MAX_SINGLE_LANE = 16                   # elements of a row that one lane folds alone
TARGET_INVOCATIONS = 1 << 16             # invocations that keep a large GPU busy
LANES = 256                  # the most of a workgroup, though it might have more
COLUMN_LANES = 8             # the most that share a column; so 32 columns lie side by side, a line
TREE_FANIN = 16                   # lanes that come together in one level
SLOT_BYTES = 8                     # bytes of a lane's fold in workgroup memory, on two levels
# With subgroups: 32 lanes, which are one on most GPUs, have a row for themselves as long as each
# goes no more often than that.
SUBGROUP, MAX_ITERATIONS = 32, 4


@dataclass(frozen=True)
class WorkgroupShape:
    """A workgroup has `beside` rows of `lanes` lanes each; the lanes of a row are neighbours, or
    with `columns` the rows are."""

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
        """How far apart the lanes of a row are."""
        return self.rows_per_group if self.columns else 1

    @property
    def tree_levels(self) -> tuple[int, int]:
        """The pieces in which the lanes of a row come together, and the lanes of a piece."""
        piece = self.lanes if self.lanes <= TREE_FANIN else next_power_of_two(isqrt(self.lanes))
        return self.lanes // piece, piece


def reduction_dispatches(loop: LoopKernel, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """The dispatches of a loop with folds."""
    found = []
    for one, scratches in split_long_rows(loop, device_info):
        part = _ReductionEmitter(one, device_info).part()
        buffers = {name: scratches[atom] if atom in scratches else atom
                   for name, atom in part.buffers.items()}
        found.append(ShaderDispatch(part.code, buffers, part.groups))
    return found


def choose_workgroup(loop: LoopKernel, device_info: DeviceInfo, copies: int) -> WorkgroupShape:
    rows = num_elements(loop.reduced_space)
    length = num_elements(tuple(loop.iteration_space[a] for a in loop.reduction_axes))
    columns = is_column_reduction(loop)
    room = previous_power_of_two(min(LANES, device_info.workgroup_bytes // (SLOT_BYTES * max(_cells(loop), 1))))
    if columns:
        wanted = -(-TARGET_INVOCATIONS // rows)
        lanes = min(previous_power_of_two(max(length // MAX_SINGLE_LANE, 1)), COLUMN_LANES, next_power_of_two(wanted),
                    room)
    elif length <= MAX_SINGLE_LANE:
        lanes = 1
    else:
        alone = device_info.min_subgroup_size and length // copies <= SUBGROUP * MAX_ITERATIONS
        lanes = min(previous_power_of_two(length // copies), room, SUBGROUP if alone else room)
    return WorkgroupShape(rows, length, lanes, min(room // lanes, next_power_of_two(rows)), columns)


def _cells(loop: LoopKernel) -> int:
    """How many cells a lane has on each level: stages share those of a type."""
    found = [[register_type(v.dtype) for v in stage.post_reduce if isinstance(v, ReduceOp)]
             for stage in loop.passes]
    return len({cell for kinds in found for cell in enumerate(kinds)})


def _times(text: str, factor: int) -> str:
    return text if factor == 1 else f"{text} * {factor}u"


class _ReductionEmitter:
    """One dispatch of a loop with folds, while it is written."""

    def __init__(self, loop: LoopKernel, device_info: DeviceInfo):
        self.loop, self.device_info = loop, device_info
        fours = loop.iteration_space[-1] % VEC4 == 0 and not is_column_reduction(loop) and loop.iteration_space[-1] > 0
        self.copies = VEC4 if fours else 1
        self.shape = choose_workgroup(loop, device_info, self.copies)
        self.writer = WgslEmitter(loop, self.copies, vec4_buffers(loop) if fours else frozenset())
        self.along_row = varying_values(loop, set(loop.reduction_axes))
        self.along_last = varying_values(loop, {len(loop.iteration_space) - 1})
        self.writer.subgroups = device_info.min_subgroup_size > 0 and self.shape.lanes > 1 \
            and not self.shape.columns
        self.trees = 0                               # how many use workgroup memory
        self.cells: dict[str, str] = {}              # declarations of workgroup memory
        self.known: set[int] = set()                 # values that hold for the whole row

    def part(self) -> ShaderDispatch:
        shape, writer = self.shape, self.writer
        groups = grid(shape.rows, shape.rows_per_group, self.device_info.max_workgroups)
        self.begin(groups)
        for n in range(len(self.loop.passes)):
            self.stage(n)
        declared = "".join(text + "\n" for text in self.cells.values())
        arguments = "@builtin(workgroup_id) group: vec3u, " \
            "@builtin(local_invocation_index) lane: u32"
        if writer.subgroups:
            arguments += ", @builtin(subgroup_size) subgroup: u32"
        return ShaderDispatch(writer.module(declared, arguments, shape.size), writer.buffers(), groups)

    def begin(self, groups: tuple[int, int, int]):
        """Which row, and which of its lanes."""
        shape, line = self.shape, self.writer.line
        first = f"(group.y * {groups[0]}u + group.x) * {shape.rows_per_group}u"
        if shape.lanes == 1:
            line(f"let row = {first} + lane;")
            line(f"if (row >= {shape.rows}u) {{ return; }}")
        else:
            in_row, of_group = (f"lane / {shape.rows_per_group}u", f"lane % {shape.rows_per_group}u") \
                if shape.columns else (f"lane % {shape.lanes}u", f"lane / {shape.lanes}u")
            line(f"let part = {in_row};")
            line(f"let wanted = {first} + {of_group};")
            # All lanes must come to the barriers, also those that have no row.
            line(f"let live = wanted < {shape.rows}u;")
            line(f"let row = min(wanted, {shape.rows - 1}u);")
        if self.writer.subgroups:
            line(f"let width = min(subgroup, {shape.lanes}u);")
        elif shape.lanes > 1:
            piece = shape.tree_levels[1] * shape.lane_stride
            line(f"let first = lane - {_times('part', shape.lane_stride)};")
            line(f"let near = first + {_times(f'part / {shape.tree_levels[1]}u', piece)};")
        names = self.writer.split_index("row", list(self.loop.iteration_space[:self.loop.reduction_axes[0]]), "i")
        self.outside = [LoopIndex(name) for name in names]
        self.reset_counters()

    def reset_counters(self):
        self.writer.counters = self.outside + [LoopIndex("0u")] * len(self.loop.reduction_axes)

    # ── stages ──

    def stage(self, n: int):
        early = self.needed(n)
        for i in early:
            if not self.along_row[i] and i not in self.known:
                self.writer.compute(i, False)
                self.known.add(i)
        reduced = [(i, v) for i, (v, part) in enumerate(zip(self.loop.values, self.loop.value_sites))
                   if part == (n, True) and isinstance(v, ReduceOp)]
        stores = self.stores(n, False)
        for i, value in reduced:
            for copy in range(self.copies):
                start = literal(_start(value), value.dtype.kind)
                self.writer.line(f"var f{i}_{copy}: {register_type(value.dtype)} = {start};")
        if self.shape.length and (reduced or stores):
            self.emit_row_loop([i for i in early if self.along_row[i]], reduced, stores)
        self.reset_counters()
        self.reduce_lanes(reduced)
        self.tail(n, [i for i, _ in reduced])

    def needed(self, n: int) -> list[int]:
        """The values of bodies that a stage folds or stores, or that these come of, in order; of an
        empty row those that its tail reads, as what is loaded for its elements may lie nowhere."""
        loop, pending = self.loop, []
        if self.shape.length:
            pending += [v.arg for v in loop.passes[n].post_reduce if isinstance(v, ReduceOp)]
            pending += [s.value for s in self.stores(n, False)]
        pending += [i for v in loop.passes[n].post_reduce if isinstance(v, ElementwiseOp) for i in v.args]
        found: set[int] = set()
        while pending:
            i = pending.pop()
            if not loop.value_sites[i][1] and i not in found:
                found.add(i)
                value = loop.values[i]
                pending += value.args if isinstance(value, ElementwiseOp) else ()
        return sorted(found)

    def stores(self, n: int, late: bool):
        return [s for s in self.loop.stores if self.loop.value_sites[s.value] == (n, late)]

    def emit_row_loop(self, values: list[int], reduced: list, stores: list):
        """This lane's part of the row."""
        shape, writer = self.shape, self.writer
        folded = [self.loop.iteration_space[a] for a in self.loop.reduction_axes]
        count = shape.length // self.copies
        begin, end = ("part", f"select(0u, {count}u, live)") if shape.lanes > 1 \
            else ("0u", f"{count}u")
        if shape.lanes > 1:
            writer.line(f"let end{len(writer.lines)} = {end};")
            end = f"end{len(writer.lines) - 1}"
        writer.open(f"for (var e = {begin}; e < {end}; e += {shape.lanes}u)")
        names = writer.split_index("e", [*folded[:-1], folded[-1] // self.copies], "e")
        inside = [LoopIndex(name) for name in names[:-1]]
        inside.append(LoopIndex(names[-1], self.copies, copied=True))
        writer.counters = self.outside + inside
        for i in values:
            writer.compute(i, self.along_last[i])
        for i, value in reduced:
            for copy in range(self.copies):
                one = self.joined(value, f"f{i}_{copy}", writer.text(value.arg, copy))
                writer.line(f"f{i}_{copy} = {one};")
        for store in stores:
            writer.store(store)
        writer.close()

    @staticmethod
    def joined(value: ReduceOp, x: str, y: str) -> str:
        kind = value.dtype.kind
        return render_expression(value.reduction.combiner, [WgslExpression(x, kind), WgslExpression(y, kind)], kind)

    # ── folds ──

    def reduce_lanes(self, reduced: list):
        """What the copies and the lanes of a row have folded becomes one, in a fixed tree."""
        writer = self.writer
        for i, value in reduced:
            for step in (2, 1) if self.copies == VEC4 else ():
                for copy in range(step):
                    one = self.joined(value, f"f{i}_{copy}", f"f{i}_{copy + step}")
                    writer.line(f"f{i}_{copy} = {one};")
        if self.shape.lanes > 1 and reduced:
            (self.reduce_in_subgroups if writer.subgroups else self.reduce_in_workgroup_memory)(reduced)
        for i, _ in reduced:
            writer.line(f"let v{i} = f{i}_0;")
            writer.value_names[i, 0] = f"v{i}"

    def reduce_in_workgroup_memory(self, reduced: list):
        """All lanes of a row fold those of their piece, and then what the pieces give: two levels
        of loads that everyone makes cost less than many with a barrier each."""
        writer, (pieces, piece) = self.writer, self.shape.tree_levels
        if self.cells and pieces == 1:
            writer.line("workgroupBarrier();")           # all have read what stands there
        for level, (count, begin, step) in enumerate((
                (piece, "near", self.shape.lane_stride), (pieces, "first", piece * self.shape.lane_stride))):
            if count == 1:
                continue
            names = self.workgroup_slots(reduced, level, self.shape.size)
            for name, (i, _) in zip(names, reduced):
                writer.line(f"{name}[lane] = f{i}_0;")
            writer.line("workgroupBarrier();")
            self.reduce_slots(reduced, names, begin, f"{step}u", f"{count * step}u")

    def reduce_in_subgroups(self, reduced: list):
        """The lanes of a subgroup fold what they have; where a row has several subgroups, what
        these give goes through workgroup memory once. How large a subgroup is, the shader is told:
        a device may choose that for each one, but not below its least. Two trees that follow each
        other have memory of their own: who comes to the barrier of the second is done with the
        first."""
        writer, lanes, least = self.writer, self.shape.lanes, self.device_info.min_subgroup_size
        self.shuffle_reduce(reduced, "width")
        if lanes <= least:
            return
        names = self.workgroup_slots(reduced, self.trees % 2, self.shape.size // least)
        self.trees += 1
        writer.open(f"if (width < {lanes}u)")
        writer.open("if (lane % width == 0u)")
        for name, (i, _) in zip(names, reduced):
            writer.line(f"{name}[lane / width] = f{i}_0;")
        writer.close()
        writer.line("workgroupBarrier();")
        writer.line(f"let count = {lanes}u / width;")
        writer.line("let some = min(count, width);")
        writer.line("let at = (lane - part) / width + part % some;")
        self.reduce_slots(reduced, names, "at", "some", "count")
        self.shuffle_reduce(reduced, "some")
        writer.close()

    def reduce_slots(self, reduced: list, names: list[str], begin: str, step: str, end: str):
        """Fold what stands in the cells from `begin` on, `step` apart."""
        writer = self.writer
        for name, (i, _) in zip(names, reduced):
            writer.line(f"f{i}_0 = {name}[{begin}];")
        writer.open(f"for (var k = {step}; k < {end}; k += {step})")
        for name, (i, value) in zip(names, reduced):
            writer.line(f"f{i}_0 = {self.joined(value, f'f{i}_0', f'{name}[{begin} + k]')};")
        writer.close()

    def shuffle_reduce(self, reduced: list, width: str):
        """So many lanes side by side fold what they have; each comes to the same."""
        writer = self.writer
        writer.open(f"for (var d = 1u; d < {width}; d *= 2u)")
        for i, value in reduced:
            writer.line(f"let other{i} = {subgroup_shuffle(f'f{i}_0', value.dtype, 'd')};")
            writer.line(f"f{i}_0 = {self.joined(value, f'f{i}_0', f'other{i}')};")
        writer.close()

    def workgroup_slots(self, reduced: list, level: int, count: int) -> list[str]:
        """Workgroup memory for so many folds of each of these."""
        found = []
        for slot, (_, value) in enumerate(reduced):
            kind = register_type(value.dtype)
            found.append(f"{('cells', 'sums')[level]}_{kind}_{slot}")
            self.cells[found[-1]] = f"var<workgroup> {found[-1]}: array<{kind}, {count}>;"
        return found

    # ── tails ──

    def tail(self, n: int, reduced: list[int]):
        """What follows from the folds. All lanes of a row compute it, one stores it."""
        writer, stores = self.writer, self.stores(n, True)
        late = [i for i, part in enumerate(self.loop.value_sites) if part == (n, True)]
        for i in late:
            if i not in reduced:
                writer.compute(i, False)
        if not stores:
            return
        if self.shape.lanes > 1:
            if any(isinstance(self.loop.values[i], Load) for i in late) or self.may_alias(stores):
                writer.line("storageBarrier();")         # a result may lie where an argument does
            writer.open("if (live && part == 0u)")
        for store in stores:
            text = writer.text(store.value, 0)
            writer.store_element(store, 0, text)
        if self.shape.lanes > 1:
            writer.close()

    def may_alias(self, stores: list) -> bool:
        """Whether a lane may store where others, which no barrier of a tree has held together, read
        what belongs to the whole row."""
        there = {(s.target.spec.dtype, s.target.spec.count) for s in stores}
        read = {(v.source.spec.dtype, v.source.spec.count)
                for v, varies in zip(self.loop.values, self.along_row)
                if isinstance(v, Load) and not varies}
        return self.writer.subgroups and not there.isdisjoint(read)


def _start(value: ReduceOp) -> Any:
    """What an accumulator begins with."""
    start, dtype = value.reduction.init, value.dtype
    if start == "lowest":
        return float("-inf") if dtype.is_floating else dtype.min
    if start == "highest":
        return float("inf") if dtype.is_floating else dtype.max
    return start
