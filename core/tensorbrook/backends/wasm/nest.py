"""Which loops a Loop becomes: axes merged and ordered, and one of them taken four lanes at a time."""
from dataclasses import dataclass

from ...base.views import View, collapse
from ...ir.kernel import Index, Load, Loop, Reduced

LANES = 4
CHUNK = 16            # elements: threads share the vector loop in whole cache lines of float32
# Costs in instructions of one vector: four lane loads and their addresses, four lane stores, and
# bringing four accumulators down to one lane. Estimates; they only rank the axes of one loop.
GATHER, SCATTER, HORIZONTAL = 6, 8, 12


@dataclass(frozen=True)
class Nest:
    """Loop i walks `groups[i]`, axes of the space that merge into one of `sizes[i]`, outermost
    first. The first `kept` loops are those that are not folded; loop `vector` runs over lanes,
    `unroll` vectors at a time; the threads divide loop `shared`, where there is one."""

    groups: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    kept: int
    vector: int
    unroll: int
    shared: int | None

    def strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Steps along the space's axes as steps along the loops."""
        return tuple(strides[g[-1]] if g else 0 for g in self.groups)


def arrange(loop: Loop, weight: int, split: bool) -> Nest:
    """The nest for a loop whose body is `weight` instructions long, loads and stores aside."""
    loads, stores, indices = _steps(loop)
    order = _order(loop, loads, stores)
    views = [View(loop.space, s).transpose(order) for s in loads + stores + indices]
    sizes = tuple(loop.space[a] for a in order)
    merged = collapse(sizes, views, tuple(a in loop.axes for a in order))
    groups = tuple(tuple(order[i] for i in group) for group in merged) or ((),)
    counts = tuple(_size(loop.space, g) for g in groups)
    folded = tuple(bool(g) and g[0] in loop.axes for g in groups)
    costs = [_cost(counts[i], folded[i], _along(g, loads), _along(g, stores), weight, loop)
             for i, g in enumerate(groups)]
    vector = min(range(len(groups)), key=lambda i: (costs[i], -i))
    loops = sorted(range(len(groups)), key=lambda i: (folded[i], i == vector, i))
    kept = len(groups) - sum(folded)
    sizes = tuple(counts[i] for i in loops)
    at = loops.index(vector)
    unroll = _unroll(sizes[at], weight + len(loads) + len(stores), at < kept < len(loops))
    shared = _shared(sizes[:kept], at) if split else None
    return Nest(tuple(groups[i] for i in loops), sizes, kept, at, unroll, shared)


def masked(strides: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Steps over the outer space, which has size 1 along `axes`."""
    return tuple(0 if i in axes else s for i, s in enumerate(strides))


def _steps(loop: Loop) -> tuple[list, list, list]:
    """The steps of every load, store and index along the axes of the space."""
    loads = [v.view.strides for v in loop.body if isinstance(v, Load)]
    loads += [masked(v.view.strides, loop.axes) for v in loop.tail if isinstance(v, Load)]
    indices = [v.weights for v in loop.body if isinstance(v, Index)]
    indices += [masked(v.weights, loop.axes) for v in loop.tail if isinstance(v, Index)]
    stores = [s.view.strides if s.value < len(loop.body) else masked(s.view.strides, loop.axes)
              for s in loop.stores]
    return loads, stores, indices


def _order(loop: Loop, loads: list, stores: list) -> tuple[int, ...]:
    """The axes so that memory is written in order, and where folded, read in order."""
    def reach(axis):
        steps = loads if axis in loop.axes else stores[:1]
        return max((abs(s[axis]) for s in steps), default=0)
    return tuple(sorted(range(len(loop.space)), key=lambda axis: (-reach(axis), axis)))


def _size(space: tuple[int, ...], group: tuple[int, ...]) -> int:
    size = 1
    for axis in group:
        size *= space[axis]
    return size


def _along(group: tuple[int, ...], steps: list) -> list[int]:
    return [s[group[-1]] if group else 0 for s in steps]


def _cost(n: int, folded: bool, loads: list[int], stores: list[int], weight: int, loop: Loop) -> float:
    """About how many instructions an element takes if the loop of `n` runs over lanes."""
    vectors, singles = divmod(n, LANES)
    memory = sum(1 if step in (0, 1) else GATHER for step in loads)
    memory += sum(1 if step == 1 or folded and step == 0 else SCATTER for step in stores)
    single = weight + len(loads) + len(stores)
    horizontal = HORIZONTAL * sum(isinstance(v, Reduced) for v in loop.tail) if folded else 0
    return (vectors * (weight + memory) + singles * single + horizontal) / max(n, 1)


def _unroll(n: int, weight: int, accumulates_across: bool) -> int:
    """How many vectors at a time: more where the body is short or sums down columns."""
    wanted = 4 if weight <= (24 if accumulates_across else 10) else 2 if weight <= 24 else 1
    return max(1, min(wanted, n // LANES))


def _shared(kept: tuple[int, ...], vector: int) -> int | None:
    """The outermost loop with enough turns for many threads, else the one with most."""
    turns = [-(-n // CHUNK) if i == vector else n for i, n in enumerate(kept)]
    enough = [i for i, n in enumerate(turns) if n >= 16]
    return min(enough) if enough else max(range(len(kept)), key=lambda i: turns[i], default=None)
