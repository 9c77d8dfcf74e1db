"""A rematerialization candidate: variables that are recomputed in their consumers, and the cost."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from math import prod

from ...base.views import View
from ...ir import (Atom, ElementwiseOp, Kernel, KernelCall, Load, LoopKernel, ScalarConstant,
                   Store, TensorSpec, Var, generated_loop)
from ...ir.kernels import remap_operands
from ...ir.scalar_expression import CAST
from ..memory.aliasing import can_update_in_place
from .bit_exactness import (RecomputeExpression, feeds_discontinuity, is_bit_exact, may_be_product,
                            may_contract_to_fma)
from .kernel_uses import KernelUses
from .loop_rewriter import (LoopBuilder, needed_values, replace_generated_loop,
                            replace_loads, replace_stores)


class Producer:
    """Kernel n as the producer of values that other kernels read."""

    def __init__(self, n: int, uses: KernelUses):
        self.n, self.uses = n, uses
        self.kernel = uses.kernels[n]
        loop = generated_loop(self.kernel)
        assert loop is not None, "a producer of values has a generated loop"
        self.loop = loop
        self.stored_values: list[tuple[int, Atom]] = [
            (s.value, s.target) for s in loop.stores if self._stores_full_result(s)]
        # The stored variables that could be dropped, and the positions of their values.
        self.candidates = {v: i for i, v in self.stored_values if self._can_drop(i, v)}
        if isinstance(self.kernel, KernelCall) and self.kernel.result_escapes:
            self.stored_values += [(i, self.kernel.outs[0]) for i in range(len(loop.values))
                                   if self.is_kernel_result(i)]

    def _stores_full_result(self, s: Store) -> bool:
        reduced = self.loop.value_sites[s.value][1]
        space = self.loop.reduced_space if reduced else self.loop.iteration_space
        return s.view.contiguous and s.target.spec.count == prod(space)

    def _can_drop(self, i: int, var: Var) -> bool:
        uses, reduced = self.uses, self.loop.value_sites[i][1]
        consumers = uses.consumers.get(var, ())
        return (not reduced and var not in uses.outputs and uses.producers[var] == [self.n]
                and bool(consumers) and min(consumers) > self.n
                and uses.only_elementwise_loads(var))

    @cached_property
    def shared_sources(self) -> list[int]:
        """The positions of values that several candidates depend on."""
        loop, times = self.loop, {}
        for i in self.candidates.values():
            for j in needed_values(loop, (i,)):
                times[j] = times.get(j, 0) + 1
        return sorted(j for j, count in times.items()
                      if count > 1 and not loop.value_sites[j][1]
                      and (isinstance(loop.values[j], ElementwiseOp) or self.is_kernel_result(j)))

    def is_kernel_result(self, i: int) -> bool:
        """Whether a value is an element of the product that the loop is the epilogue of."""
        v, k = self.loop.values[i], self.kernel
        return isinstance(v, Load) and isinstance(k, KernelCall) and v.source in k.outs

    @cached_property
    def arithmetic_cost(self) -> int:
        return arithmetic_cost(self.loop, range(len(self.loop.values)))


class RematCandidate:
    """Variables that are `dropped`: not stored but recomputed by their consumers, from buffers that
    exist anyway and from the value at `source`, which is stored for that if it is not yet."""

    def __init__(self, producer: Producer, source: int | None, dropped: frozenset[Var]):
        self.producer, self.source, self.dropped = producer, source, dropped
        self.uses = producer.uses
        self.available: dict[int, Atom] = {
            i: v for i, v in producer.stored_values if v not in dropped}
        self.newly_stored: dict[int, Atom] = {}
        if source is not None:
            self._store(source)
        found = {v: self._expression(producer.candidates[v]) for v in dropped}
        self.expressions = {v: e for v, e in found.items() if e is not None}
        self.rejected = dropped - self.expressions.keys()
        if not self.rejected:
            self.consumers = sorted({n for v in dropped for n in self.uses.consumers[v]})
            self.dropped_in = {n: dropped.intersection(self.uses.kernels[n].reads)
                               for n in self.consumers}
            for n in self.consumers:
                if not self._can_recompute_in(n):
                    self.rejected |= self.dropped_in[n]
        if not self.rejected and not self._fits_binding_limit(producer.n,
                                                              self.newly_stored.values()):
            self.rejected = dropped

    # ── expressions ──

    def _store(self, i: int) -> Atom:
        """The variable that holds the value at a position, which the producer stores."""
        if i not in self.available:
            loop, value = self.producer.loop, self.producer.loop.values[i]
            shape = loop.reduced_space if loop.value_sites[i][1] else loop.iteration_space
            own = isinstance(value, Load) and self.producer.is_kernel_result(i)
            self.available[i] = value.source if own else Var(TensorSpec(shape, value.dtype))
            self.newly_stored[i] = self.available[i]
        return self.available[i]

    def _expression(self, root: int) -> RecomputeExpression | None:
        """The computation of the value at a position; None if it is impossible or not bit-exact."""
        loop, pending = self.producer.loop, [root]
        expression = RecomputeExpression(loop, root, set(), {})
        while pending:
            i = pending.pop()
            value, reduced = loop.values[i], loop.value_sites[i][1]
            if i in expression.recomputed or i in expression.loads:
                continue
            if isinstance(value, Load) and i not in self.available \
                    and not self.producer.is_kernel_result(i):
                if not _is_contiguous_access(value, loop.iteration_space):
                    return None
                view = value.view.broadcast_to(loop.iteration_space)
                expression.loads[i] = value.source, view
            elif isinstance(value, ScalarConstant) or isinstance(value, ElementwiseOp) \
                    and not reduced and i not in self.available:
                expression.recomputed.add(i)
                pending += value.args if isinstance(value, ElementwiseOp) else ()
            elif i in self.available or reduced:
                view = View.of(loop.reduced_space if reduced else loop.iteration_space)
                expression.loads[i] = self._store(i), view.broadcast_to(loop.iteration_space)
            else:
                return None
        return expression if is_bit_exact(expression) else None

    def _sources_in(self, n: int) -> set[Atom]:
        """The buffers from which kernel n recomputes."""
        return {source for v in self.dropped_in[n]
                for source, _ in self.expressions[v].loads.values()}

    # ── feasibility ──

    def _can_recompute_in(self, n: int) -> bool:
        """Whether kernel n can recompute the dropped values that it reads, bit for bit."""
        dropped, sources, uses = self.dropped_in[n], self._sources_in(n), self.uses
        loop = uses.loop(n)
        contracted = {v for v in dropped if may_contract_to_fma(self.expressions[v])}
        products = {v for v in dropped
                    if may_be_product(self.producer.loop, self.producer.candidates[v])}
        return (self._fits_binding_limit(n, sources)
                and not (contracted and len(loop.passes) > 1)
                and not feeds_discontinuity(loop, contracted | products)
                and self._views_reshape(loop)
                and all(self._reads_before_update(n, old)
                        for old in sources & uses.updates.keys()))

    def _views_reshape(self, loop: LoopKernel) -> bool:
        """Whether the buffers can be viewed over the loop's space."""
        loads = [v for v in loop.values if isinstance(v, Load) and v.source in self.dropped]
        return all(view.reshape(load.view.shape) is not None for load in loads
                   for _, view in self.expressions[load.source].loads.values())

    def _reads_before_update(self, n: int, old: Atom) -> bool:
        """Whether kernel n reads the old value of a Variable before the new one is written, or each
        element before it writes the new one over it."""
        new, target = self.uses.updates[old], self.uses.target
        return all(n < w or n == w and can_update_in_place(self._with_recompute(n), new, old,
                                                           target)
                   for w in self.uses.producers.get(new, ()))

    def _fits_binding_limit(self, n: int, added: Iterable[Atom]) -> bool:
        """Whether kernel n binds no more buffers than the target allows, or than it did."""
        uses = self.uses
        maximum = max(uses.count_buffers(n), uses.target.max_buffers_per_kernel)
        return uses.count_buffers(n, self.dropped, added) <= maximum

    # ── profit ──

    @cached_property
    def benefit(self) -> float:
        """The bytes that are no longer moved, minus the bytes that are moved instead, minus the
        bytes that could be moved in the time of the additional arithmetic."""
        bytes_of, producer = self.uses.bytes_of, self.producer
        left = needed_values(producer.loop, self._stored_positions())
        cost = arithmetic_cost(producer.loop, left) - producer.arithmetic_cost
        unread = set(producer.loop.reads) - {
            v.source for v in map(producer.loop.values.__getitem__, left) if isinstance(v, Load)}
        saved = sum(map(bytes_of, self.dropped | unread)) \
            - sum(map(bytes_of, self.newly_stored.values()))
        for n in self.consumers:
            loop, dropped = self.uses.loop(n), self.dropped_in[n]
            saved += sum(map(bytes_of, dropped))
            saved -= sum(map(bytes_of, self._sources_in(n).difference(loop.reads)))
            recomputed = set().union(*(self.expressions[v].recomputed for v in dropped))
            cost += arithmetic_cost(producer.loop, recomputed)
        return saved - cost / self.uses.target.remat_ops_per_byte

    def _stored_positions(self) -> set[int]:
        """The positions of the values that the producer stores then."""
        return {s.value for s in self.producer.loop.stores if s.target not in self.dropped} \
            | self.newly_stored.keys()

    @cached_property
    def raises_peak(self) -> bool:
        """Whether the most bytes live at one time become more, as buffers live longer."""
        uses, changes, more = self.uses, Counter[int](), 0
        for first, last, size in self._liveness_deltas():
            changes[first] += size
            changes[last + 1] -= size
        for time, until in pairwise(sorted(changes)):
            more += changes[time]
            if more > 0 and uses.live.maximum(time, until - 1) + more > uses.peak_bytes:
                return True
        return False

    def _liveness_deltas(self) -> Iterator[tuple[int, int, int]]:
        """Changes of live bytes: (first kernel, last kernel, bytes)."""
        uses, n = self.uses, self.producer.n
        for v in self.dropped:
            yield n, uses.last_use(v), -uses.aligned_bytes(v)
        until = {source: reader for reader in self.consumers
                 for source in self._sources_in(reader)}
        for source, last in until.items():
            if source in self.newly_stored.values():
                yield n, last, uses.aligned_bytes(source)
            elif uses.is_intermediate(source) and last > (end := uses.last_use(source)):
                # At `end` another result may have been written over it, which needs a buffer now.
                yield end, last, uses.aligned_bytes(source)

    # ── application ──

    def apply(self) -> None:
        producer, uses = self.producer, self.uses
        uses.adjust_liveness(list(self._liveness_deltas()))
        for n in self.consumers:
            uses.replace(n, self._with_recompute(n))
        stores = [s for s in producer.loop.stores if s.target not in self.dropped]
        k = producer.kernel
        for i, var in self.newly_stored.items():
            if producer.is_kernel_result(i):
                k = replace(k, result_escapes=True)
            else:
                stores.append(Store(i, var, View.of(var.spec.shape)))
        uses.replace(producer.n, replace_generated_loop(k, replace_stores(producer.loop, stores)))

    def _with_recompute(self, n: int) -> Kernel:
        """Kernel n with the recomputed values in place of loads."""
        loop = replace_loads(self.uses.loop(n), self.dropped_in[n], self._emit)
        return replace_generated_loop(self.uses.kernels[n], loop)

    def _emit(self, builder: LoopBuilder, load: Load) -> int:
        """Append the recomputation of a loaded value; returns its position."""
        expression, number = self.expressions[load.source], {}
        for i in sorted(expression.recomputed | expression.loads.keys()):
            value = expression.loop.values[i]
            if i in expression.loads:
                source, view = expression.loads[i]
                number[i] = builder.append_leaf(
                    Load(source, view.reshape(load.view.shape), value.dtype))
            elif isinstance(value, ScalarConstant):
                number[i] = builder.append_leaf(value)
            else:
                number[i] = builder.get_or_append((expression.loop, i),
                                                  remap_operands(value, number))
        root = number[expression.root]
        if load.dtype is load.source.spec.dtype:
            return root
        return builder.get_or_append((expression.loop, expression.root, load.dtype),
                                     ElementwiseOp(CAST, (root,), load.dtype))


def _is_contiguous_access(load: Load, space: tuple[int, ...]) -> bool:
    """Whether a load reads memory in order, or few elements again and again."""
    return load.view.contiguous or load.source.spec.count < prod(space)


def arithmetic_cost(loop: LoopKernel, values: Iterable[int]) -> int:
    """The cost of some elementwise values at all indices, in additions."""
    ops = (loop.values[i] for i in values if not loop.value_sites[i][1])
    return prod(loop.iteration_space) * sum(
        op.expression.cost for op in ops if isinstance(op, ElementwiseOp))
