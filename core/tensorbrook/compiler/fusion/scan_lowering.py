"""Lowering of scans: a scan equation becomes a kernel that repeats the kernels of its body."""
from __future__ import annotations

from math import prod

from ...ir import Atom, Carry, Eqn, LoopKernel, ScanKernel, ScanSlice, Var, clone_graph
from ..context import PassContext
from ..lowering import Lowering


def lower_scan(e: Eqn, buffers: list[Atom], context: PassContext) -> ScanKernel:
    """The kernel of a scan whose operands are in these buffers."""
    # Two scans may have the same body; their variables must differ.
    graph = clone_graph(e.attrs["body"].graph)
    n, end = e.attrs["carries"], e.attrs["carries"] + e.attrs["xs"]
    body = context.lower(Lowering(graph, captured=dict(zip(graph.inputs[end:], buffers[end:]))))
    kernels = tuple(k for k in body.kernels
                    if not isinstance(k, LoopKernel) or prod(k.reduced_space) > 0)
    carries = tuple(Carry(buffers[i], graph.inputs[i], body.outputs[i], e.outs[i],
                          Var(e.outs[i].spec)) for i in range(n))
    slices = (*map(ScanSlice, buffers[n:end], graph.inputs[n:end]),
              *map(ScanSlice, e.outs[n:], body.outputs[n:]))
    return ScanKernel(e.attrs["length"], e.attrs["reverse"], kernels, carries, slices, (e,))
