"""Buffer coalescing: a result is written over an operand whose life ends in the same kernel."""
from __future__ import annotations

from dataclasses import replace

from ...ir import Atom, BufferLocation, Kernel, Var
from ..context import PassContext
from ..lowering import Lowering
from .aliasing import can_update_in_place
from .liveness import LiveInterval, Timeline, live_intervals


def coalesce_in_place(lowering: Lowering, context: PassContext) -> Lowering:
    """Join the live intervals of variables that can share one buffer.

    A value that becomes an output is written to the output's buffer from the beginning, if no other
    tensor has that buffer: `locations` says so.
    """
    graph, outputs = lowering.graph, lowering.outputs
    updates = {outputs[i] for i in graph.input_output_aliases}
    coalescing = _Coalescing(lowering, set(outputs) - updates, context)
    for time, k in coalescing.timeline:
        coalescing.visit(time, k)
    intervals = {id(i): i for i in coalescing.interval_of.values()}
    return replace(lowering, intervals=tuple(intervals.values()), locations=coalescing.locations)


class _Coalescing:
    """`fresh` are the outputs whose buffers no other tensor has."""

    def __init__(self, lowering: Lowering, fresh: set[Var], context: PassContext):
        self.timeline, self.target = Timeline(lowering.kernels), context.target
        self.locations: dict[Atom, BufferLocation] = dict(lowering.locations)
        intervals = live_intervals(self.timeline, self.locations, context.target)
        self.interval_of = {var: i for i in intervals for var in i.variables}
        self.fresh = fresh
        self.first_write: dict[Var, int] = {}
        for time, k in self.timeline:
            for var in k.writes:
                self.first_write.setdefault(var, time)

    def visit(self, time: int, k: Kernel) -> None:
        for old in self._last_uses(time, k):
            for new in dict.fromkeys(k.writes):
                fits = new is not old and self.first_write[new] == time
                if fits and can_update_in_place(k, new, old, self.target) \
                        and self._coalesce(self.interval_of[old], new):
                    break

    def _last_uses(self, time: int, k: Kernel) -> list[Var]:
        """The variables that no kernel after this one uses."""
        end, intervals = self.timeline.end[time], self.interval_of
        return [v for v in dict.fromkeys((*k.writes, *k.reads)) if v in intervals
                and intervals[v].last == end and intervals[v].variables[-1] is v]

    def _coalesce(self, interval: LiveInterval, new: Var) -> bool:
        """Let `new` follow in the buffer of an interval, unless it has another buffer already."""
        if new in self.fresh:
            self.fresh.discard(new)
            for var in interval.variables:
                self.locations[var] = self.locations[new]
                del self.interval_of[var]
            return True
        following = self.interval_of.get(new)
        if following is None or following is interval or following.variables[0] is not new:
            return False
        interval.variables += following.variables
        interval.last = following.last
        self.interval_of.update(dict.fromkeys(following.variables, interval))
        return True
