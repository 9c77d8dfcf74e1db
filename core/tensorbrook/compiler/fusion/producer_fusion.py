"""Producer fusion: a kernel sinks into its only consumer, and an elementwise consumer of a product
becomes the product's epilogue.

Loop fusion lets an equation join the latest producer of its operands. Where two kernels produce
them, as for `v * 0.9 - g * 0.1`, the earlier kernel stays a separate pass over memory although
only the later one reads its results: it moves into the later one here. So does a product whose
consumer can follow it tile by tile.
"""
from __future__ import annotations

from dataclasses import replace

from ...ir import KernelCall, Var
from ..context import PassContext
from ..lowering import Lowering
from .epilogue_fusion import CallWithEpilogue, fuse_epilogue
from .fusion_group import FusionGroup
from .group_builder import GroupBuilder
from ..kernel_index import KernelIndex, defined_values


def sink_producers(lowering: Lowering, context: PassContext) -> Lowering:
    """Merge each group with producers that nothing before it waits for."""
    graph = lowering.graph
    sinking = _Sinking(lowering, {graph.inputs[j]: lowering.outputs[i]
                                  for i, j in graph.input_output_aliases.items()}, context)
    return replace(lowering, kernels=sinking.run())


class _Sinking:
    """`updates[old]` is the new value of the Variable that came in as `old`: no consumer of the old
    value may move past the kernel that defines the new one."""

    def __init__(self, lowering: Lowering, updates: dict[Var, Var], context: PassContext):
        self.builder: GroupBuilder = lowering.builder
        self.index = KernelIndex(lowering.kernels)
        self.updates, self.counts = updates, context.counts

    def run(self) -> tuple:
        for b in range(len(self.index.kernels)):
            for kind in (FusionGroup, KernelCall):
                while (found := self._find_producer(b, kind)) is not None:
                    a, merged = found
                    self.index.replace(a, None)
                    self.index.replace(b, merged)
        return self.index.remaining()

    def _find_producer(self, b: int, kind: type) -> tuple[int, object] | None:
        """An earlier kernel of a kind that can move into kernel b, and the merged kernel."""
        consumer = self.index.kernels[b]
        if not isinstance(consumer, FusionGroup) or consumer.store_views:
            return None
        producers = {self.index.last_producer(v) for v in consumer.reads}
        for a in sorted((n for n in producers if 0 <= n < b), reverse=True):
            if isinstance(self.index.kernels[a], kind) and self._can_sink(a, b):
                merged = self._merge(self.index.kernels[a], consumer)
                if merged is not None:
                    return a, merged
        return None

    def _can_sink(self, a: int, b: int) -> bool:
        """Whether kernel a may run as late as kernel b."""
        producer = self.index.kernels[a]
        if isinstance(producer, FusionGroup) and producer.store_views:
            return False
        for var in defined_values(producer):
            self.counts["sinking"] += 1
            if self.index.last_producer(var) != a or self.index.is_used_between(var, a, b):
                return False
        return not any(a < self.index.last_producer(self.updates[v]) < b
                       for v in producer.reads if v in self.updates)

    def _merge(self, first: FusionGroup | KernelCall,
               second: FusionGroup) -> FusionGroup | CallWithEpilogue | None:
        """Both kernels as one, if their spaces, values and bindings allow it."""
        if isinstance(first, KernelCall):
            return fuse_epilogue(first, second, self.builder)
        rows = second if second.axes else first
        same_space = (first.space, first.axes) == (rows.space, rows.axes)
        merged = self.builder.extend(first, second.eqns) if same_space else \
            self.builder.rebuild(rows.space, rows.axes, first.eqns + second.eqns)
        if merged is None or not first.axes or merged.supports_row_passes():
            return merged
        return None if any(row_pass for row_pass, _ in merged.sites) else merged
