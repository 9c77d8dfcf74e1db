"""Thread assignment of small programs: a short program runs on one thread."""
from __future__ import annotations

from dataclasses import replace

from ...ir import ScheduledKernel
from ..context import PassContext
from ..cost_model import estimated_ns
from ..lowering import Lowering

# Waking the other threads costs 6 us, and 30 more where they sleep. In Chromium on two threads,
# 2026-11, a product of 64 (9 us of work) took 14.6 us a call and 12.9 on one, a product of 32 39
# and 6.
SINGLE_THREAD_NS = 16_000


def run_small_programs_on_one_thread(lowering: Lowering, context: PassContext) -> Lowering:
    """Run a program on one thread if its estimated time is less than the cost of waking threads."""
    if sum(map(estimated_ns, lowering.kernels)) >= SINGLE_THREAD_NS:
        return lowering
    return replace(lowering, steps=_single_threaded(lowering.steps))


def _single_threaded(steps: tuple[ScheduledKernel, ...]) -> tuple[ScheduledKernel, ...]:
    return tuple(replace(step, parallel=False, barrier_before=False,
                         body=_single_threaded(step.body)) for step in steps)
