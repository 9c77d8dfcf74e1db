"""Strided views: the map from an index to an element offset in a buffer."""
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

from .shapes import Shape


def row_major_strides(shape: Shape) -> tuple[int, ...]:
    """The strides of a contiguous buffer: `row_major_strides((2, 3, 4)) == (12, 4, 1)`."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


@dataclass(frozen=True)
class View:
    """Index (i, j, ...) maps to element `offset + i * strides[0] + j * strides[1] + ...`."""

    shape: Shape
    strides: tuple[int, ...]
    offset: int = 0

    @staticmethod
    def of(shape: Shape) -> "View":
        """The contiguous view of a whole buffer."""
        return _contiguous_view(tuple(shape))

    @cached_property
    def contiguous(self) -> bool:
        """Whether the view is the whole buffer in row-major order."""
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
        """Elements `begin[i] + j * steps[i]`, j < `shape[i]`, of axis i; steps may be negative."""
        offset = self.offset + sum(b * s for b, s in zip(begin, self.strides))
        return View(tuple(shape), tuple(s * t for s, t in zip(self.strides, steps)), offset)

    def reshape(self, shape: Shape) -> "View | None":
        """The same elements in the same order, or None if that needs more than strides."""
        shape = tuple(shape)
        if shape == self.shape:
            return self
        strides = _reshaped_strides(self.shape, self.strides, shape)
        return None if strides is None else View(shape, strides, self.offset)


@lru_cache(1 << 12)
def _contiguous_view(shape: Shape) -> View:
    return View(shape, row_major_strides(shape))


@lru_cache(1 << 14)
def _reshaped_strides(old_shape: Shape, old_strides: Shape, shape: Shape) -> Shape | None:
    """The strides of `View.reshape`. Repeated layers of a model share the cached result."""
    if prod(shape) == 0:
        return (0,) * len(shape)
    old = [(n, s) for n, s in zip(old_shape, old_strides) if n != 1]
    strides: list[int] = [0] * len(shape)
    axis = len(shape)
    while old:
        # Coalesce contiguous axes of the old shape, then split them into axes of the new shape.
        n, s = old.pop()
        while old and old[-1][1] == n * s:
            n *= old.pop()[0]
        while n > 1:
            axis -= 1
            if n % shape[axis]:
                return None
            strides[axis] = s
            s *= shape[axis]
            n //= shape[axis]
    return tuple(strides)


def coalesce_axes(shape: Shape, views: list[View], labels: tuple) -> tuple[tuple[int, ...], ...]:
    """Group adjacent axes that every view traverses with one stride, so that one loop suffices.

    Axes are grouped only if their labels are equal; axes of size 1 are omitted. In the result
    `((0, 1), (2,))`, axes 0 and 1 form one loop and axis 2 forms another.
    """
    groups: list[list[int]] = []
    for i, n in enumerate(shape):
        if n == 1:
            continue
        previous = groups[-1][-1] if groups else None
        if previous is not None and labels[previous] == labels[i] and all(
                v.strides[previous] == n * v.strides[i] for v in views):
            groups[-1].append(i)
        else:
            groups.append([i])
    return tuple(map(tuple, groups))
