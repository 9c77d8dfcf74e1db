"""Fusion of slice stores: the producer of a slice stores it directly into the assembled tensor."""
from __future__ import annotations

from dataclasses import replace

from ...ir import Atom, ElementwiseOp, Load
from ..context import PassContext
from ..lowering import Lowering
from .binding_limits import BindingLimits
from .fusion_group import FusionGroup
from ..kernel_index import KernelIndex


def store_slices_in_producers(lowering: Lowering, context: PassContext) -> Lowering:
    """Remove each group that only copies a value of an earlier group into a slice of a result; the
    earlier group stores the value there."""
    bindings = lowering.builder.bindings
    index = KernelIndex(lowering.kernels)
    for n, k in enumerate(lowering.kernels):
        source = _copied_source(k) if isinstance(k, FusionGroup) else None
        producers = [p for p in index.producers.get(source, ()) if p < n] if source else []
        producer = index.kernels[producers[0]] if len(producers) == 1 else None
        if isinstance(producer, FusionGroup) and _can_store(producer, source, k, index, bindings):
            (out, view), = k.store_views.items()
            producer.extra_stores.append(
                (producer.position[source], out, view.reshape(producer.space)))
            known = set(producer.eqns)
            producer.eqns += [e for e in k.eqns if e not in known]
            index.replace(n, None)
    return replace(lowering, kernels=index.remaining())


def _copied_source(group: FusionGroup) -> Atom | None:
    """The variable that a group copies, whole and in order, into a slice of a result."""
    if not group.store_views or len(group.values) != 2:
        return None
    load, copy = group.values
    if not isinstance(load, Load) or not isinstance(copy, ElementwiseOp):
        return None
    whole = load.view.contiguous and load.source.spec.count == group.size
    return load.source if whole else None


def _can_store(producer: FusionGroup, source: Atom, k: FusionGroup, index: KernelIndex,
               bindings: BindingLimits) -> bool:
    """Whether a group may store a value where group k would. A kernel that fills the result must
    not come between them."""
    (out, view), = k.store_views.items()
    fills = any(isinstance(g, FusionGroup) and out not in g.store_views
                for g in (index.kernels[n] for n in index.producers.get(out, ())))
    room = bindings.count_bindings(producer) < bindings.maximum
    return (not fills and not producer.store_views and producer.is_reduced(source) is False
            and room and view.reshape(producer.space) is not None)
