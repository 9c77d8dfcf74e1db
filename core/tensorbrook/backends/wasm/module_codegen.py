"""Code generation for a program: a Plan becomes one WebAssembly module.

Every kernel is a separate function and `run` calls them in order: V8 optimizes a function after
many calls, and kernels are called more often than `run`.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...ir.kernels import KernelCall, LoopKernel, ScanKernel
from ...ir.plan import BufferLocation, Plan, ScheduledKernel, align_up
from .assembler import F32, F64, I32, Function, Module, f32_const
from .disassembler import disassemble
from .host import ARENA_WORD, EPILOGUE, FIRST_SLOT_WORD, THREADS_WORD, WORD_BYTES
from .loop_codegen import THREAD_PARAM, emit_epilogue, emit_loop_kernel
from .loop_emitter import ARGUMENTS_PARAM

VECTOR_BYTES = 16

# Engine kernels with two more parameters before thread and threads: the index of an epilogue
# function in the function table (0: none) and the address of the argument block passed to it.
KERNELS_WITH_EPILOGUE = frozenset({"gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad"})


def emit_module(plan: Plan, relaxed: bool, shared: bool, timestamps: int | None = None) -> bytes:
    """Return the plan's module; `relaxed`: uses relaxed SIMD, `shared`: imports shared memory.
    With an address in `timestamps`, each thread records when it begins and ends each step."""
    return _module(plan, relaxed, shared, timestamps).encode()


def disassemble_plan(plan: Plan) -> str:
    """Return the text of all functions of the plan's module."""
    return disassemble(_module(plan, relaxed=True, shared=True))


def _module(plan: Plan, relaxed: bool, shared: bool, timestamps: int | None = None) -> Module:
    module = Module()
    module.import_memory("env", "memory", shared)
    engine = _import_engine_functions(plan, module)
    if timestamps is not None:
        engine["now"] = module.import_function("host", "now", (), (F64,))
    functions = [_generate_function(step, plan, relaxed, engine) for step in walk_steps(plan.steps)]
    indices = iter([module.add(f) if f else None for f in functions])
    run = Function((I32, I32))
    if plan.rotating_slots:
        _copy_arguments_per_thread(run, plan)
    record = _no_timestamps
    if timestamps is not None:
        record = _timestamp_recorder(run, timestamps, len(plan.steps), engine["now"])
    _emit_steps(_RunEmitter(run, module, plan, engine, indices), plan.steps, record)
    module.export("run", module.add(run))
    return module


@dataclass
class _RunEmitter:
    """The state of emitting the function `run`: `engine` are the function indices of its imports,
    `generated` the function index of each step in the order of walk_steps, or None."""

    f: Function
    module: Module
    plan: Plan
    engine: dict[str, int]
    generated: Iterator[int | None]


def walk_steps(steps: tuple[ScheduledKernel, ...]) -> Iterator[ScheduledKernel]:
    """Yield the steps in preorder: each step, then the steps of its body."""
    for step in steps:
        yield step
        yield from walk_steps(step.body)


def block_size(slots: int) -> int:
    """Return the size of an argument block in bytes."""
    return align_up(WORD_BYTES * (FIRST_SLOT_WORD + slots))


def _copy_arguments_per_thread(run: Function, plan: Plan):
    """Copy the argument block and let ARGUMENTS_PARAM point to the copy: threads advance the
    rotating slots of scans independently. The copies are stored after the block, one per thread."""
    size, copy = block_size(plan.slots), run.local(I32)
    run.get(ARGUMENTS_PARAM)
    run.get(THREAD_PARAM)
    run.const(1)
    run.op("i32.add")
    run.const(size)
    run.op("i32.mul")
    run.op("i32.add")
    run.set(copy)
    for offset in range(0, size, VECTOR_BYTES):
        run.get(copy)
        run.get(ARGUMENTS_PARAM)
        run.memory("v128.load", offset)
        run.memory("v128.store", offset)
    run.get(copy)
    run.set(ARGUMENTS_PARAM)


# ── timestamps ────────────────────────────────────────────────────────────────────────────────

TimestampRecorder = Callable[[int], None]
TIMESTAMP_BYTES = 8


def timestamp_count(steps: int) -> int:
    """Return how many timestamps a thread records: two adjacent ones, which measure the cost of
    recording, then two per step."""
    return 2 + 2 * steps


def _timestamp_recorder(run: Function, base: int, steps: int, now: int) -> TimestampRecorder:
    """Return a function that emits code to store the time in milliseconds as this thread's
    timestamp `index`; the timestamps of all threads begin at address `base`."""
    region = run.local(I32)
    run.get(THREAD_PARAM)
    run.const(TIMESTAMP_BYTES * timestamp_count(steps))
    run.op("i32.mul")
    run.const(base)
    run.op("i32.add")
    run.set(region)

    def record(index: int):
        run.get(region)
        run.op("call", now)
        run.memory("f64.store", TIMESTAMP_BYTES * index)

    record(0)
    record(1)
    return record


def _no_timestamps(index: int):
    """The recorder of a program that is not profiled: emits nothing."""


# ── steps ─────────────────────────────────────────────────────────────────────────────────────


def _emit_steps(r: _RunEmitter, steps: tuple[ScheduledKernel, ...],
                record: TimestampRecorder = _no_timestamps):
    for n, step in enumerate(steps):
        run, generated = r.f, next(r.generated)
        if step.barrier_before:
            run.op("call", r.engine["barrier"])
        if not step.parallel:
            run.get(THREAD_PARAM)
            run.op("i32.eqz")
            run.block("if")
        record(2 + 2 * n)
        if isinstance(step.kernel, ScanKernel):
            _emit_scan(r, step)
        elif isinstance(step.kernel, KernelCall):
            if generated is not None:
                _set_epilogue(run, r.module, generated)
            _emit_kernel_call(run, step, r.plan, r.engine[step.kernel.kernel])
        elif generated is not None:
            run.get(THREAD_PARAM)
            run.get(ARGUMENTS_PARAM)
            run.op("call", generated)
        record(3 + 2 * n)
        if not step.parallel:
            run.op("end")


# ── scans ─────────────────────────────────────────────────────────────────────────────────────


def _emit_scan(r: _RunEmitter, step: ScheduledKernel):
    """Emit a loop over the scan's steps; each iteration advances the rotating slots at its end."""
    run, scan, counter = r.f, step.kernel, r.f.local(I32)
    _init_scan_addresses(run, scan, r.plan)
    run.const(scan.count)
    run.set(counter)
    run.block("loop")
    _emit_steps(r, step.body)
    _advance_scan_addresses(run, scan, r.plan)
    run.get(counter)
    run.const(-1)
    run.op("i32.add")
    run.tee(counter)
    run.op("br_if", 0)
    run.op("end")


def _init_scan_addresses(run: Function, scan: ScanKernel, plan: Plan):
    """Store the addresses of the first iteration. A carry alternates between its buffers `final`
    and `spare` so that the last iteration writes `final`."""
    locations = plan.buffer_locations
    for c in scan.carries:
        outputs = [locations[c.final], locations[c.spare]]
        if scan.count % 2 == 0:
            outputs.reverse()
        for i, location in enumerate([locations[c.init], *outputs]):
            _store_word(run, locations[c.input].offset + i,
                        lambda location=location: _push_address(run, location))
    for p in scan.slices:
        slot, stacked = locations[p.element].offset, locations[p.stacked]
        _store_word(run, slot, lambda stacked=stacked: _push_address(run, stacked))
        if scan.reverse:
            _add_to_word(run, slot, (scan.count - 1) * p.element.spec.size_bytes)


def _advance_scan_addresses(run: Function, scan: ScanKernel, plan: Plan):
    """Move every slice to its next element; the output of a carry becomes its input, and its
    output and next output are swapped."""
    for c in scan.carries:
        input = plan.buffer_locations[c.input].offset
        output, next_output, written = input + 1, input + 2, run.local(I32)
        _load_word(run, output)
        run.set(written)
        _store_word(run, input, lambda written=written: run.get(written))
        _store_word(run, output, lambda slot=next_output: _load_word(run, slot))
        _store_word(run, next_output, lambda written=written: run.get(written))
    for p in scan.slices:
        size = p.element.spec.size_bytes
        _add_to_word(run, plan.buffer_locations[p.element].offset, -size if scan.reverse else size)


def _load_word(run: Function, slot: int):
    run.get(ARGUMENTS_PARAM)
    run.memory("i32.load", WORD_BYTES * (FIRST_SLOT_WORD + slot))


def _store_word(run: Function, slot: int, push: Callable[[], None]):
    run.get(ARGUMENTS_PARAM)
    push()
    run.memory("i32.store", WORD_BYTES * (FIRST_SLOT_WORD + slot))


def _add_to_word(run: Function, slot: int, increment: int):
    def push():
        _load_word(run, slot)
        run.const(increment)
        run.op("i32.add")

    _store_word(run, slot, push)


# ── kernels of the engine ─────────────────────────────────────────────────────────────────────


def _generate_function(
    step: ScheduledKernel, plan: Plan, relaxed: bool, engine: dict[str, int]
) -> Function | None:
    """Return the generated function of a step: a loop kernel or the epilogue of an engine kernel;
    None if the step has neither."""
    k = step.kernel
    if isinstance(k, LoopKernel):
        scratch = engine.get("scratch")
        return emit_loop_kernel(k, plan.buffer_locations, step.parallel, relaxed, scratch)
    if isinstance(k, KernelCall) and k.epilogue:
        return emit_epilogue(k.epilogue, plan.buffer_locations, relaxed)
    return None


def _set_epilogue(run: Function, module: Module, function: int):
    """Store a function in the table entry that the engine's kernels call as their epilogue."""
    # Chromium 156: setting the entry and one call through it take 35 ns.
    run.const(EPILOGUE)
    run.op("ref.func", function)
    run.op("table.set", 0)
    module.referenced.append(function)


def _import_engine_functions(plan: Plan, module: Module) -> dict[str, int]:
    """Import the engine functions that the plan calls; return their indices by name."""
    steps = list(walk_steps(plan.steps))
    if any(isinstance(step.kernel, KernelCall) and step.kernel.epilogue for step in steps):
        module.import_table("engine", "__indirect_function_table")
    types = {"barrier": ((), ())} if any(step.barrier_before for step in steps) else {}
    for step in steps:
        if isinstance(step.kernel, KernelCall):
            types[step.kernel.kernel] = _parameter_types(step.kernel), ()
        elif isinstance(step.kernel, LoopKernel) and len(step.kernel.passes) > 1:
            types["scratch"] = (I32,), (I32,)
    return {name: module.import_function("engine", name, *type) for name, type in types.items()}


def _parameter_types(call: KernelCall) -> tuple[int, ...]:
    pointers = (I32,) * (len(call.args) + len(call.outs))
    params = tuple(F32 if isinstance(p, float) else I32 for p in call.params)
    epilogue = (I32, I32) if call.kernel in KERNELS_WITH_EPILOGUE else ()
    return pointers + params + epilogue + (I32, I32)


def _emit_kernel_call(run: Function, step: ScheduledKernel, plan: Plan, function: int):
    """Emit the call of an engine kernel, as this thread of all threads or as the only thread."""
    for atom in step.kernel.args + step.kernel.outs:
        _push_address(run, plan.buffer_locations[atom])
    for p in step.kernel.params:
        if isinstance(p, float):
            run.code += f32_const(p)
        else:
            run.const(p)
    if step.kernel.kernel in KERNELS_WITH_EPILOGUE:
        run.const(EPILOGUE if step.kernel.epilogue else 0)
        run.get(ARGUMENTS_PARAM)
    if step.parallel:
        run.get(THREAD_PARAM)
        run.get(ARGUMENTS_PARAM)
        run.memory("i32.load", WORD_BYTES * THREADS_WORD)
    else:
        run.const(0)
        run.const(1)
    run.op("call", function)


def _push_address(run: Function, location: BufferLocation):
    run.get(ARGUMENTS_PARAM)
    if location.space == "slot":
        run.memory("i32.load", WORD_BYTES * (FIRST_SLOT_WORD + location.offset))
    else:
        run.memory("i32.load", WORD_BYTES * ARENA_WORD)
        run.const(location.offset)
        run.op("i32.add")
