"""What costs little to compute is computed where it is read, not written and read again.

The gradient of a chain such as GELU needs values of the way there, and fusion has them stored by
whoever makes them, each in a buffer that lives until the gradient is done. Where what they are made
of is in memory too, or may be at the price of fewer buffers, loops compute them anew from that:
fewer bytes move and fewer are alive. What the arithmetic costs beside them is for the device to say
(`Limits.operations_per_byte`).

A variable still has one value here: plan.py decides later which memory is written over. So nothing
can read a Variable's new value for its old one; where that would take a copy, all stays as it was.
"""
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from math import prod

from ..base.views import View
from ..ir import (Apply, Atom, Call, Graph, Kernel, Limits, Load, Loop, Number, Spec, Store, Var,
                  generated)
from .bits import Recipe, has_sums_of_products, is_product, jumps, same_bits
from .cost import operations_of
from .memory import takes_the_place
from .rewrite import Rewriter, needed, renumbered, with_loads, with_loop, with_stores
from .users import Users


def computed_anew(kernels: list[Kernel], outputs: list[Var], graph: Graph,
                  over: Mapping[Var, Var], limits: Limits) -> list[Kernel]:
    """The kernels, without the stores of what their readers compute as quickly. Some outputs are
    known to lie `over` an input."""
    if not limits.operations_per_byte:
        return kernels
    updates = {graph.inputs[j]: outputs[i] for i, j in graph.updates.items()}
    users = Users(kernels, set(outputs), updates, over, limits)
    for n in range(len(kernels)):
        while generated(users.kernels[n]) and (best := _best(_Maker(n, users))) is not None:
            best.carry_out()
    return [k for k in users.kernels if not isinstance(k, Loop) or k.stores]


class _Maker:
    """Kernel n as the one that makes values others read."""

    def __init__(self, n: int, users: Users):
        self.n, self.users = n, users
        self.kernel = users.kernels[n]
        loop = generated(self.kernel)
        assert loop is not None, "what makes values is generated"
        self.loop = loop
        self.stored: list[tuple[int, Atom]] = [
            (s.value, s.target) for s in loop.stores if self._is_whole(s)]
        # Those that only loops read, and the position of the value.
        self.targets = {var: at for at, var in self.stored if self._may_go(at, var)}
        if isinstance(self.kernel, Call) and self.kernel.kept:
            self.stored += [(i, self.kernel.outs[0]) for i in range(len(loop.values))
                            if self.is_own(i)]

    def _is_whole(self, s: Store) -> bool:
        space = self.loop.outer if self.loop.parts[s.value][1] else self.loop.space
        return s.view.contiguous and s.target.spec.count == prod(space)

    def _may_go(self, at: int, var: Var) -> bool:
        users, late = self.users, self.loop.parts[at][1]
        readers = users.readers.get(var, ())
        return (not late and var not in users.outputs and users.writers[var] == [self.n]
                and bool(readers) and min(readers) > self.n and users.loads_alone(var))

    @cached_property
    def bases(self) -> list[int]:
        """The positions of what several targets are made from."""
        loop, times = self.loop, {}
        for at in self.targets.values():
            for i in needed(loop, (at,)):
                times[i] = times.get(i, 0) + 1
        return [i for i, count in times.items()
                if count > 1 and not loop.parts[i][1]
                and (isinstance(loop.values[i], Apply) or self.is_own(i))]

    def is_own(self, at: int) -> bool:
        """Whether the value is an element of the product that the loop follows."""
        v, k = self.loop.values[at], self.kernel
        return isinstance(v, Load) and isinstance(k, Call) and v.source in k.outs


def _best(maker: _Maker) -> "_Choice | None":
    """What saves most; None if nothing does."""
    best = None
    for base in (None, *maker.bases) if maker.targets else ():
        gone = frozenset(v for v, at in maker.targets.items() if at != base)
        choice = _pruned(_possible(maker, base, gone))
        if choice and choice.gain > 0 and (best is None or choice.gain > best.gain):
            best = choice
    return best


def _possible(maker: _Maker, base: int | None, gone: frozenset[Var]) -> "_Choice | None":
    """The choice with as many of these gone as can be."""
    while gone:
        choice = _Choice(maker, base, gone)
        if not choice.refused:
            return choice
        gone -= choice.refused
    return None


def _pruned(choice: "_Choice | None") -> "_Choice | None":
    """The choice without what had better stay."""
    while choice is not None and len(choice.gone) > 1:
        less = [_possible(choice.maker, choice.base, choice.gone - {v}) for v in choice.gone]
        better = max(filter(None, less), key=lambda c: c.gain, default=choice)
        if better.gain <= choice.gain:
            break
        choice = better
    return choice


class _Choice:
    """Variables that are `gone`: not stored, but computed anew from what else there is, and from
    the value at `base`, which is stored if it was not."""

    def __init__(self, maker: _Maker, base: int | None, gone: frozenset[Var]):
        self.maker, self.base, self.gone, self.users = maker, base, gone, maker.users
        self.there: dict[int, Atom] = {at: v for at, v in maker.stored if v not in gone}
        self.new: dict[int, Atom] = {}           # what is stored only for this
        if base is not None:
            self._stored(base)
        found = {v: self._recipe(maker.targets[v]) for v in gone}
        self.recipes = {v: recipe for v, recipe in found.items() if recipe is not None}
        self.refused = gone - self.recipes.keys()
        self.readers = sorted({n for v in gone for n in self.users.readers[v]})
        if not self.refused:
            for n in self.readers:
                self.refused |= frozenset() if self._serves(n) else self._gone_in(n)
        if not self.refused and not self._fits(maker.n, set(self.new.values())):
            self.refused = gone

    # ── what it is made of ──

    def _stored(self, at: int) -> Atom:
        """A variable with the values at a position, which the maker stores."""
        if at not in self.there:
            loop, value = self.maker.loop, self.maker.loop.values[at]
            shape = loop.outer if loop.parts[at][1] else loop.space
            own = isinstance(value, Load) and self.maker.is_own(at)
            self.there[at] = value.source if own else Var(Spec(shape, value.dtype))
            self.new[at] = self.there[at]
        return self.there[at]

    def _recipe(self, root: int) -> Recipe | None:
        """How to compute the value at a position; None if that cannot be, or not to the bit."""
        loop, pending = self.maker.loop, [root]
        recipe = Recipe(loop, root, set(), {})
        while pending:
            i = pending.pop()
            value, late = loop.values[i], loop.parts[i][1]
            if i in recipe.computed or i in recipe.leaves:
                continue
            if isinstance(value, Load) and i not in self.there and not self.maker.is_own(i):
                if not _walks_on(value, loop.space):
                    return None
                recipe.leaves[i] = value.source, value.view.broadcast_to(loop.space)
            elif isinstance(value, Number) or isinstance(value, Apply) and not late \
                    and i not in self.there:
                recipe.computed.add(i)
                pending += value.args if isinstance(value, Apply) else ()
            elif i in self.there or late:
                view = View.of(loop.outer if late else loop.space)
                recipe.leaves[i] = self._stored(i), view.broadcast_to(loop.space)
            else:
                return None
        return recipe if same_bits(recipe) else None

    def _gone_in(self, n: int) -> frozenset[Var]:
        """What is gone of what kernel n reads."""
        return self.gone.intersection(self.users.kernels[n].reads)

    def _leaves_in(self, n: int) -> set[Atom]:
        return {source for v in self._gone_in(n) for source, _ in self.recipes[v].leaves.values()}

    # ── whether it can be ──

    def _serves(self, n: int) -> bool:
        """Whether kernel n can compute what it needs, to the same bits."""
        gone, leaves, users = self._gone_in(n), self._leaves_in(n), self.users
        loop = users.loop(n)
        loose = {v for v in gone if has_sums_of_products(self.recipes[v])}
        products = {v for v in gone if is_product(self.maker.loop, self.maker.targets[v])}
        return (self._fits(n, leaves) and not (loose and len(loop.stages) > 1)
                and not jumps(loop, loose | products) and self._sees_all(loop)
                and all(self._comes_before(n, old) for old in leaves & users.updates.keys()))

    def _sees_all(self, loop: Loop) -> bool:
        """Whether views over the loop's space can show what it needs."""
        loads = [v for v in loop.values if isinstance(v, Load) and v.source in self.gone]
        return all(view.reshape(load.view.shape) is not None for load in loads
                   for _, view in self.recipes[load.source].leaves.values())

    def _comes_before(self, n: int, old: Atom) -> bool:
        """Whether kernel n reads the old value of a Variable before there is the new one, or each
        element before it writes the new one over it."""
        new, limits = self.users.updates[old], self.users.limits
        return all(n < w or n == w and takes_the_place(self._serving(n), new, old, limits)
                   for w in self.users.writers.get(new, ()))

    def _fits(self, n: int, more: set[Atom]) -> bool:
        """Whether kernel n touches no more buffers than it may, or than it did."""
        users = self.users
        return users.touches(n, self.gone, more) <= max(users.touches(n), users.limits.buffers)

    # ── whether it pays ──

    @cached_property
    def gain(self) -> float:
        """The bytes that need not move, less those that must, and those that could in the time of
        the arithmetic. Below 0 where more bytes would be alive at once."""
        if self._takes_more_memory():
            return -1
        bytes_of, maker = self.users.bytes_of, self.maker
        left, all_values = needed(maker.loop, self._ends()), range(len(maker.loop.values))
        operations = _operations(maker.loop, left) - _operations(maker.loop, all_values)
        unread = set(maker.loop.reads) - {maker.loop.values[i].source for i in left
                                          if isinstance(maker.loop.values[i], Load)}
        saved = sum(map(bytes_of, self.gone | unread)) - sum(map(bytes_of, self.new.values()))
        for n in self.readers:
            loop, gone = self.users.loop(n), self._gone_in(n)
            saved += sum(map(bytes_of, gone))
            saved -= sum(map(bytes_of, self._leaves_in(n).difference(loop.reads)))
            anew = set().union(*(self.recipes[v].computed for v in gone))
            operations += _operations(maker.loop, anew)
        return saved - operations / self.users.limits.operations_per_byte

    def _ends(self) -> set[int]:
        """The positions of what the maker stores then."""
        return {s.value for s in self.maker.loop.stores if s.target not in self.gone} \
            | self.new.keys()

    def _takes_more_memory(self) -> bool:
        """Whether more bytes than now are alive at most, because something lives longer."""
        changes, users = list(self._changes()), self.users
        times = sorted({time for begin, end, _ in changes for time in (begin, end + 1)})
        for time, until in pairwise(times):
            more = sum(size for begin, end, size in changes if begin <= time <= end)
            if more > 0 and max(users.alive[time:until]) + more > users.most:
                return True
        return False

    def _changes(self) -> Iterator[tuple[int, int, int]]:
        """From which kernel to which how many bytes more are alive."""
        users, n = self.users, self.maker.n
        for v in self.gone:
            yield n, users.last(v), -users.takes(v)
        until = {source: reader for reader in self.readers for source in self._leaves_in(reader)}
        for source, end in until.items():
            if source in self.new.values():
                yield n, end, users.takes(source)
            elif users.lives_between(source) and end > (last := users.last(source)):
                # What took its place when it ended has one of its own now.
                yield last, end, users.takes(source)

    # ── to do so ──

    def carry_out(self) -> None:
        maker, users = self.maker, self.users
        users.change(list(self._changes()))
        for n in self.readers:
            users.put(n, self._serving(n))
        stores = [s for s in maker.loop.stores if s.target not in self.gone]
        k = maker.kernel
        for at, var in self.new.items():
            if maker.is_own(at):
                k = replace(k, kept=True)
            else:
                stores.append(Store(at, var, View.of(var.spec.shape)))
        users.put(maker.n, with_loop(k, with_stores(maker.loop, stores)))

    def _serving(self, n: int) -> Kernel:
        """Kernel n with what it computes anew."""
        k = self.users.kernels[n]
        return with_loop(k, with_loads(self.users.loop(n), self._gone_in(n), self._computed))

    def _computed(self, rewriter: Rewriter, load: Load) -> int:
        """The position of what a load gave, computed anew."""
        recipe, number = self.recipes[load.source], {}
        for i in sorted(recipe.computed | recipe.leaves.keys()):
            value = recipe.loop.values[i]
            if i in recipe.leaves:
                source, view = recipe.leaves[i]
                number[i] = rewriter.leaf(Load(source, view.reshape(load.view.shape), value.dtype))
            elif isinstance(value, Number):
                number[i] = rewriter.leaf(value)
            else:
                number[i] = rewriter.once((recipe.loop, i), renumbered(value, number))
        if load.dtype is load.source.spec.dtype:
            return number[recipe.root]
        cast = Apply("cast(x)", (number[recipe.root],), load.dtype)
        return rewriter.once((recipe.loop, recipe.root, load.dtype), cast)


def _walks_on(load: Load, space) -> bool:
    """Whether a load goes through memory in order, or over few elements again and again."""
    return load.view.contiguous or load.source.spec.count < prod(space)


def _operations(loop: Loop, values: Iterable[int]) -> int:
    """What some of the values take at all indices."""
    found = (loop.values[i] for i in values if not loop.parts[i][1])
    return prod(loop.space) * sum(operations_of(v.formula) for v in found if isinstance(v, Apply))
