"""A scan as a kernel that holds kernels, and where what they read and write lies in each turn."""
from collections.abc import Callable, Iterable
from math import prod

from ..ir import (Atom, Carry, Eqn, Kernel, Limits, Loop, Piece, Place, Repeat, Var,
                  renewed)


def repeat_of(e: Eqn, buffers: list[Atom], limits: Limits, fuse: Callable) -> Repeat:
    """The kernel for a scan whose arguments lie in these buffers."""
    # The same body may stand in two loops, whose variables must not be the same.
    graph = renewed(e.attrs["body"].graph)
    n, end = e.attrs["carries"], e.attrs["carries"] + e.attrs["xs"]
    kernels, outputs = fuse(graph, limits, dict(zip(graph.inputs[end:], buffers[end:])))
    kernels = [k for k in kernels if not isinstance(k, Loop) or prod(k.outer) > 0]
    carries = [Carry(buffers[i], graph.inputs[i], outputs[i], e.outs[i], Var(e.outs[i].spec))
               for i in range(n)]
    pieces = [*map(Piece, buffers[n:end], graph.inputs[n:end]),
              *map(Piece, e.outs[n:], outputs[n:])]
    return Repeat(e.attrs["length"], e.attrs["reverse"], tuple(kernels), tuple(carries),
                  tuple(pieces), (e,))


def place_moving(kernels: Iterable[Kernel], places: dict, first: int) -> int:
    """Give the pieces and carries of every Repeat slots of their own from `first` on; returns how
    many those are."""
    at = first
    for k in kernels:
        if isinstance(k, Repeat):
            for c in k.carries:
                places[c.before], places[c.after] = Place("slot", at), Place("slot", at + 1)
                at += 3
            for p in k.pieces:
                places[p.part] = Place("slot", at)
                at += 1
            at += place_moving(k.kernels, places, at)
    return at - first


def accesses(k: Kernel) -> list[tuple[Atom, bool]]:
    """What a kernel touches, and whether it writes that; a Repeat with all that its kernels keep
    for each other."""
    found: list[tuple[Atom, bool]] = [(v, True) for v in k.writes]
    found += [(v, False) for v in k.reads]
    if isinstance(k, Repeat):
        moving = set(moving_memory(k))
        found += [(v, True) for one in k.kernels for v, writes in accesses(one)
                  if writes and v not in moving]
    return found


def moving_memory(repeat: Repeat) -> dict[Atom, Callable[[int], tuple]]:
    """For what moves from turn to turn, a name for its memory in each: what a carry is written to
    in one turn is read in the next, and written again in the one after that."""
    found: dict[Atom, Callable[[int], tuple]] = {}
    for i, c in enumerate(repeat.carries):
        found[c.before] = lambda turn, i=i: ("carry", i, (turn - 1) % 2)
        found[c.after] = lambda turn, i=i: ("carry", i, turn % 2)
    for i, p in enumerate(repeat.pieces):
        found[p.part] = lambda turn, i=i: ("piece", i, turn)
    return found
