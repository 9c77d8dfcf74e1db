"""The compiler pipeline: every pass in order, from a traced graph to a plan.

Graph passes map a graph to a graph, the other passes a Lowering to a Lowering; each takes a
PassContext beside it. docs/compiler.md describes the passes in the same order.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ..ir import Graph, Plan, TargetInfo
from . import dump
from .context import PassContext
from .fusion.finalize import finalize_groups
from .fusion.group_splitting import split_mixed_groups
from .fusion.loop_fusion import fuse_loops
from .fusion.producer_fusion import sink_producers
from .fusion.slice_stores import store_slices_in_producers
from .graph.common_subexpressions import eliminate_common_subexpressions
from .graph.constant_folding import fold_constants
from .graph.dead_code import eliminate_dead_code
from .graph.finite_checks import move_finite_checks_to_producers
from .graph.float16_lowering import lower_float16
from .graph.operand_casts import fuse_operand_casts
from .graph.pads_to_concat import combine_pads_into_concat
from .graph.reduction_splitting import split_long_reductions
from .graph.scan_merging import merge_identical_scans
from .graph.scan_optimization import optimize_scans
from .kernels.cast_elimination import eliminate_cast_stores
from .kernels.finite_checks import insert_finite_checks
from .kernels.rematerialization import rematerialize
from .lowering import Lowering
from .memory.aliasing import Aliasing
from .memory.arena import assign_arena
from .memory.coalescing import coalesce_in_place
from .memory.slots import assign_slots
from .memory.update_copies import copy_unsafe_updates
from .schedule.barriers import insert_barriers
from .schedule.scheduling import schedule
from .schedule.single_thread import run_small_programs_on_one_thread

# A graph -> the graph that the target can compute.
LEGALIZATION = (
    lower_float16,
    move_finite_checks_to_producers,
)
# A graph -> a smaller graph with the same results; of scan bodies, too.
SIMPLIFICATION = (
    fold_constants,
    eliminate_common_subexpressions,
    merge_identical_scans,
    combine_pads_into_concat,
    optimize_scans,
    eliminate_dead_code,
    split_long_reductions,
    fuse_operand_casts,
)
# Equations -> loop kernels and kernel calls.
FUSION = (
    fuse_loops,
    split_mixed_groups,
    sink_producers,
    store_slices_in_producers,
    finalize_groups,
)
# Kernels -> fewer bytes moved; of scan bodies, too.
KERNELS = (
    eliminate_cast_stores,
    rematerialize,
    insert_finite_checks,
)
# Kernels -> a plan: memory, order, threads.
PLANNING = (
    copy_unsafe_updates,
    assign_slots,
    schedule,
    coalesce_in_place,
    assign_arena,
    insert_barriers,
    run_small_programs_on_one_thread,
)

# With this number of buffers per kernel, a kernel has room for many updates of Variables.
MANY_BUFFERS = 64

Program = TypeVar("Program", Graph, Lowering)


def optimize(graph: Graph, target: TargetInfo | None = None,
             counts: Counter[str] | None = None) -> Graph:
    """The smallest graph with the same results that the target can compute.

    Without a target, no capability of a backend limits the graph."""
    target = TargetInfo() if target is None else target
    context = new_context(target, counts)
    return run_passes(SIMPLIFICATION, run_passes(LEGALIZATION, graph, context), context)


def lower(graph: Graph, target: TargetInfo, counts: Counter[str] | None = None) -> Plan:
    """The plan of an optimized graph: kernels in order, their buffers, threads and barriers."""
    context = new_context(target, counts)
    lowering = run_passes(PLANNING, _lower_to_kernels(Lowering(graph), context), context)
    return Plan(tuple(graph.inputs), lowering.constants, lowering.outputs,
                dict(graph.input_output_aliases), lowering.locations, lowering.steps,
                lowering.arena_size, graph, lowering.peak_live_bytes, lowering.rotating_slots,
                target)


def lower_to_kernels(graph: Graph, target: TargetInfo) -> Lowering:
    """The kernels of an optimized graph, before they are scheduled."""
    return _lower_to_kernels(Lowering(graph), new_context(target))


def run_passes(passes: Sequence[Callable[[Program, PassContext], Program]], program: Program,
               context: PassContext) -> Program:
    """Run passes in order; with TENSORBROOK_DUMP set, write the program after each."""
    for compiler_pass in passes:
        program = compiler_pass(program, context)
        if dump.FOLDER and not context.is_nested:
            dump.write(compiler_pass.__name__, program)
    return program


def new_context(target: TargetInfo, counts: Counter[str] | None = None) -> PassContext:
    """A context whose nested pipelines run on the bodies of scans."""
    def simplify_body(graph: Graph) -> Graph:
        return run_passes(SIMPLIFICATION, graph, nested)

    def lower_body(lowering: Lowering) -> Lowering:
        return _lower_to_kernels(lowering, nested)

    counts = Counter() if counts is None else counts
    nested = PassContext(target, simplify_body, lower_body, counts, is_nested=True)
    return replace(nested, is_nested=False)


def _lower_to_kernels(lowering: Lowering, context: PassContext) -> Lowering:
    """Fuse and optimize kernels.

    If the target allows few buffers per kernel, fusion assumes that all Variables are updated in
    place, and runs again without the aliases that turn out to be impossible."""
    limited = context.target.max_buffers_per_kernel < MANY_BUFFERS
    aliases = dict(lowering.graph.input_output_aliases) if limited else {}
    while True:
        fused = run_passes(FUSION, replace(lowering, aliases=aliases), context)
        possible = _possible_aliases(fused, context)
        if possible == aliases:
            return run_passes(KERNELS, fused, context)
        aliases = possible


def _possible_aliases(lowering: Lowering, context: PassContext) -> dict[int, int]:
    """The assumed aliases that hold for the fused kernels."""
    inputs, outputs = lowering.graph.inputs, lowering.outputs
    counted = lowering.bindings_aliases
    aliasing = Aliasing(lowering.kernels, context.target)
    return {i: j for i, j in lowering.aliases.items()
            if counted.get(outputs[i]) is inputs[j] and aliasing.can_alias(outputs[i], inputs[j])}
