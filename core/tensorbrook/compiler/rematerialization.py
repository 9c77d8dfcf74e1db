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
from ..ir import (ElementwiseOp, Atom, KernelCall, Graph, Kernel, TargetInfo, Load, LoopKernel, ScalarConstant, TensorSpec, Store, Var,
                  generated_loop)
from .bit_exactness import RecomputeExpression, may_contract_to_fma, may_be_product, feeds_discontinuity, is_bit_exact
from .cost_model import expression_cost
from .buffer_assignment import can_update_in_place
from .loop_rewriter import LoopBuilder, backward_slice, remap_operands, replace_loads, replace_generated_loop, replace_stores
from .kernel_uses import KernelUses


def computed_anew(kernels: list[Kernel], outputs: list[Var], graph: Graph,
                  over: Mapping[Var, Var], target: TargetInfo) -> list[Kernel]:
    """The kernels, without the stores of what their readers compute as quickly. Some outputs are
    known to lie `over` an input."""
    if not target.remat_ops_per_byte:
        return kernels
    updates = {graph.inputs[j]: outputs[i] for i, j in graph.input_output_aliases.items()}
    users = KernelUses(kernels, set(outputs), updates, over, target)
    for n in range(len(kernels)):
        while generated_loop(users.kernels[n]) and (best := _best_candidate(_Producer(n, users))) is not None:
            best.apply()
    return [k for k in users.kernels if not isinstance(k, LoopKernel) or k.stores]


class _Producer:
    """Kernel n as the one that makes values others read."""

    def __init__(self, n: int, users: KernelUses):
        self.n, self.uses = n, users
        self.kernel = users.kernels[n]
        loop = generated_loop(self.kernel)
        assert loop is not None, "what makes values is generated"
        self.loop = loop
        self.stored_values: list[tuple[int, Atom]] = [
            (s.value, s.target) for s in loop.stores if self._stores_full_result(s)]
        # Those that only loops read, and the position of the value.
        self.candidates = {var: at for at, var in self.stored_values if self._can_drop(at, var)}
        if isinstance(self.kernel, KernelCall) and self.kernel.result_escapes:
            self.stored_values += [(i, self.kernel.outs[0]) for i in range(len(loop.values))
                            if self.is_kernel_result(i)]

    def _stores_full_result(self, s: Store) -> bool:
        space = self.loop.reduced_space if self.loop.value_sites[s.value][1] else self.loop.iteration_space
        return s.view.contiguous and s.target.spec.count == prod(space)

    def _can_drop(self, at: int, var: Var) -> bool:
        users, late = self.uses, self.loop.value_sites[at][1]
        readers = users.consumers.get(var, ())
        return (not late and var not in users.outputs and users.producers[var] == [self.n]
                and bool(readers) and min(readers) > self.n and users.only_elementwise_loads(var))

    @cached_property
    def shared_sources(self) -> list[int]:
        """The positions of what several targets are made from."""
        loop, times = self.loop, {}
        for at in self.candidates.values():
            for i in backward_slice(loop, (at,)):
                times[i] = times.get(i, 0) + 1
        return [i for i, count in times.items()
                if count > 1 and not loop.value_sites[i][1]
                and (isinstance(loop.values[i], ElementwiseOp) or self.is_kernel_result(i))]

    def is_kernel_result(self, at: int) -> bool:
        """Whether the value is an element of the product that the loop follows."""
        v, k = self.loop.values[at], self.kernel
        return isinstance(v, Load) and isinstance(k, KernelCall) and v.source in k.outs


def _best_candidate(maker: _Producer) -> "_RematCandidate | None":
    """What saves most; None if nothing does."""
    best = None
    for base in (None, *maker.shared_sources) if maker.candidates else ():
        gone = frozenset(v for v, at in maker.candidates.items() if at != base)
        choice = _without_unprofitable(_largest_feasible(maker, base, gone))
        if choice and choice.benefit > 0 and (best is None or choice.benefit > best.benefit):
            best = choice
    return best


def _largest_feasible(maker: _Producer, base: int | None, gone: frozenset[Var]) -> "_RematCandidate | None":
    """The choice with as many of these gone as can be."""
    while gone:
        choice = _RematCandidate(maker, base, gone)
        if not choice.rejected:
            return choice
        gone -= choice.rejected
    return None


def _without_unprofitable(choice: "_RematCandidate | None") -> "_RematCandidate | None":
    """The choice without what had better stay."""
    while choice is not None and len(choice.dropped) > 1:
        less = [_largest_feasible(choice.producer, choice.source, choice.dropped - {v}) for v in choice.dropped]
        better = max(filter(None, less), key=lambda c: c.benefit, default=choice)
        if better.benefit <= choice.benefit:
            break
        choice = better
    return choice


class _RematCandidate:
    """Variables that are `gone`: not stored, but computed anew from what else there is, and from
    the value at `base`, which is stored if it was not."""

    def __init__(self, maker: _Producer, base: int | None, gone: frozenset[Var]):
        self.producer, self.source, self.dropped, self.uses = maker, base, gone, maker.uses
        self.available: dict[int, Atom] = {at: v for at, v in maker.stored_values if v not in gone}
        self.newly_stored: dict[int, Atom] = {}           # what is stored only for this
        if base is not None:
            self._stored(base)
        found = {v: self._recipe(maker.candidates[v]) for v in gone}
        self.expressions = {v: recipe for v, recipe in found.items() if recipe is not None}
        self.rejected = gone - self.expressions.keys()
        self.readers = sorted({n for v in gone for n in self.uses.consumers[v]})
        if not self.rejected:
            for n in self.readers:
                self.rejected |= frozenset() if self._can_recompute_in(n) else self._dropped_in(n)
        if not self.rejected and not self._fits_binding_limit(maker.n, set(self.newly_stored.values())):
            self.rejected = gone

    # ── what it is made of ──

    def _stored(self, at: int) -> Atom:
        """A variable with the values at a position, which the maker stores."""
        if at not in self.available:
            loop, value = self.producer.loop, self.producer.loop.values[at]
            shape = loop.reduced_space if loop.value_sites[at][1] else loop.iteration_space
            own = isinstance(value, Load) and self.producer.is_kernel_result(at)
            self.available[at] = value.source if own else Var(TensorSpec(shape, value.dtype))
            self.newly_stored[at] = self.available[at]
        return self.available[at]

    def _recipe(self, root: int) -> RecomputeExpression | None:
        """How to compute the value at a position; None if that cannot be, or not to the bit."""
        loop, pending = self.producer.loop, [root]
        recipe = RecomputeExpression(loop, root, set(), {})
        while pending:
            i = pending.pop()
            value, late = loop.values[i], loop.value_sites[i][1]
            if i in recipe.recomputed or i in recipe.loads:
                continue
            if isinstance(value, Load) and i not in self.available and not self.producer.is_kernel_result(i):
                if not _is_contiguous_access(value, loop.iteration_space):
                    return None
                recipe.loads[i] = value.source, value.view.broadcast_to(loop.iteration_space)
            elif isinstance(value, ScalarConstant) or isinstance(value, ElementwiseOp) and not late \
                    and i not in self.available:
                recipe.recomputed.add(i)
                pending += value.args if isinstance(value, ElementwiseOp) else ()
            elif i in self.available or late:
                view = View.of(loop.reduced_space if late else loop.iteration_space)
                recipe.loads[i] = self._stored(i), view.broadcast_to(loop.iteration_space)
            else:
                return None
        return recipe if is_bit_exact(recipe) else None

    def _dropped_in(self, n: int) -> frozenset[Var]:
        """What is gone of what kernel n reads."""
        return self.dropped.intersection(self.uses.kernels[n].reads)

    def _sources_in(self, n: int) -> set[Atom]:
        return {source for v in self._dropped_in(n) for source, _ in self.expressions[v].loads.values()}

    # ── whether it can be ──

    def _can_recompute_in(self, n: int) -> bool:
        """Whether kernel n can compute what it needs, to the same bits."""
        gone, leaves, users = self._dropped_in(n), self._sources_in(n), self.uses
        loop = users.loop(n)
        loose = {v for v in gone if may_contract_to_fma(self.expressions[v])}
        products = {v for v in gone if may_be_product(self.producer.loop, self.producer.candidates[v])}
        return (self._fits_binding_limit(n, leaves) and not (loose and len(loop.passes) > 1)
                and not feeds_discontinuity(loop, loose | products) and self._views_reshape(loop)
                and all(self._reads_before_update(n, old) for old in leaves & users.updates.keys()))

    def _views_reshape(self, loop: LoopKernel) -> bool:
        """Whether views over the loop's space can show what it needs."""
        loads = [v for v in loop.values if isinstance(v, Load) and v.source in self.dropped]
        return all(view.reshape(load.view.shape) is not None for load in loads
                   for _, view in self.expressions[load.source].loads.values())

    def _reads_before_update(self, n: int, old: Atom) -> bool:
        """Whether kernel n reads the old value of a Variable before there is the new one, or each
        element before it writes the new one over it."""
        new, target = self.uses.updates[old], self.uses.target
        return all(n < w or n == w and can_update_in_place(self._with_recompute(n), new, old, target)
                   for w in self.uses.producers.get(new, ()))

    def _fits_binding_limit(self, n: int, more: set[Atom]) -> bool:
        """Whether kernel n touches no more buffers than it may, or than it did."""
        users = self.uses
        return users.count_buffers(n, self.dropped, more) <= max(users.count_buffers(n), users.target.max_buffers_per_kernel)

    # ── whether it pays ──

    @cached_property
    def benefit(self) -> float:
        """The bytes that need not move, less those that must, and those that could in the time of
        the arithmetic. Below 0 where more bytes would be alive at once."""
        if self._raises_peak():
            return -1
        bytes_of, maker = self.uses.bytes_of, self.producer
        left, all_values = backward_slice(maker.loop, self._stored_positions()), range(len(maker.loop.values))
        operations = _arithmetic_cost(maker.loop, left) - _arithmetic_cost(maker.loop, all_values)
        unread = set(maker.loop.reads) - {maker.loop.values[i].source for i in left
                                          if isinstance(maker.loop.values[i], Load)}
        saved = sum(map(bytes_of, self.dropped | unread)) - sum(map(bytes_of, self.newly_stored.values()))
        for n in self.readers:
            loop, gone = self.uses.loop(n), self._dropped_in(n)
            saved += sum(map(bytes_of, gone))
            saved -= sum(map(bytes_of, self._sources_in(n).difference(loop.reads)))
            anew = set().union(*(self.expressions[v].recomputed for v in gone))
            operations += _arithmetic_cost(maker.loop, anew)
        return saved - operations / self.uses.target.remat_ops_per_byte

    def _stored_positions(self) -> set[int]:
        """The positions of what the maker stores then."""
        return {s.value for s in self.producer.loop.stores if s.target not in self.dropped} \
            | self.newly_stored.keys()

    def _raises_peak(self) -> bool:
        """Whether more bytes than now are alive at most, because something lives longer."""
        changes, users = list(self._liveness_deltas()), self.uses
        times = sorted({time for begin, end, _ in changes for time in (begin, end + 1)})
        for time, until in pairwise(times):
            more = sum(size for begin, end, size in changes if begin <= time <= end)
            if more > 0 and max(users.live_bytes[time:until]) + more > users.peak_bytes:
                return True
        return False

    def _liveness_deltas(self) -> Iterator[tuple[int, int, int]]:
        """From which kernel to which how many bytes more are alive."""
        users, n = self.uses, self.producer.n
        for v in self.dropped:
            yield n, users.last_use(v), -users.aligned_bytes(v)
        until = {source: reader for reader in self.readers for source in self._sources_in(reader)}
        for source, end in until.items():
            if source in self.newly_stored.values():
                yield n, end, users.aligned_bytes(source)
            elif users.is_intermediate(source) and end > (last := users.last_use(source)):
                # What took its place when it ended has one of its own now.
                yield last, end, users.aligned_bytes(source)

    # ── to do so ──

    def apply(self) -> None:
        maker, users = self.producer, self.uses
        users.adjust_liveness(list(self._liveness_deltas()))
        for n in self.readers:
            users.replace(n, self._with_recompute(n))
        stores = [s for s in maker.loop.stores if s.target not in self.dropped]
        k = maker.kernel
        for at, var in self.newly_stored.items():
            if maker.is_kernel_result(at):
                k = replace(k, result_escapes=True)
            else:
                stores.append(Store(at, var, View.of(var.spec.shape)))
        users.replace(maker.n, replace_generated_loop(k, replace_stores(maker.loop, stores)))

    def _with_recompute(self, n: int) -> Kernel:
        """Kernel n with what it computes anew."""
        k = self.uses.kernels[n]
        return replace_generated_loop(k, replace_loads(self.uses.loop(n), self._dropped_in(n), self._emit_recompute))

    def _emit_recompute(self, rewriter: LoopBuilder, load: Load) -> int:
        """The position of what a load gave, computed anew."""
        recipe, number = self.expressions[load.source], {}
        for i in sorted(recipe.recomputed | recipe.loads.keys()):
            value = recipe.loop.values[i]
            if i in recipe.loads:
                source, view = recipe.loads[i]
                number[i] = rewriter.append_leaf(Load(source, view.reshape(load.view.shape), value.dtype))
            elif isinstance(value, ScalarConstant):
                number[i] = rewriter.append_leaf(value)
            else:
                number[i] = rewriter.get_or_append((recipe.loop, i), remap_operands(value, number))
        if load.dtype is load.source.spec.dtype:
            return number[recipe.root]
        cast = ElementwiseOp("cast(x)", (number[recipe.root],), load.dtype)
        return rewriter.get_or_append((recipe.loop, recipe.root, load.dtype), cast)


def _is_contiguous_access(load: Load, space) -> bool:
    """Whether a load goes through memory in order, or over few elements again and again."""
    return load.view.contiguous or load.source.spec.count < prod(space)


def _arithmetic_cost(loop: LoopKernel, values: Iterable[int]) -> int:
    """What some of the values take at all indices."""
    found = (loop.values[i] for i in values if not loop.value_sites[i][1])
    return prod(loop.iteration_space) * sum(expression_cost(v.expression) for v in found if isinstance(v, ElementwiseOp))
