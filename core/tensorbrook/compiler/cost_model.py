"""Cost model: estimates of the time that expressions, kernels and programs take.

An expression has a cost in additions (`ScalarExpression.cost`), a kernel a number of operations and
bytes (ir/kernel_stats.py). This module converts both to time: on one thread of the CPU backend for
scheduling, and on CPU and GPU to choose a device.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..ir import Eqn, Graph, Kernel, KernelCall, LoopKernel, ScanKernel
from ..ir.kernel_stats import bytes_moved
from .graph.float16_lowering import uses_float16

# ── kernels on the CPU ────────────────────────────────────────────────────────────────────────

# A shorter kernel runs on one thread. In Chromium a barrier at which the other thread spins takes
# 0.1 us and a launch on two threads 0.2 us more than on one, so little depends on the threshold:
# MLP training, batch 8, two threads, with 1 / 8 / 66 us 250 / 241 / 255 us a step. But a parallel
# kernel waits for threads that sleep, 10 to 50 us.
MIN_PARALLEL_NS = 8_192
MIN_PARALLEL_ROWS = 32      # a reduction to fewer results has too little to partition

# Rates of one thread in operations and bytes a nanosecond (docs/performance.md).
VISITS_PER_NS, TILED_FLOPS_PER_NS, TILED_BYTES_PER_NS = 4, 60, 20
TILED_KERNELS = frozenset({"gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad",
                           "attention", "attention_grad"})


def estimated_ns(k: Kernel) -> float:
    """The estimated time of a kernel on one thread."""
    if isinstance(k, ScanKernel):
        return k.count * sum(map(estimated_ns, k.kernels))
    if isinstance(k, KernelCall):
        epilogue = estimated_ns(k.epilogue) if k.epilogue else 0
        if k.kernel in TILED_KERNELS:
            return epilogue + max(k.flops / TILED_FLOPS_PER_NS, bytes_moved(k) / TILED_BYTES_PER_NS)
        return epilogue + k.flops / VISITS_PER_NS
    return element_visits(k) / VISITS_PER_NS


def element_visits(loop: LoopKernel) -> int:
    """How many values a loop computes or loads, at all indices."""
    return sum(prod(loop.iteration_space) * len(p.elementwise)
               + prod(loop.reduced_space) * len(p.post_reduce) for p in loop.passes)


def is_parallel(k: Kernel) -> bool:
    """Whether all threads share a kernel."""
    if isinstance(k, ScanKernel):
        return any(map(is_parallel, k.kernels))
    if isinstance(k, KernelCall):
        return k.flops + _epilogue_visits(k) >= MIN_PARALLEL_NS * VISITS_PER_NS
    return estimated_ns(k) >= MIN_PARALLEL_NS and prod(k.reduced_space) >= MIN_PARALLEL_ROWS


def _epilogue_visits(k: KernelCall) -> int:
    return element_visits(k.epilogue) if k.epilogue else 0


# ── programs on CPU or GPU ────────────────────────────────────────────────────────────────────
#
# The estimate must separate programs that differ much: a GPU wins large ones by ten times, and
# loses small ones by as much, as a dispatch costs more than a small kernel takes on the CPU.


@dataclass(frozen=True)
class DeviceRates:
    """The throughput of a device, and its fixed costs in seconds."""

    operations: float                # arithmetic operations a second
    bytes: float                     # to and from memory, a second
    kernel: float                    # for each kernel, however small
    run: float                       # for each run of a program


# One thread of backend wasm: 56 GFLOP/s in the GPT training step, a copy of 43 GB/s, a barrier of
# 6 to 8 us, and about 10 us from Python and back (docs/performance.md).
CPU_THREAD = DeviceRates(operations=50e9, bytes=40e9, kernel=8e-6, run=10e-6)

# An integrated GPU of 2020, as pages do not report how fast theirs is: an Apple M1 multiplies
# matrices at 900 GFLOP/s through WebGPU (jott.live/markdown/m1_webgpu_perf) and moves 67 GB/s; a
# dispatch takes 24 to 71 us (arXiv:2604.02344, four vendors). The time of a run is a heuristic.
GPU = DeviceRates(operations=900e9, bytes=60e9, kernel=36e-6, run=500e-6)

GPU_MARGIN = 1.5         # a gain must pay for moving the data too; heuristic, not tuned on hardware


@dataclass(frozen=True)
class Workload:
    """Operations, bytes and kernels of a program, on any device."""

    operations: float = 0.0
    bytes: float = 0.0
    kernels: float = 0.0

    def __add__(self, other: Workload) -> Workload:
        return Workload(self.operations + other.operations, self.bytes + other.bytes,
                        self.kernels + other.kernels)

    def times(self, count: int) -> Workload:
        return Workload(count * self.operations, count * self.bytes, count * self.kernels)

    def seconds(self, rates: DeviceRates, threads: int = 1) -> float:
        """The estimated time where `threads` such devices share the arithmetic."""
        computing = self.operations / rates.operations / threads
        return rates.run + self.kernels * rates.kernel + max(computing, self.bytes / rates.bytes)


def estimate(graph: Graph) -> Workload:
    """The workload of a graph: kernel calls and reductions are kernels that read and write memory;
    elementwise equations are assumed to fuse with them."""
    ends = sum(v.spec.size_bytes for v in (*graph.inputs, *graph.outputs))
    return sum(map(_of_equation, graph.eqns), Workload(0.0, ends, 1))


def _of_equation(e: Eqn) -> Workload:
    elements = max(v.spec.count for v in (*e.args, *e.outs))
    moved = sum(v.spec.size_bytes for v in (*e.args, *e.outs))
    if e.prim.kind == "kernel":
        return Workload(e.kernel_call[2], moved, 1)
    if e.prim.kind == "scan":
        return estimate(e.attrs["body"].graph).times(e.attrs["length"])
    if e.prim.kind == "reduce":
        return Workload(elements, moved, 1)
    return Workload(elements if e.prim.kind == "elementwise" else 0)


def prefers_gpu(graph: Graph, threads: int) -> bool:
    """Whether a GPU is clearly faster for a graph than this number of CPU threads, or the only
    device for it: no CPU backend computes float16."""
    if uses_float16(graph):
        return True
    found = estimate(graph)
    return GPU_MARGIN * found.seconds(GPU) < found.seconds(CPU_THREAD, threads)
