"""Strided views: where the element at an index lies, counted in elements from a buffer's start."""
from dataclasses import dataclass
from math import prod

from .shapes import Shape


def row_major_strides(shape: Shape) -> tuple[int, ...]:
    """The strides of a contiguous buffer: `row_major((2, 3, 4)) == (12, 4, 1)`."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


@dataclass(frozen=True)
class View:
    """Index (i, j, ...) of `shape` lies at `offset + i * strides[0] + j * strides[1] + ...`."""

    shape: Shape
    strides: tuple[int, ...]
    offset: int = 0

    @staticmethod
    def of(shape: Shape) -> "View":
        return View(tuple(shape), row_major_strides(shape))

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie one after the other from offset 0, in order."""
        steps = row_major_strides(self.shape)
        return self.offset == 0 and all(
            n == 1 or s == t for n, s, t in zip(self.shape, self.strides, steps))

    def transpose(self, perm) -> "View":
        return View(
            tuple(self.shape[p] for p in perm), tuple(self.strides[p] for p in perm), self.offset
        )

    def broadcast_to(self, shape: Shape) -> "View":
        lead = len(shape) - len(self.shape)
        strides = (0,) * lead + tuple(
            0 if n == 1 else s for n, s in zip(self.shape, self.strides))
        return View(tuple(shape), strides, self.offset)

    def slice(self, begin, shape: Shape, steps) -> "View":
        """Every `steps[i]`-th element from `begin[i]` on, `shape[i]` of them; or backwards."""
        offset = self.offset + sum(b * s for b, s in zip(begin, self.strides))
        return View(tuple(shape), tuple(s * t for s, t in zip(self.strides, steps)), offset)

    def reshape(self, shape: Shape) -> "View | None":
        """The same elements in order under another shape, or None if no strides can say it."""
        if prod(shape) == 0:
            return View(tuple(shape), (0,) * len(shape), self.offset)
        old = [(n, s) for n, s in zip(self.shape, self.strides) if n != 1]
        strides: list[int] = [0] * len(shape)
        at = len(shape)
        while old:
            # Take axes of the old shape that run on into each other, then cut new axes from them.
            n, s = old.pop()
            while old and old[-1][1] == n * s:
                n *= old.pop()[0]
            while n > 1:
                at -= 1
                if n % shape[at]:
                    return None
                strides[at] = s
                s *= shape[at]
                n //= shape[at]
        return View(tuple(shape), tuple(strides), self.offset)


def coalesce_axes(shape: Shape, views: list[View], labels: tuple) -> tuple[tuple[int, ...], ...]:
    """Which neighbouring axes every view walks in one stride, so that one loop can visit them.

    Axes merge only where their labels agree; axes of size 1 are left out. Returns groups of axes:
    `((0, 1), (2,))` says that axes 0 and 1 are one loop and axis 2 another.
    """
    groups: list[list[int]] = []
    for i, n in enumerate(shape):
        if n == 1:
            continue
        last = groups[-1][-1] if groups else None
        if last is not None and labels[last] == labels[i] and all(
                v.strides[last] == n * v.strides[i] for v in views):
            groups[-1].append(i)
        else:
            groups.append([i])
    return tuple(map(tuple, groups))
