"""Kernels -> a plan: where each buffer lies, what the threads share, and where they must meet."""
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from math import prod

from ..base.views import View
from ..ir import (PRIMITIVES, ElementwiseOp, KernelCall, Const, Eqn, Graph, Kernel, TargetInfo, Load, LoopKernel, BufferLocation, Plan,
                  ScanKernel, TensorSpec, RowPass, ScheduledKernel, Store, Var)
from ..ir.kernel_stats import bytes_moved
from .buffer_assignment import LiveInterval, allocate, live_bytes, live_intervals, can_alias, coalesce_in_place
from .scheduling import schedule
from .scan_lowering import memory_accesses, memory_by_iteration, assign_rotating_slots

# A kernel with less work than this (loads, formulas and products; 2 to 10 us) stays on one thread.
# In Chromium a barrier at which the other thread spins takes 0.1 us and a launch on two threads 0.2
# more than on one, so little depends on it: MLP training, batch 8, two threads, with 1 << 12 / 15 /
# 18 250 / 241 / 255 us a step. But what was divided waits for threads that sleep, 10 to 50 us.
MIN_PARALLEL_WORK = 1 << 15
MIN_PARALLEL_ROWS = 32      # and with fewer results than this, a fold has too little to divide

# A whole program that one thread ends within this time is not handed to others: that costs 6 us,
# and 30 more where they have gone to sleep. In Chromium on two threads, 2026-11, a product of 64 (9
# us of work) took 14.6 us a call and 12.9 on one, a product of 32 39 and 6.
SINGLE_THREAD_NS = 16_000
TILED_KERNELS = ("gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad", "attention",
            "attention_grad")


def build_plan(graph: Graph, kernels: list[Kernel], outputs: list[Var], target: TargetInfo) -> Plan:
    kernels = list(kernels)
    outputs = _copy_unsafe_updates(graph, kernels, outputs, target)
    kernels = [k for k in kernels if not isinstance(k, LoopKernel) or prod(k.reduced_space) > 0]
    constants = _constants(kernels)
    places = {atom: BufferLocation("slot", n)
              for n, atom in enumerate((*graph.inputs, *constants, *outputs))}
    moving = assign_rotating_slots(kernels, places, len(places))
    over = {outputs[i]: places[graph.inputs[j]].offset for i, j in graph.input_output_aliases.items()}
    slots = {atom: place.offset for atom, place in places.items()} | over
    kernels = schedule(kernels, [_is_parallel(k) for k in kernels], slots, target)
    found = coalesce_in_place(kernels, live_intervals(kernels, places, target), places, set(outputs) - set(over),
                   target)
    first_output = len(graph.inputs) + len(constants)
    arena_size = _assign_arena(kernels, found, places, graph, first_output, target)
    steps = _schedule_steps(kernels, places, graph, first_output, target)
    if sum(map(_estimated_ns, kernels)) < SINGLE_THREAD_NS:
        steps = _single_threaded(steps)
    return Plan(tuple(graph.inputs), tuple(constants), tuple(outputs), dict(graph.input_output_aliases), places,
                steps, arena_size, graph, live_bytes(found), moving, target)


def _constants(kernels) -> list[Const]:
    found = [a for k in kernels for a in k.reads if isinstance(a, Const)]
    return list(dict.fromkeys(found))


# ── Variables updated in place ────────────────────────────────────────────────────────────────


def _copy_unsafe_updates(graph: Graph, kernels: list[Kernel], outputs: list[Var],
                  target: TargetInfo) -> list[Var]:
    """The outputs; one that would overwrite a Variable still to be read is copied at the end."""
    outputs = list(outputs)
    late = []
    for i, j in graph.input_output_aliases.items():
        if not can_alias(outputs[i], graph.inputs[j], kernels, target):
            late.append((i, outputs[i]))
    for i, var in late:
        outputs[i] = out = Var(TensorSpec(var.spec.shape, var.spec.dtype))
        view = View.of((max(var.spec.count, 1),) if var.spec.count else (0,))
        e = Eqn(PRIMITIVES["identity"], (var,), {}, (out,))
        body = Load(var, view, var.spec.dtype), ElementwiseOp("x", (0,), var.spec.dtype)
        kernels.append(LoopKernel(view.shape, (), (RowPass(body),), (Store(1, out, view),), (e,)))
    return outputs


# ── memory ────────────────────────────────────────────────────────────────────────────────────


def _assign_arena(kernels, found: list[LiveInterval], places: dict, graph: Graph, first_output: int,
           target: TargetInfo) -> int:
    """Put every life in its place; returns the arena's size."""
    apart = places | {var: BufferLocation(f"arena {n}", 0) for n, life in enumerate(found)
                      for var in life.vars}
    barriers = [step.barrier_before for step in _schedule_steps(kernels, apart, graph, first_output, target)]
    size, placed = allocate(found, list(accumulate(barriers)))
    for at, life in placed:
        places.update(dict.fromkeys(life.vars, BufferLocation("arena", at)))
    return size


# ── threads ───────────────────────────────────────────────────────────────────────────────────


def estimated_work(k: Kernel) -> int:
    """About how many element visits or multiplications a kernel takes."""
    if isinstance(k, ScanKernel):
        return k.count * sum(map(estimated_work, k.kernels))
    if isinstance(k, KernelCall):
        return k.flops + (estimated_work(k.epilogue) if k.epilogue else 0)
    return sum(prod(k.iteration_space) * len(s.elementwise) + prod(k.reduced_space) * len(s.post_reduce) for s in k.passes)


def _estimated_ns(k: Kernel) -> float:
    """About how long one thread takes for a kernel: 4 visits a ns, or 60 operations where tiles are
    multiplied and 20 bytes that they are made from (docs/performance.md)."""
    if isinstance(k, ScanKernel):
        return k.count * sum(map(_estimated_ns, k.kernels))
    if isinstance(k, KernelCall):
        after = _estimated_ns(k.epilogue) if k.epilogue else 0
        tiles = max(k.flops / 60, bytes_moved(k) / 20)
        return after + (tiles if k.kernel in TILED_KERNELS else k.flops / 4)
    return estimated_work(k) / 4


def _single_threaded(steps: tuple[ScheduledKernel, ...]) -> tuple[ScheduledKernel, ...]:
    """The same steps on one thread, which waits for nobody."""
    return tuple(replace(step, parallel=False, barrier_before=False, body=_single_threaded(step.body))
                 for step in steps)


def _is_parallel(k: Kernel) -> bool:
    """Whether all threads share a kernel."""
    if isinstance(k, ScanKernel):
        return any(map(_is_parallel, k.kernels))
    return estimated_work(k) >= MIN_PARALLEL_WORK and (isinstance(k, KernelCall) or prod(k.reduced_space) >= MIN_PARALLEL_ROWS)


def _schedule_steps(kernels, places, graph: Graph, first_output: int,
           target: TargetInfo) -> tuple[ScheduledKernel, ...]:
    """Each kernel with its share of threads, and a barrier wherever data may cross between them."""
    alias = {first_output + i: j for i, j in graph.input_output_aliases.items()}

    def memory_of(atom, turn=0):
        return _byte_range(atom, places, alias, target)

    return _insert_barriers(kernels, memory_of, turns=1)


def _insert_barriers(kernels, memory_of: Callable, turns: int) -> tuple[ScheduledKernel, ...]:
    """The steps of kernels that run `turns` times; a barrier that one turn needs stands in all.
    `memory_of(atom, turn)` tells which bytes an atom takes."""
    inside = [_iteration_steps(k, memory_of) if isinstance(k, ScanKernel) else () for k in kernels]
    splits = [_is_parallel(k) for k in kernels]
    barriers: set[int] = set()
    before = None
    while before != barriers:
        before, open_accesses = set(barriers), []           # since the last barrier
        for turn in range(turns):
            for n, (k, split) in enumerate(zip(kernels, splits)):
                mine = [(*memory_of(v, turn), writes, split) for v, writes in memory_accesses(k)]
                if n in before or any(_conflict(a, b) for a in open_accesses for b in mine):
                    barriers.add(n)
                    open_accesses = []
                open_accesses = open_accesses + mine
    return tuple(ScheduledKernel(k, splits[n], n in barriers, inside[n]) for n, k in enumerate(kernels))


def _iteration_steps(repeat: ScanKernel, memory_of: Callable) -> tuple[ScheduledKernel, ...]:
    """The steps of a turn. The first turns may differ from the later ones, which repeat in twos."""
    def memory_in_turn(atom, turn):
        return memory_of(atom, 0) if atom not in moving else (moving[atom](turn), 0, 1)

    moving = memory_by_iteration(repeat)
    return _insert_barriers(repeat.kernels, memory_in_turn, turns=min(repeat.count, 3))


def _byte_range(atom, places, alias, target: TargetInfo):
    """(memory, begin, end): the bytes that a buffer takes; each slot is a memory of its own."""
    place = places[atom]
    if place.space == "slot":
        return alias.get(place.offset, place.offset), 0, 1
    return place.space, place.offset, place.offset + max(target.bytes_of(atom.spec), 1)


def _conflict(a, b) -> bool:
    memory_a, begin_a, end_a, writes_a, split_a = a
    memory_b, begin_b, end_b, writes_b, split_b = b
    return (memory_a == memory_b and begin_a < end_b and begin_b < end_a
            and (writes_a or writes_b) and (split_a or split_b))
