"""Rematerialization: recompute a cheap intermediate in its consumers instead of storing it.

The gradient of a chain such as GELU needs values of the forward pass, which loop fusion has their
producer store, each in a buffer that lives until the gradient is computed. Where the operands of
such a value are in memory too, or can be at the cost of fewer buffers, the consumers recompute it:
fewer bytes are moved and fewer are live. `TargetInfo.remat_ops_per_byte` weighs the arithmetic
against the bytes.

A variable has one value here; which buffers are written over is decided later. So no kernel may
read a Variable's new value for its old one; where that would take a copy, nothing changes.
"""
from __future__ import annotations

from dataclasses import replace

from ...ir import Atom, LoopKernel, Var, generated_loop
from ...ir.kernel_signature import kernel_signature
from ..context import PassContext
from ..lowering import Lowering
from .kernel_uses import KernelUses
from .recompute_candidate import Producer, RematCandidate

# The source and the dropped variables of a candidate, as positions in its producer.
Decision = tuple[int | None, frozenset[int]]


# Up to this number of variables of one kernel, each is decided separately: the time of that grows
# with the cube.
MAX_SEPARATE_DECISIONS = 16


def rematerialize(lowering: Lowering, context: PassContext) -> Lowering:
    """Drop the stores of values that their consumers recompute as fast as they would load them."""
    if not context.target.remat_ops_per_byte:
        return lowering
    search = _Search(KernelUses(lowering, context.target), context)
    for n in range(len(lowering.kernels)):
        while generated_loop(search.uses.kernels[n]) is not None \
                and (best := search.best_candidate(n)) is not None:
            best.apply()
    kernels = tuple(k for k in search.uses.kernels if not isinstance(k, LoopKernel) or k.stores)
    return replace(lowering, kernels=kernels)


class _Search:
    """Finds the best candidate of a producer. Equal layers have equal best candidates, so the
    decision is kept by the signatures of the producer and its consumers."""

    def __init__(self, uses: KernelUses, context: PassContext):
        self.uses, self.counts = uses, context.counts
        self.decisions: dict[tuple, Decision | None] = {}

    def best_candidate(self, n: int) -> RematCandidate | None:
        producer = Producer(n, self.uses)
        if not producer.candidates:
            return None
        key = self._key(producer)
        if key in self.decisions:
            decision = self.decisions[key]
            if decision is None:
                return None
            candidate = self._decided(producer, *decision)
            if not candidate.rejected and not candidate.raises_peak:
                return candidate
        best, limited = self._search(producer)
        if not limited:
            positions = producer.candidates
            self.decisions[key] = best and (
                best.source, frozenset(positions[v] for v in best.dropped))
        return best

    def _decided(self, producer: Producer, source: int | None,
                 dropped: frozenset[int]) -> RematCandidate:
        self.counts["rematerialization candidates"] += 1
        variables = frozenset(v for v, i in producer.candidates.items() if i in dropped)
        return RematCandidate(producer, source, variables)

    def _search(self, producer: Producer) -> tuple[RematCandidate | None, bool]:
        """The candidate with the largest benefit, if that is positive; and whether live bytes, on
        which a decision for another layer cannot rely, have ruled one out."""
        best, limited = None, False
        for source in (None, *producer.shared_sources):
            dropped = frozenset(v for v, i in producer.candidates.items() if i != source)
            candidate = self._largest_feasible(producer, source, dropped)
            candidate = self._without_unprofitable(candidate)
            if candidate is None or candidate.benefit <= 0:
                continue
            if candidate.raises_peak:
                limited = True
            elif best is None or candidate.benefit > best.benefit:
                best = candidate
        return best, limited

    def _largest_feasible(self, producer: Producer, source: int | None,
                          dropped: frozenset[Var]) -> RematCandidate | None:
        """The candidate that drops as many of these variables as possible."""
        while dropped:
            self.counts["rematerialization candidates"] += 1
            candidate = RematCandidate(producer, source, dropped)
            if not candidate.rejected:
                return candidate
            dropped -= candidate.rejected
        return None

    def _without_unprofitable(self, candidate: RematCandidate | None) -> RematCandidate | None:
        """Remove variables from the candidate while that increases its benefit; of many variables,
        all are dropped or none."""
        while candidate is not None and 1 < len(candidate.dropped) <= MAX_SEPARATE_DECISIONS:
            fewer = [self._largest_feasible(candidate.producer, candidate.source,
                                            candidate.dropped - {v}) for v in candidate.dropped]
            better = max(filter(None, fewer), key=self._rank, default=candidate)
            if self._rank(better) <= self._rank(candidate):
                break
            candidate = better
        return candidate

    @staticmethod
    def _rank(candidate: RematCandidate) -> float:
        return -1.0 if candidate.raises_peak else candidate.benefit

    def _key(self, producer: Producer) -> tuple:
        """A key of the inputs of a decision except live bytes: the signatures of the producer and
        its consumers, which of their buffers are the same, and the facts about each buffer."""
        uses = self.uses
        consumers = sorted({n for v in producer.candidates for n in uses.consumers[v]})
        kernels = [producer.kernel, *(uses.kernels[n] for n in consumers)]
        signatures = [kernel_signature(k) for k in kernels]
        number: dict[Atom, int] = {}
        for signature in signatures:
            for atom in signature.buffers:
                number.setdefault(atom, len(number))
        order = [producer.n, *consumers]
        known = tuple(self._facts(atom, number, order) for atom in number)
        return (tuple(s.key for s in signatures),
                tuple(tuple(number[a] for a in s.buffers) for s in signatures), known,
                tuple(producer.candidates.values()))

    def _facts(self, atom: Atom, number: dict[Atom, int], order: list[int]) -> tuple:
        """Facts about a buffer: whether it is an input, an output or neither, which buffer it is
        written over, and among which of the kernels the new value is written of the Variable whose
        old value it is."""
        uses = self.uses
        new, over = uses.updates.get(atom), uses.aliases.get(atom)
        writers = () if new is None else tuple(
            (sum(n < w for n in order), w in order) for w in uses.producers.get(new, ()))
        return (atom in uses.outputs, bool(uses.producers.get(atom)), number.get(new), writers,
                number.get(over))
