"""Kernels -> a plan: where each buffer lies, what the threads share, and where they must meet."""
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from math import prod

from ..base.views import View
from ..ir import (PRIMS, Apply, Call, Const, Eqn, Graph, Kernel, Limits, Load, Loop, Place, Plan,
                  Repeat, Spec, Stage, Step, Store, Var)
from ..ir.measure import bytes_moved
from .memory import Life, allocate, live_bytes, lives, may_lie_over, shared
from .order import ordered
from .repeat import accesses, moving_memory, place_moving

# A kernel with less work than this (loads, formulas and products; 2 to 10 us) stays on one thread.
# In Chromium a barrier at which the other thread spins takes 0.1 us and a launch on two threads 0.2
# more than on one, so little depends on it: MLP training, batch 8, two threads, with 1 << 12 / 15 /
# 18 250 / 241 / 255 us a step. But what was divided waits for threads that sleep, 10 to 50 us.
SPLIT_WORK = 1 << 15
SPLIT_ROWS = 32      # and with fewer results than this, a fold has too little to divide

# A whole program that one thread ends within this time is not handed to others: that costs 6 us,
# and 30 more where they have gone to sleep. In Chromium on two threads, 2026-11, a product of 64 (9
# us of work) took 14.6 us a call and 12.9 on one, a product of 32 39 and 6.
ALONE_NS = 16_000
OF_TILES = ("gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad", "attention",
            "attention_grad")


def plan(graph: Graph, kernels: list[Kernel], outputs: list[Var], limits: Limits) -> Plan:
    kernels = list(kernels)
    outputs = _safe_outputs(graph, kernels, outputs, limits)
    kernels = [k for k in kernels if not isinstance(k, Loop) or prod(k.outer) > 0]
    constants = _constants(kernels)
    places = {atom: Place("slot", n)
              for n, atom in enumerate((*graph.inputs, *constants, *outputs))}
    moving = place_moving(kernels, places, len(places))
    over = {outputs[i]: places[graph.inputs[j]].at for i, j in graph.updates.items()}
    slots = {atom: place.at for atom, place in places.items()} | over
    kernels = ordered(kernels, [_is_split(k) for k in kernels], slots, limits)
    found = shared(kernels, lives(kernels, places, limits), places, set(outputs) - set(over),
                   limits)
    first_output = len(graph.inputs) + len(constants)
    arena_size = _place(kernels, found, places, graph, first_output, limits)
    steps = _steps(kernels, places, graph, first_output, limits)
    if sum(map(_nanoseconds, kernels)) < ALONE_NS:
        steps = _alone(steps)
    return Plan(tuple(graph.inputs), tuple(constants), tuple(outputs), dict(graph.updates), places,
                steps, arena_size, graph, live_bytes(found), moving, limits)


def _constants(kernels) -> list[Const]:
    found = [a for k in kernels for a in k.reads if isinstance(a, Const)]
    return list(dict.fromkeys(found))


# ── Variables updated in place ────────────────────────────────────────────────────────────────


def _safe_outputs(graph: Graph, kernels: list[Kernel], outputs: list[Var],
                  limits: Limits) -> list[Var]:
    """The outputs; one that would overwrite a Variable still to be read is copied at the end."""
    outputs = list(outputs)
    late = []
    for i, j in graph.updates.items():
        if not may_lie_over(outputs[i], graph.inputs[j], kernels, limits):
            late.append((i, outputs[i]))
    for i, var in late:
        outputs[i] = out = Var(Spec(var.spec.shape, var.spec.dtype))
        view = View.of((max(var.spec.count, 1),) if var.spec.count else (0,))
        e = Eqn(PRIMS["identity"], (var,), {}, (out,))
        body = Load(var, view, var.spec.dtype), Apply("x", (0,), var.spec.dtype)
        kernels.append(Loop(view.shape, (), (Stage(body),), (Store(1, out, view),), (e,)))
    return outputs


# ── memory ────────────────────────────────────────────────────────────────────────────────────


def _place(kernels, found: list[Life], places: dict, graph: Graph, first_output: int,
           limits: Limits) -> int:
    """Put every life in its place; returns the arena's size."""
    apart = places | {var: Place(f"arena {n}", 0) for n, life in enumerate(found)
                      for var in life.vars}
    barriers = [step.barrier for step in _steps(kernels, apart, graph, first_output, limits)]
    size, placed = allocate(found, list(accumulate(barriers)))
    for at, life in placed:
        places.update(dict.fromkeys(life.vars, Place("arena", at)))
    return size


# ── threads ───────────────────────────────────────────────────────────────────────────────────


def work_of(k: Kernel) -> int:
    """About how many element visits or multiplications a kernel takes."""
    if isinstance(k, Repeat):
        return k.count * sum(map(work_of, k.kernels))
    if isinstance(k, Call):
        return k.work + (work_of(k.epilogue) if k.epilogue else 0)
    return sum(prod(k.space) * len(s.body) + prod(k.outer) * len(s.tail) for s in k.stages)


def _nanoseconds(k: Kernel) -> float:
    """About how long one thread takes for a kernel: 4 visits a ns, or 60 operations where tiles are
    multiplied and 20 bytes that they are made from (docs/performance.md)."""
    if isinstance(k, Repeat):
        return k.count * sum(map(_nanoseconds, k.kernels))
    if isinstance(k, Call):
        after = _nanoseconds(k.epilogue) if k.epilogue else 0
        tiles = max(k.work / 60, bytes_moved(k) / 20)
        return after + (tiles if k.function in OF_TILES else k.work / 4)
    return work_of(k) / 4


def _alone(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same steps on one thread, which waits for nobody."""
    return tuple(replace(step, split=False, barrier=False, inside=_alone(step.inside))
                 for step in steps)


def _is_split(k: Kernel) -> bool:
    """Whether all threads share a kernel."""
    if isinstance(k, Repeat):
        return any(map(_is_split, k.kernels))
    return work_of(k) >= SPLIT_WORK and (isinstance(k, Call) or prod(k.outer) >= SPLIT_ROWS)


def _steps(kernels, places, graph: Graph, first_output: int,
           limits: Limits) -> tuple[Step, ...]:
    """Each kernel with its share of threads, and a barrier wherever data may cross between them."""
    alias = {first_output + i: j for i, j in graph.updates.items()}

    def memory_of(atom, turn=0):
        return _range(atom, places, alias, limits)

    return _with_barriers(kernels, memory_of, turns=1)


def _with_barriers(kernels, memory_of: Callable, turns: int) -> tuple[Step, ...]:
    """The steps of kernels that run `turns` times; a barrier that one turn needs stands in all.
    `memory_of(atom, turn)` tells which bytes an atom takes."""
    inside = [_turn_steps(k, memory_of) if isinstance(k, Repeat) else () for k in kernels]
    splits = [_is_split(k) for k in kernels]
    barriers: set[int] = set()
    before = None
    while before != barriers:
        before, open_accesses = set(barriers), []           # since the last barrier
        for turn in range(turns):
            for n, (k, split) in enumerate(zip(kernels, splits)):
                mine = [(*memory_of(v, turn), writes, split) for v, writes in accesses(k)]
                if n in before or any(_conflict(a, b) for a in open_accesses for b in mine):
                    barriers.add(n)
                    open_accesses = []
                open_accesses = open_accesses + mine
    return tuple(Step(k, splits[n], n in barriers, inside[n]) for n, k in enumerate(kernels))


def _turn_steps(repeat: Repeat, memory_of: Callable) -> tuple[Step, ...]:
    """The steps of a turn. The first turns may differ from the later ones, which repeat in twos."""
    def memory_in_turn(atom, turn):
        return memory_of(atom, 0) if atom not in moving else (moving[atom](turn), 0, 1)

    moving = moving_memory(repeat)
    return _with_barriers(repeat.kernels, memory_in_turn, turns=min(repeat.count, 3))


def _range(atom, places, alias, limits: Limits):
    """(memory, begin, end): the bytes that a buffer takes; each slot is a memory of its own."""
    place = places[atom]
    if place.kind == "slot":
        return alias.get(place.at, place.at), 0, 1
    return place.kind, place.at, place.at + max(limits.bytes_of(atom.spec), 1)


def _conflict(a, b) -> bool:
    memory_a, begin_a, end_a, writes_a, split_a = a
    memory_b, begin_b, end_b, writes_b, split_b = b
    return (memory_a == memory_b and begin_a < end_b and begin_b < end_a
            and (writes_a or writes_b) and (split_a or split_b))
