"""Loops written once more: with other stores, or with other values where they loaded some."""
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from ..ir import Apply, Atom, Call, Kernel, Load, Loop, Number, Reduced, Stage, Store, Value


class Rewriter:
    """Collects the stages of a loop, value by value; what has a key stands once in a part."""

    def __init__(self):
        self.stages: list[tuple[list[Value], list[Value]]] = []
        self.late = False                        # which part of the last stage grows
        self.at: dict = {}                       # what is there already -> its position
        self.count = 0

    def begin(self, late: bool) -> None:
        """Go on in the tail of the last stage, or in the body of a new one."""
        self.late = late
        if not late:
            self.stages.append(([], []))

    def add(self, value: Value) -> int:
        self.stages[-1][self.late].append(value)
        self.count += 1
        return self.count - 1

    def once(self, key, value: Value) -> int:
        """The position of the value that `key` names, which is added if it is not there."""
        key = key, self.late
        if key not in self.at:
            self.at[key] = self.add(value)
        return self.at[key]

    def leaf(self, value: Load | Number) -> int:
        """The position of what is loaded, or of a number."""
        if isinstance(value, Load):
            return self.once((value.source, value.view, value.dtype), value)
        return self.once((repr(value.value), value.dtype), value)

    def done(self, loop: Loop, stores: Iterable[Store]) -> Loop:
        """The loop with these stages, but for those without values."""
        stages = tuple(Stage(tuple(b), tuple(t)) for b, t in self.stages if b or t)
        return replace(loop, stages=stages, stores=tuple(stores))


def with_loop(k: Kernel, loop: Loop) -> Kernel:
    """The kernel with this in place of what of it is generated."""
    if isinstance(k, Call):
        return replace(k, epilogue=loop if loop.stores else None)
    return loop


def with_loads(loop: Loop, sources: Collection[Atom],
               make: Callable[[Rewriter, Load], int]) -> Loop:
    """The loop with what `make` adds, and gives the position of, in place of its loads of some
    sources."""
    def position(value: Value) -> int:
        if isinstance(value, Load) and value.source in sources:
            return make(rewriter, value)
        if isinstance(value, (Load, Number)):
            return rewriter.leaf(value)
        return rewriter.add(renumbered(value, number))

    rewriter, number = Rewriter(), {}
    for i, (value, part) in enumerate(zip(loop.values, loop.parts)):
        _go_to(rewriter, part)
        number[i] = position(value)
    return rewriter.done(loop, _stores(loop.stores, number))


def with_stores(loop: Loop, stores: Collection[Store]) -> Loop:
    """The loop with these stores of its values, and without the values that none of them needs."""
    wanted = needed(loop, {s.value for s in stores})
    rewriter, number = Rewriter(), {}
    for i, (value, part) in enumerate(zip(loop.values, loop.parts)):
        if i in wanted:
            _go_to(rewriter, part)
            number[i] = rewriter.add(renumbered(value, number))
    return rewriter.done(loop, _stores(stores, number))


def needed(loop: Loop, ends: Collection[int]) -> set[int]:
    """The positions of these values, and of all that they are made from."""
    found = set(ends)
    for i in range(len(loop.values) - 1, -1, -1):
        if i in found:
            found.update(arguments(loop.values[i]))
    return found


def arguments(value: Value) -> tuple[int, ...]:
    return value.args if isinstance(value, Apply) else \
        (value.arg,) if isinstance(value, Reduced) else ()


def renumbered(value: Value, number: dict[int, int]) -> Value:
    """The value with the new positions of its arguments."""
    if isinstance(value, Apply):
        return replace(value, args=tuple(number[i] for i in value.args))
    return replace(value, arg=number[value.arg]) if isinstance(value, Reduced) else value


def _go_to(rewriter: Rewriter, part: tuple[int, bool]) -> None:
    """On to a part of a stage, as the loop that is read had it."""
    stage, late = part
    while len(rewriter.stages) <= stage:
        rewriter.begin(late=False)
    if late is not rewriter.late:
        rewriter.begin(late)


def _stores(stores: Iterable[Store], number: dict[int, int]) -> list[Store]:
    return [replace(s, value=number[s.value]) for s in stores]
