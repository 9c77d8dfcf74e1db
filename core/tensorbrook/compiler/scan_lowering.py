"""A scan as a kernel that holds kernels, and where what they read and write lies in each turn."""
from collections.abc import Callable, Iterable
from math import prod

from ..ir import (Atom, Carry, Eqn, Kernel, TargetInfo, LoopKernel, ScanSlice, BufferLocation, ScanKernel, Var,
                  clone_graph)


def lower_scan(e: Eqn, buffers: list[Atom], target: TargetInfo, fuse: Callable) -> ScanKernel:
    """The kernel for a scan whose arguments lie in these buffers."""
    # The same body may stand in two loops, whose variables must not be the same.
    graph = clone_graph(e.attrs["body"].graph)
    n, end = e.attrs["carries"], e.attrs["carries"] + e.attrs["xs"]
    kernels, outputs = fuse(graph, target, dict(zip(graph.inputs[end:], buffers[end:])))
    kernels = [k for k in kernels if not isinstance(k, LoopKernel) or prod(k.reduced_space) > 0]
    carries = [Carry(buffers[i], graph.inputs[i], outputs[i], e.outs[i], Var(e.outs[i].spec))
               for i in range(n)]
    pieces = [*map(ScanSlice, buffers[n:end], graph.inputs[n:end]),
              *map(ScanSlice, e.outs[n:], outputs[n:])]
    return ScanKernel(e.attrs["length"], e.attrs["reverse"], tuple(kernels), tuple(carries),
                  tuple(pieces), (e,))


def assign_rotating_slots(kernels: Iterable[Kernel], places: dict, first: int) -> int:
    """Give the pieces and carries of every Repeat slots of their own from `first` on; returns how
    many those are."""
    at = first
    for k in kernels:
        if isinstance(k, ScanKernel):
            for c in k.carries:
                places[c.input], places[c.output] = BufferLocation("slot", at), BufferLocation("slot", at + 1)
                at += 3
            for p in k.slices:
                places[p.element] = BufferLocation("slot", at)
                at += 1
            at += assign_rotating_slots(k.kernels, places, at)
    return at - first


def memory_accesses(k: Kernel) -> list[tuple[Atom, bool]]:
    """What a kernel touches, and whether it writes that; a Repeat with all that its kernels keep
    for each other."""
    found: list[tuple[Atom, bool]] = [(v, True) for v in k.writes]
    found += [(v, False) for v in k.reads]
    if isinstance(k, ScanKernel):
        moving = set(memory_by_iteration(k))
        found += [(v, True) for one in k.kernels for v, writes in memory_accesses(one)
                  if writes and v not in moving]
    return found


def memory_by_iteration(repeat: ScanKernel) -> dict[Atom, Callable[[int], tuple]]:
    """For what moves from turn to turn, a name for its memory in each: what a carry is written to
    in one turn is read in the next, and written again in the one after that."""
    found: dict[Atom, Callable[[int], tuple]] = {}
    for i, c in enumerate(repeat.carries):
        found[c.input] = lambda turn, i=i: ("carry", i, (turn - 1) % 2)
        found[c.output] = lambda turn, i=i: ("carry", i, turn % 2)
    for i, p in enumerate(repeat.slices):
        found[p.element] = lambda turn, i=i: ("piece", i, turn)
    return found
