"""Whether a program is large enough for a GPU: an estimate from its equations alone.

It must be right about programs that differ much: a GPU wins large ones by ten times, and loses
small ones by as much, as every dispatch costs it more than a small kernel takes on the CPU.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from ..ir import Eqn, Graph
from .float16_lowering import uses_float16


@dataclass(frozen=True)
class DeviceRates:
    """What a device does in a second, and what it takes beside: in seconds."""

    operations: float                # arithmetic operations a second
    bytes: float                     # to and from memory, a second
    kernel: float                    # for each kernel, however small
    run: float                       # for each run of a program


# One thread of backend wasm: 56 GFLOP/s in the GPT training step, a copy of 43 GB/s, a barrier of
# 6 to 8 us, and about 10 us from Python and back (docs/performance.md).
CPU_THREAD = DeviceRates(operations=50e9, bytes=40e9, kernel=8e-6, run=10e-6)

# A GPU as laptops have had it since 2020, as pages do not tell how fast theirs is: an Apple M1
# multiplies matrices at 900 GFLOP/s through WebGPU (jott.live/markdown/m1_webgpu_perf) and moves
# 67 GB/s; a dispatch takes 24 to 71 us (arXiv:2604.02344, four vendors); the run is our estimate.
GPU = DeviceRates(operations=900e9, bytes=60e9, kernel=36e-6, run=500e-6)

# The instructions of functions in formulas (backends/wasm/functions.py; functions.wgsl is alike),
# where a sum is one. A root or a quotient is one, too, and takes the time of so many.
CALL_COST = {"exp": 18, "expm1": 19, "log": 32, "log1p": 41, "tanh": 20, "sin": 42, "cos": 40,
         "erf": 34, "sigmoid": 26, "pow": 114, "sqrt": 8, "floordiv": 9}
DIVISION_COST = 8

GPU_MARGIN = 1.5             # what is won must pay for moving the data too; an estimate

_NAMES = re.compile(r"[a-z]\w*(?=\()").findall


@dataclass(frozen=True)
class Workload:
    """What a program does, whoever does it."""

    operations: float = 0.0
    bytes: float = 0.0
    kernels: float = 0.0

    def __add__(self, other: Workload) -> Workload:
        return Workload(self.operations + other.operations, self.bytes + other.bytes,
                    self.kernels + other.kernels)

    def times(self, count: int) -> Workload:
        return Workload(count * self.operations, count * self.bytes, count * self.kernels)

    def seconds(self, rates: DeviceRates, threads: int = 1) -> float:
        """How long it takes about, where `threads` such devices share the arithmetic."""
        computing = self.operations / rates.operations / threads
        return rates.run + self.kernels * rates.kernel + max(computing, self.bytes / rates.bytes)


def estimate(graph: Graph) -> Workload:
    """The work of a graph: its products, folds and maps, and the bytes that the first two and its
    ends must move. Maps are taken to join the kernels beside them."""
    ends = sum(v.spec.size_bytes for v in (*graph.inputs, *graph.outputs))
    return sum(map(_of_equation, graph.eqns), Workload(0.0, ends, 1))


def _of_equation(e: Eqn) -> Workload:
    elements = max(v.spec.count for v in (*e.args, *e.outs))
    moved = sum(v.spec.size_bytes for v in (*e.args, *e.outs))
    if e.prim.kind == "kernel":
        results = e.prim.spec(*[a.spec for a in e.args], **e.attrs)
        return Workload(e.prim.kernel_call([a.spec for a in e.args], results, **e.attrs)[2], moved, 1)
    if e.prim.kind == "scan":
        return estimate(e.attrs["body"].graph).times(e.attrs["length"])
    if e.prim.kind == "reduce":
        return Workload(elements, moved, 1)
    return Workload(elements if e.prim.kind == "elementwise" else 0)


def expression_cost(formula: str) -> int:
    """About how many operations a formula of a map takes for an element; a copy takes none."""
    if "/" in formula:
        return DIVISION_COST
    return 0 if formula == "x" else sum(CALL_COST.get(name, 0) for name in _NAMES(formula)) or 1


def prefers_gpu(graph: Graph, threads: int) -> bool:
    """Whether a GPU would carry the graph out clearly faster than so many threads of the CPU, or
    alone could: no CPU computes float16."""
    if uses_float16(graph):
        return True
    found = estimate(graph)
    return GPU_MARGIN * found.seconds(GPU) < found.seconds(CPU_THREAD, threads)
