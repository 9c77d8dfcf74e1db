"""Times of the kernels of a captured program, each run in isolation."""

import time
from dataclasses import replace

from tensorbrook.backends.wasm.module_codegen import emit_module
from tensorbrook.ir.printer import ValueNames, format_kernel


def times(function, repeats):
    """Rows of (minimum of the microseconds, threads, the kernel as text), in the program's order.

    Each kernel is loaded as a separate program over the same buffers. Every row includes the
    overhead of one run: the call and the wake-up of the threads."""
    names, plan, program = ValueNames(), function.plan, function.program
    return [(minimum_us(program, plan, step, repeats),
             "all threads" if step.parallel else "one thread",
             format_kernel(step.kernel, names, plan.buffer_locations)) for step in plan.steps]


def minimum_us(program, plan, step, repeats):
    host, address = program.backend.host, program.argument_block.address
    alone = replace(plan, steps=(replace(step, barrier_before=False),))
    handle = host.load(emit_module(alone, relaxed=host.relaxed, shared=host.shared))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        host.run(handle, address)
        times.append(time.perf_counter() - start)
    host.unload(handle)
    return 1e6 * min(times)
