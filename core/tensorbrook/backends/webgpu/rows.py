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

from ...base.shapes import size
from ...ir import Apply, Load, Loop, Reduced
from .facts import Facts
from .formulas import Term, literal, render
from .order import lies_in_columns, varying, wide_buffers
from .part import Part, over, power_above, power_below
from .strips import strips
from .writer import WIDE, Counter, Writer, register, shuffled

SHORT = 16                   # elements of a row that one lane folds alone
ENOUGH = 1 << 16             # invocations that keep a large GPU busy
LANES = 256                  # the most of a workgroup, though it might have more
COLUMN_LANES = 8             # the most that share a column; so 32 columns lie side by side, a line
PIECE = 16                   # lanes that come together in one level
CELL = 8                     # bytes of a lane's fold in workgroup memory, on two levels
# With subgroups: 32 lanes, which are one on most GPUs, have a row for themselves as long as each
# goes no more often than that.
SUBGROUP, TURNS = 32, 4


@dataclass(frozen=True)
class Shape:
    """A workgroup has `beside` rows of `lanes` lanes each; the lanes of a row are neighbours, or
    with `columns` the rows are."""

    rows: int
    length: int
    lanes: int
    beside: int
    columns: bool

    @property
    def size(self) -> int:
        return self.lanes * self.beside

    @property
    def apart(self) -> int:
        """How far apart the lanes of a row are."""
        return self.beside if self.columns else 1

    @property
    def levels(self) -> tuple[int, int]:
        """The pieces in which the lanes of a row come together, and the lanes of a piece."""
        piece = self.lanes if self.lanes <= PIECE else power_above(isqrt(self.lanes))
        return self.lanes // piece, piece


def folds(loop: Loop, facts: Facts) -> list[Part]:
    """The dispatches of a loop with folds."""
    found = []
    for one, scratches in strips(loop, facts):
        part = _Rows(one, facts).part()
        buffers = {name: scratches[atom] if atom in scratches else atom
                   for name, atom in part.buffers.items()}
        found.append(Part(part.code, buffers, part.groups))
    return found


def shape_of(loop: Loop, facts: Facts, copies: int) -> Shape:
    rows = size(loop.outer)
    length = size(tuple(loop.space[a] for a in loop.axes))
    columns = lies_in_columns(loop)
    room = power_below(min(LANES, facts.workgroup_bytes // (CELL * max(_cells(loop), 1))))
    if columns:
        wanted = -(-ENOUGH // rows)
        lanes = min(power_below(max(length // SHORT, 1)), COLUMN_LANES, power_above(wanted),
                    room)
    elif length <= SHORT:
        lanes = 1
    else:
        alone = facts.subgroups and length // copies <= SUBGROUP * TURNS
        lanes = min(power_below(length // copies), room, SUBGROUP if alone else room)
    return Shape(rows, length, lanes, min(room // lanes, power_above(rows)), columns)


def _cells(loop: Loop) -> int:
    """How many cells a lane has on each level: stages share those of a type."""
    found = [[register(v.dtype) for v in stage.tail if isinstance(v, Reduced)]
             for stage in loop.stages]
    return len({cell for kinds in found for cell in enumerate(kinds)})


def _times(text: str, factor: int) -> str:
    return text if factor == 1 else f"{text} * {factor}u"


class _Rows:
    """One dispatch of a loop with folds, while it is written."""

    def __init__(self, loop: Loop, facts: Facts):
        self.loop, self.facts = loop, facts
        fours = loop.space[-1] % WIDE == 0 and not lies_in_columns(loop) and loop.space[-1] > 0
        self.copies = WIDE if fours else 1
        self.shape = shape_of(loop, facts, self.copies)
        self.writer = Writer(loop, self.copies, wide_buffers(loop) if fours else frozenset())
        self.along_row = varying(loop, set(loop.axes))
        self.along_last = varying(loop, {len(loop.space) - 1})
        self.writer.subgroups = facts.subgroups > 0 and self.shape.lanes > 1 \
            and not self.shape.columns
        self.trees = 0                               # how many use workgroup memory
        self.cells: dict[str, str] = {}              # declarations of workgroup memory
        self.known: set[int] = set()                 # values that hold for the whole row

    def part(self) -> Part:
        shape, writer = self.shape, self.writer
        groups = over(shape.rows, shape.beside, self.facts.workgroups)
        self.begin(groups)
        for n in range(len(self.loop.stages)):
            self.stage(n)
        declared = "".join(text + "\n" for text in self.cells.values())
        arguments = "@builtin(workgroup_id) group: vec3u, " \
            "@builtin(local_invocation_index) lane: u32"
        if writer.subgroups:
            arguments += ", @builtin(subgroup_size) subgroup: u32"
        return Part(writer.module(declared, arguments, shape.size), writer.buffers(), groups)

    def begin(self, groups: tuple[int, int, int]):
        """Which row, and which of its lanes."""
        shape, line = self.shape, self.writer.line
        first = f"(group.y * {groups[0]}u + group.x) * {shape.beside}u"
        if shape.lanes == 1:
            line(f"let row = {first} + lane;")
            line(f"if (row >= {shape.rows}u) {{ return; }}")
        else:
            in_row, of_group = (f"lane / {shape.beside}u", f"lane % {shape.beside}u") \
                if shape.columns else (f"lane % {shape.lanes}u", f"lane / {shape.lanes}u")
            line(f"let part = {in_row};")
            line(f"let wanted = {first} + {of_group};")
            # All lanes must come to the barriers, also those that have no row.
            line(f"let live = wanted < {shape.rows}u;")
            line(f"let row = min(wanted, {shape.rows - 1}u);")
        if self.writer.subgroups:
            line(f"let width = min(subgroup, {shape.lanes}u);")
        elif shape.lanes > 1:
            piece = shape.levels[1] * shape.apart
            line(f"let first = lane - {_times('part', shape.apart)};")
            line(f"let near = first + {_times(f'part / {shape.levels[1]}u', piece)};")
        names = self.writer.apart("row", list(self.loop.space[:self.loop.axes[0]]), "i")
        self.outside = [Counter(name) for name in names]
        self.at_row()

    def at_row(self):
        self.writer.counters = self.outside + [Counter("0u")] * len(self.loop.axes)

    # ── stages ──

    def stage(self, n: int):
        early = self.needed(n)
        for i in early:
            if not self.along_row[i] and i not in self.known:
                self.writer.compute(i, False)
                self.known.add(i)
        reduced = [(i, v) for i, (v, part) in enumerate(zip(self.loop.values, self.loop.parts))
                   if part == (n, True) and isinstance(v, Reduced)]
        stores = self.stores(n, False)
        for i, value in reduced:
            for copy in range(self.copies):
                start = literal(_start(value), value.dtype.kind)
                self.writer.line(f"var f{i}_{copy}: {register(value.dtype)} = {start};")
        if self.shape.length and (reduced or stores):
            self.walk([i for i in early if self.along_row[i]], reduced, stores)
        self.at_row()
        self.bring_together(reduced)
        self.tail(n, [i for i, _ in reduced])

    def needed(self, n: int) -> list[int]:
        """The values of bodies that a stage folds or stores, or that these come of, in order; of an
        empty row those that its tail reads, as what is loaded for its elements may lie nowhere."""
        loop, pending = self.loop, []
        if self.shape.length:
            pending += [v.arg for v in loop.stages[n].tail if isinstance(v, Reduced)]
            pending += [s.value for s in self.stores(n, False)]
        pending += [i for v in loop.stages[n].tail if isinstance(v, Apply) for i in v.args]
        found: set[int] = set()
        while pending:
            i = pending.pop()
            if not loop.parts[i][1] and i not in found:
                found.add(i)
                value = loop.values[i]
                pending += value.args if isinstance(value, Apply) else ()
        return sorted(found)

    def stores(self, n: int, late: bool):
        return [s for s in self.loop.stores if self.loop.parts[s.value] == (n, late)]

    def walk(self, values: list[int], reduced: list, stores: list):
        """This lane's part of the row."""
        shape, writer = self.shape, self.writer
        folded = [self.loop.space[a] for a in self.loop.axes]
        count = shape.length // self.copies
        begin, end = ("part", f"select(0u, {count}u, live)") if shape.lanes > 1 \
            else ("0u", f"{count}u")
        if shape.lanes > 1:
            writer.line(f"let end{len(writer.lines)} = {end};")
            end = f"end{len(writer.lines) - 1}"
        writer.open(f"for (var e = {begin}; e < {end}; e += {shape.lanes}u)")
        names = writer.apart("e", [*folded[:-1], folded[-1] // self.copies], "e")
        inside = [Counter(name) for name in names[:-1]]
        inside.append(Counter(names[-1], self.copies, copied=True))
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
    def joined(value: Reduced, x: str, y: str) -> str:
        kind = value.dtype.kind
        return render(value.reduction.formula, [Term(x, kind), Term(y, kind)], kind)

    # ── folds ──

    def bring_together(self, reduced: list):
        """What the copies and the lanes of a row have folded becomes one, in a fixed tree."""
        writer = self.writer
        for i, value in reduced:
            for step in (2, 1) if self.copies == WIDE else ():
                for copy in range(step):
                    one = self.joined(value, f"f{i}_{copy}", f"f{i}_{copy + step}")
                    writer.line(f"f{i}_{copy} = {one};")
        if self.shape.lanes > 1 and reduced:
            (self.among_subgroups if writer.subgroups else self.in_memory)(reduced)
        for i, _ in reduced:
            writer.line(f"let v{i} = f{i}_0;")
            writer.texts[i, 0] = f"v{i}"

    def in_memory(self, reduced: list):
        """All lanes of a row fold those of their piece, and then what the pieces give: two levels
        of loads that everyone makes cost less than many with a barrier each."""
        writer, (pieces, piece) = self.writer, self.shape.levels
        if self.cells and pieces == 1:
            writer.line("workgroupBarrier();")           # all have read what stands there
        for level, (count, begin, step) in enumerate((
                (piece, "near", self.shape.apart), (pieces, "first", piece * self.shape.apart))):
            if count == 1:
                continue
            names = self.cells_of(reduced, level, self.shape.size)
            for name, (i, _) in zip(names, reduced):
                writer.line(f"{name}[lane] = f{i}_0;")
            writer.line("workgroupBarrier();")
            self.gather(reduced, names, begin, f"{step}u", f"{count * step}u")

    def among_subgroups(self, reduced: list):
        """The lanes of a subgroup fold what they have; where a row has several subgroups, what
        these give goes through workgroup memory once. How large a subgroup is, the shader is told:
        a device may choose that for each one, but not below its least. Two trees that follow each
        other have memory of their own: who comes to the barrier of the second is done with the
        first."""
        writer, lanes, least = self.writer, self.shape.lanes, self.facts.subgroups
        self.shuffle(reduced, "width")
        if lanes <= least:
            return
        names = self.cells_of(reduced, self.trees % 2, self.shape.size // least)
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
        self.gather(reduced, names, "at", "some", "count")
        self.shuffle(reduced, "some")
        writer.close()

    def gather(self, reduced: list, names: list[str], begin: str, step: str, end: str):
        """Fold what stands in the cells from `begin` on, `step` apart."""
        writer = self.writer
        for name, (i, _) in zip(names, reduced):
            writer.line(f"f{i}_0 = {name}[{begin}];")
        writer.open(f"for (var k = {step}; k < {end}; k += {step})")
        for name, (i, value) in zip(names, reduced):
            writer.line(f"f{i}_0 = {self.joined(value, f'f{i}_0', f'{name}[{begin} + k]')};")
        writer.close()

    def shuffle(self, reduced: list, width: str):
        """So many lanes side by side fold what they have; each comes to the same."""
        writer = self.writer
        writer.open(f"for (var d = 1u; d < {width}; d *= 2u)")
        for i, value in reduced:
            writer.line(f"let other{i} = {shuffled(f'f{i}_0', value.dtype, 'd')};")
            writer.line(f"f{i}_0 = {self.joined(value, f'f{i}_0', f'other{i}')};")
        writer.close()

    def cells_of(self, reduced: list, level: int, count: int) -> list[str]:
        """Workgroup memory for so many folds of each of these."""
        found = []
        for slot, (_, value) in enumerate(reduced):
            kind = register(value.dtype)
            found.append(f"{('cells', 'sums')[level]}_{kind}_{slot}")
            self.cells[found[-1]] = f"var<workgroup> {found[-1]}: array<{kind}, {count}>;"
        return found

    # ── tails ──

    def tail(self, n: int, reduced: list[int]):
        """What follows from the folds. All lanes of a row compute it, one stores it."""
        writer, stores = self.writer, self.stores(n, True)
        late = [i for i, part in enumerate(self.loop.parts) if part == (n, True)]
        for i in late:
            if i not in reduced:
                writer.compute(i, False)
        if not stores:
            return
        if self.shape.lanes > 1:
            if any(isinstance(self.loop.values[i], Load) for i in late) or self.may_meet(stores):
                writer.line("storageBarrier();")         # a result may lie where an argument does
            writer.open("if (live && part == 0u)")
        for store in stores:
            text = writer.text(store.value, 0)
            writer.put(store, 0, text)
        if self.shape.lanes > 1:
            writer.close()

    def may_meet(self, stores: list) -> bool:
        """Whether a lane may store where others, which no barrier of a tree has held together, read
        what belongs to the whole row."""
        there = {(s.target.spec.dtype, s.target.spec.count) for s in stores}
        read = {(v.source.spec.dtype, v.source.spec.count)
                for v, varies in zip(self.loop.values, self.along_row)
                if isinstance(v, Load) and not varies}
        return self.writer.subgroups and not there.isdisjoint(read)


def _start(value: Reduced) -> Any:
    """What an accumulator begins with."""
    start, dtype = value.reduction.start, value.dtype
    if start == "lowest":
        return float("-inf") if dtype.is_floating else dtype.min
    if start == "highest":
        return float("inf") if dtype.is_floating else dtype.max
    return start
