"""A fusion group: a loop kernel while equations that visit one iteration space join it."""
from __future__ import annotations

from collections.abc import Container
from math import prod

from ...base import shapes
from ...base.views import View
from ...ir import (Atom, Const, ElementwiseOp, Eqn, IndexValue, Load, LoopKernel, ReduceOp, RowPass,
                   ScalarConstant, Store, Value, Var)
from ...base.value_keys import value_key
from ...ir.kernels import remap_operands
from ...ir.scalar_expression import IDENTITY
from ..cost_model import MIN_PARALLEL_ROWS

# The longest row that several passes visit, in elements: four float32 operands of it are 256 KB,
# the second-level cache of a small core.
MAX_ROW_PASS = 1 << 14
# The passes of one group. The values of all passes are locals of one function, and to choose them
# takes time that is quadratic in the passes.
MAX_PASSES = 16


class FusionGroup:
    """Values at every index of `space`, and values after the reduction of `axes`.

    A value belongs to the earliest pass over a row that can compute it: a reduction to the pass of
    its operand, and an elementwise value that depends on a reduction to the pass after it. Views
    and index strides are over `space`, which `set_space` may change to a space with the same number
    of elements.
    """

    def __init__(self, space: tuple[int, ...], axes: tuple[int, ...] = ()):
        self.values: list[Value] = []                        # operands are positions in this list
        self.sites: list[tuple[int, bool]] = []              # (pass, is post-reduce) of each
        self.position: dict[Atom, int] = {}                  # variable -> position of its value
        self.reads: set[Atom] = set()                        # buffers of the loads
        self.eqns: list[Eqn] = []
        self.store_views: dict[Var, View] = {}               # variable -> the slice that it is
        self.extra_stores: list[tuple[int, Var, View]] = []  # values also stored to slices
        self._leaves: dict[tuple, int] = {}                  # loads and constants by key
        self._set_shape(space, axes)

    def _set_shape(self, space: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.space, self.axes = tuple(space), tuple(axes)
        self.reduced_space = shapes.keepdims_shape(self.space, self.axes) if axes else self.space
        self.size = prod(self.space)

    def copy(self) -> FusionGroup:
        """A group with the same values, to which other equations can be added."""
        copied = FusionGroup(self.space, self.axes)
        copied.values, copied.sites, copied.eqns = [*self.values], [*self.sites], [*self.eqns]
        copied.position, copied.reads = {**self.position}, {*self.reads}
        copied.store_views, copied.extra_stores = {**self.store_views}, [*self.extra_stores]
        copied._leaves = {**self._leaves}
        return copied

    def is_reduced(self, var: Atom) -> bool | None:
        """Whether `var` is a value after the reduction (True) or at every index (False); None if
        the group does not compute it."""
        position = self.position.get(var)
        return None if position is None else self.sites[position][1]

    def supports_row_passes(self) -> bool:
        """Whether another pass over a row pays: the row is contiguous and stays in cache. Where
        rows are few, threads partition the later passes, so a row is in no thread's cache."""
        if not self.axes:
            return False
        row = prod(self.space[i] for i in self.axes)
        few = prod(self.reduced_space) < MIN_PARALLEL_ROWS and self.size > MAX_ROW_PASS
        reduced = [i in self.axes for i, n in enumerate(self.space) if n > 1]
        return row <= MAX_ROW_PASS and not few and reduced == sorted(reduced)

    def allows_pass_after(self, var: Atom) -> bool:
        """Whether the reduced value `var` may be read in the pass over the row after its own."""
        return self.supports_row_passes() and self.sites[self.position[var]][0] + 1 < MAX_PASSES

    def is_row_broadcast(self, view: View) -> bool:
        """Whether a view over the space gives each index the reduced value of its row."""
        rows = View.of(self.reduced_space).broadcast_to(self.space)
        steps = zip(self.space, view.strides, rows.strides)
        return view.offset == 0 and all(n == 1 or s == t for n, s, t in steps)

    # ── growing ──

    def operand(self, atom: Atom, view: View | None, reduced: bool) -> int:
        """The position of a scalar constant, of a value of the group, or of a load by `view`."""
        if isinstance(atom, Const) and atom.is_scalar:
            key = reduced, atom.spec, value_key(atom.value)
            return self._leaf(key, ScalarConstant(atom.value, atom.spec.dtype), reduced)
        if atom in self.position:
            return self.position[atom]
        self.reads.add(atom)
        return self._leaf((reduced, atom, view), Load(atom, view, atom.spec.dtype), reduced)

    def _leaf(self, key: tuple, value: Value, reduced: bool) -> int:
        if key not in self._leaves:
            self._leaves[key] = self._append(value, 0, reduced)
        return self._leaves[key]

    def _append(self, value: Value, row_pass: int, reduced: bool) -> int:
        self.values.append(value)
        self.sites.append((row_pass, reduced))
        return len(self.values) - 1

    def add_elementwise(self, e: Eqn, args: list[int], reduced: bool) -> None:
        passes = [self.sites[i][0] + (self.sites[i][1] and not reduced) for i in args]
        value = ElementwiseOp(e.prim.expression, tuple(args), e.out.spec.dtype)
        self._define(e, value, max(passes, default=0), reduced)

    def add_copy(self, e: Eqn, arg: int) -> None:
        """Define the equation's result as the value `arg`."""
        self._define(e, ElementwiseOp(IDENTITY, (arg,), e.out.spec.dtype), 0, False)

    def add_index(self, e: Eqn, strides, offset: int = 0) -> None:
        self._define(e, IndexValue(tuple(strides), offset, e.out.spec.dtype), 0, False)

    def add_reduction(self, e: Eqn, arg: int) -> None:
        value = ReduceOp(arg, e.prim.reduction, e.out.spec.dtype)
        self._define(e, value, self.sites[arg][0], True)

    def _define(self, e: Eqn, value: Value, row_pass: int, reduced: bool) -> None:
        self.position[e.out] = self._append(value, row_pass, reduced)
        self.eqns.append(e)

    # ── changing the space ──

    def reduce_over(self, space: tuple[int, ...], axes: tuple[int, ...]) -> bool:
        """Make `axes` of `space` the reduced axes, where the group has none yet; False, and nothing
        changes, if its views cannot be expressed over that space."""
        values = self._over(space)
        if values is None:
            return False
        self._leaves = {(False, v.source, v.view): i
                        for i, v in enumerate(values) if isinstance(v, Load)}
        self.values = values
        self._set_shape(space, axes)
        return True

    def _over(self, space: tuple[int, ...]) -> list[Value] | None:
        """The values over another space of the same elements in order."""
        if prod(space) != self.size:
            return None
        if space == self.space:
            return self.values
        values: list[Value] = []
        for v in self.values:
            if isinstance(v, Load):
                view = v.view.reshape(space)
                v = view and Load(v.source, view, v.dtype)
            elif isinstance(v, IndexValue):
                view = View(self.space, v.strides, v.offset).reshape(space)
                v = view and IndexValue(view.strides, view.offset, v.dtype)
            if v is None:
                return None
            values.append(v)
        return values

    # ── the finished kernel ──

    def finalize(self, escaping: Container[Atom]) -> LoopKernel:
        """The loop kernel: values in the order of their passes, and a store for each escaping
        variable."""
        order = sorted(range(len(self.values)), key=self.sites.__getitem__)
        number = {i: n for n, i in enumerate(order)}
        passes = [([], []) for _ in range(1 + max((p for p, _ in self.sites), default=0))]
        for i in order:
            row_pass, reduced = self.sites[i]
            passes[row_pass][reduced].append(remap_operands(self.values[i], number))
        stores = [Store(number[i], var, view) for i, var, view in self._stores(escaping)]
        return LoopKernel(self.space, self.axes,
                          tuple(RowPass(tuple(e), tuple(r)) for e, r in passes), tuple(stores),
                          tuple(self.eqns))

    def _stores(self, escaping: Container[Atom]):
        for var, i in self.position.items():
            if var in self.store_views:
                yield i, var, self.store_views[var]
            elif var in escaping:
                yield i, var, View.of(self.reduced_space if self.sites[i][1] else self.space)
        yield from self.extra_stores
