"""How long each kernel of a captured program takes: which of them to make faster."""

import time
from dataclasses import replace

from tensorbrook.backends.wasm.module_codegen import emit_module
from tensorbrook.ir.printer import ValueNames, format_kernel


def times(function, repeats):
    """Rows of (least microseconds, how it runs, the kernel as text), in the program's order.

    Each is loaded as a program of its own over the same buffers. A run's own cost, which is that of
    the call and of waking the threads, is in every row."""
    names, plan, program = ValueNames(), function.plan, function.program
    return [(least(program, plan, step, repeats), "all threads" if step.parallel else "one thread",
             format_kernel(step.kernel, names, plan)) for step in plan.steps]


def least(program, plan, step, repeats):
    host, address = program.backend.host, program.argument_block.address
    alone = replace(plan, steps=(replace(step, barrier_before=False),))
    number = host.load(emit_module(alone, relaxed=host.relaxed, shared=host.shared))
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        host.run(number, address)
        taken.append(time.perf_counter() - start)
    host.unload(number)
    return 1e6 * min(taken)
