"""Barriers: synchronize threads between kernels that access the same memory."""
from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ...ir import Atom, Kernel, ScanKernel, ScheduledKernel
from ..context import PassContext
from ..cost_model import is_parallel
from ..lowering import Lowering

# (memory, begin, end): bytes of one memory; every slot is a memory.
Range = tuple[Any, int, int]
# The range of an atom in an iteration of the scan around it.
RangeOf = Callable[[Atom, int], Range]


def insert_barriers(lowering: Lowering, context: PassContext) -> Lowering:
    """Schedule each kernel on one thread or all, after a barrier where memory requires one."""
    return replace(lowering, steps=_scheduled(lowering.kernels, _range_of(lowering, context), 1,
                                              context))


def barriers_of(lowering: Lowering, context: PassContext) -> list[bool]:
    """For each kernel whether it needs a barrier."""
    return [step.barrier_before for step in insert_barriers(lowering, context).steps]


def _range_of(lowering: Lowering, context: PassContext) -> RangeOf:
    """An output that is written over an input has the input's memory."""
    first_output = len(lowering.graph.inputs) + len(lowering.constants)
    alias = {first_output + i: j for i, j in lowering.graph.input_output_aliases.items()}

    def range_of(atom: Atom, iteration: int = 0) -> Range:
        location = lowering.locations[atom]
        if location.space == "slot":
            return alias.get(location.offset, location.offset), 0, 1
        size = max(context.target.bytes_of(atom.spec), 1)
        return location.space, location.offset, location.offset + size

    return range_of


def _scheduled(kernels: Sequence[Kernel], range_of: RangeOf, iterations: int,
               context: PassContext) -> tuple[ScheduledKernel, ...]:
    """The kernels of a program, or of a scan's body. A barrier that one iteration needs is in all
    of them."""
    bodies = [_scheduled_body(k, range_of, context) if isinstance(k, ScanKernel) else ()
              for k in kernels]
    parallel = list(map(is_parallel, kernels))
    barriers: set[int] = set()
    if any(parallel):
        accesses = [[[(range_of(atom, i), writes) for atom, writes in memory_accesses(k)]
                     for k in kernels] for i in range(iterations)]
        known = None
        while known != barriers and (known is None or iterations > 1):
            known = set(barriers)
            _add_barriers(accesses, parallel, barriers, context)
    return tuple(ScheduledKernel(k, parallel[n], n in barriers, bodies[n])
                 for n, k in enumerate(kernels))


def _add_barriers(accesses: list, parallel: list[bool], barriers: set[int],
                  context: PassContext) -> None:
    """Walk through all iterations and add the barriers that the memory requires."""
    since = _AccessesSinceBarrier()
    for iteration in accesses:
        for n, mine in enumerate(iteration):
            context.counts["conflict checks"] += len(mine)
            if n in barriers or since.conflicts(mine, parallel[n]):
                barriers.add(n)
                since = _AccessesSinceBarrier()
            since.add(mine, parallel[n])


def _scheduled_body(scan: ScanKernel, range_of: RangeOf,
                    context: PassContext) -> tuple[ScheduledKernel, ...]:
    """The kernels of an iteration. The first may differ from later ones, which repeat in twos."""
    moving = memory_by_iteration(scan)

    def range_in_body(atom: Atom, iteration: int) -> Range:
        return (moving[atom](iteration), 0, 1) if atom in moving else range_of(atom, 0)

    return _scheduled(scan.kernels, range_in_body, min(scan.count, 3), context)


class _AccessesSinceBarrier:
    """The memory that kernels have touched since the last barrier: read or written, on all threads
    or on the first alone, which needs no barrier to itself."""

    def __init__(self):
        self.touched = {(writes, parallel): _RangeSet()
                        for writes in (False, True) for parallel in (False, True)}

    def conflicts(self, accesses: Iterable[tuple[Range, bool]], parallel: bool) -> bool:
        others = (False, True) if parallel else (True,)
        return any(self.touched[wrote, other].overlaps(touched)
                   for touched, writes in accesses
                   for wrote in ((False, True) if writes else (True,)) for other in others)

    def add(self, accesses: Iterable[tuple[Range, bool]], parallel: bool) -> None:
        for touched, writes in accesses:
            self.touched[writes, parallel].add(touched)


class _RangeSet:
    """A union of ranges, kept as disjoint ranges by memory."""

    def __init__(self):
        self.ends: dict[Any, tuple[list[int], list[int]]] = {}     # memory -> begins, ends

    def overlaps(self, touched: Range) -> bool:
        memory, begin, end = touched
        found = self.ends.get(memory)
        if found is None:
            return False
        begins, ends = found
        at = bisect_right(ends, begin)                   # the first range that ends after `begin`
        return at < len(begins) and begins[at] < end

    def add(self, touched: Range) -> None:
        memory, begin, end = touched
        begins, ends = self.ends.setdefault(memory, ([], []))
        first, last = bisect_left(ends, begin), bisect_right(begins, end)
        if first < last:                                 # joins the ranges that it touches
            begin, end = min(begin, begins[first]), max(end, ends[last - 1])
        begins[first:last], ends[first:last] = [begin], [end]


def memory_accesses(k: Kernel) -> list[tuple[Atom, bool]]:
    """Return the atoms that a kernel accesses, each with whether it writes the atom; for a scan
    also the atoms that the kernels of its body write for each other."""
    found: list[tuple[Atom, bool]] = [(v, True) for v in k.writes]
    found += [(v, False) for v in k.reads]
    if isinstance(k, ScanKernel):
        moving = memory_by_iteration(k)
        found += [(v, True) for inner in k.kernels for v, writes in memory_accesses(inner)
                  if writes and v not in moving]
    return found


def memory_by_iteration(scan: ScanKernel) -> dict[Atom, Callable[[int], tuple]]:
    """For each atom that moves between iterations a name of its memory in each: the memory that a
    carry is written to in one iteration is read in the next, and written again in the one after
    it."""
    found: dict[Atom, Callable[[int], tuple]] = {}
    for i, c in enumerate(scan.carries):
        found[c.input] = lambda iteration, i=i: ("carry", i, (iteration - 1) % 2)
        found[c.output] = lambda iteration, i=i: ("carry", i, iteration % 2)
    for i, s in enumerate(scan.slices):
        found[s.element] = lambda iteration, i=i: ("slice", i, iteration)
    return found
