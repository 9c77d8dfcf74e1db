"""A Plan as one WebAssembly module: a function for each kernel, and `run`, which calls them all.

V8 compiles a function well once it has been called often, so kernels stay functions of their own.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...ir.kernel import KernelCall, LoopKernel, BufferLocation, Plan, ScanKernel, ScheduledKernel, align_up
from .assembler import F32, F64, I32, Function, Module, f32_const
from .disassembler import disassemble
from .loop_codegen import THREAD_PARAM, epilogue, kernel
from .host import ARENA_WORD, EPILOGUE, FIRST_SLOT_WORD, THREADS_WORD, WORD_BYTES
from .loop_emitter import ARGUMENTS


VECTOR = 16                      # bytes

# The kernels of the engine that take an epilogue and its arguments, before thread and threads.
KERNELS_WITH_EPILOGUE = frozenset({"gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad"})


def emit_module(plan: Plan, relaxed: bool, shared: bool, stamps: int | None = None) -> bytes:
    """The module of a program: for engines with relaxed SIMD or not, with shared memory or not.
    With `stamps`, an address, it notes the time there before and after each step: see stamp."""
    return _module(plan, relaxed, shared, stamps).encode()


def disassemble_plan(plan: Plan) -> str:
    """The module's code as text, one function after the other."""
    return disassemble(_module(plan, relaxed=True, shared=True))


def _module(plan: Plan, relaxed: bool, shared: bool, stamps: int | None = None) -> Module:
    module = Module()
    module.import_memory("env", "memory", shared)
    engine = _imports(plan, module)
    if stamps is not None:
        engine["now"] = module.import_function("host", "now", (), (F64,))
    steps = list(walk_steps(plan.steps))
    functions = [_generated(step, plan, relaxed, engine) for step in steps]
    # In the order of the steps, those within a Repeat behind it.
    numbers = iter([module.add(f) if f else None for f in functions])
    run = Function((I32, I32))
    if plan.rotating_slots:
        _copy_arguments_per_thread(run, plan)
    clock = None if stamps is None else _clock(run, stamps, len(plan.steps), engine["now"])
    _steps(_RunEmitter(run, module, plan, engine, numbers), plan.steps, clock)
    module.export("run", module.add(run))
    return module


@dataclass
class _RunEmitter:
    """The function `run` while it is written, and what its steps are written from."""

    f: Function
    module: Module
    plan: Plan
    engine: dict[str, int]
    numbers: Iterator[int | None]


def walk_steps(steps: tuple[ScheduledKernel, ...]) -> Iterator[ScheduledKernel]:
    """Steps, and behind each those within it."""
    for step in steps:
        yield step
        yield from walk_steps(step.body)


def block_size(slots: int) -> int:
    """Bytes of a block of arguments."""
    return align_up(WORD_BYTES * (FIRST_SLOT_WORD + slots))


def _copy_arguments_per_thread(run: Function, plan: Plan):
    """From here on let the arguments be this thread's copy of them, which lies behind the block:
    addresses that move from turn to turn are a thread's own."""
    size, own = block_size(plan.slots), run.local(I32)
    run.get(ARGUMENTS)
    run.get(THREAD_PARAM)
    run.const(1)
    run.op("i32.add")
    run.const(size)
    run.op("i32.mul")
    run.op("i32.add")
    run.set(own)
    for at in range(0, size, VECTOR):
        run.get(own)
        run.get(ARGUMENTS)
        run.memory("v128.load", at)
        run.memory("v128.store", at)
    run.get(own)
    run.set(ARGUMENTS)


Clock = Callable[[int], None]
STAMP = 8                        # bytes


def stamps_of(steps: int) -> int:
    """How many stamps a thread leaves: two with nothing between them, then for each step two."""
    return 2 + 2 * steps


def _clock(run: Function, stamps: int, steps: int, now: int) -> Clock:
    """A function that writes a stamp, the time in milliseconds, into this thread's part."""
    area = run.local(I32)
    run.get(THREAD_PARAM)
    run.const(STAMP * stamps_of(steps))
    run.op("i32.mul")
    run.const(stamps)
    run.op("i32.add")
    run.set(area)

    def stamp(at: int):
        run.get(area)
        run.op("call", now)
        run.memory("f64.store", STAMP * at)

    stamp(0)
    stamp(1)
    return stamp


def _no_timestamps(at: int):
    """Nobody asks how long steps take."""


def _steps(r: _RunEmitter, steps: tuple[ScheduledKernel, ...], clock: Clock | None = None):
    stamp = clock or _no_timestamps
    for n, step in enumerate(steps):
        run, number = r.f, next(r.numbers)
        if step.barrier_before:
            run.op("call", r.engine["barrier"])
        if not step.parallel:
            run.get(THREAD_PARAM)
            run.op("i32.eqz")
            run.block("if")
        stamp(2 + 2 * n)
        if isinstance(step.kernel, ScanKernel):
            _repeat(r, step)
        elif isinstance(step.kernel, KernelCall):
            if number is not None:
                _set_epilogue(run, r.module, number)
            _call(run, step, r.plan, r.engine[step.kernel.kernel])
        elif number is not None:
            run.get(THREAD_PARAM)
            run.get(ARGUMENTS)
            run.op("call", number)
        stamp(3 + 2 * n)
        if not step.parallel:
            run.op("end")


# ── loops of steps ────────────────────────────────────────────────────────────────────────────


def _repeat(r: _RunEmitter, step: ScheduledKernel):
    """The steps of a turn in a loop; after each turn the addresses move on."""
    run, repeat, counter = r.f, step.kernel, r.f.local(I32)
    _init_scan_addresses(run, repeat, r.plan)
    run.const(repeat.count)
    run.set(counter)
    run.block("loop")
    _steps(r, step.body)
    _advance_scan_addresses(run, repeat, r.plan)
    run.get(counter)
    run.const(-1)
    run.op("i32.add")
    run.tee(counter)
    run.op("br_if", 0)
    run.op("end")


def _init_scan_addresses(run: Function, repeat: ScanKernel, plan: Plan):
    """The addresses of the first turn. The last turn writes a carry to its end."""
    for c in repeat.carries:
        places = [plan.buffer_locations[c.final], plan.buffer_locations[c.spare]]
        if repeat.count % 2 == 0:
            places.reverse()
        for i, place in enumerate([plan.buffer_locations[c.init], *places]):
            _store_word(run, plan.buffer_locations[c.input].offset + i, lambda place=place: _address(run, place))
    for p in repeat.pieces:
        _store_word(run, plan.buffer_locations[p.element].offset, lambda p=p: _address(run, plan.buffer_locations[p.stacked]))
        if repeat.reverse:
            _add_to_word(run, plan.buffer_locations[p.element].offset, (repeat.count - 1) * p.element.spec.size_bytes)


def _advance_scan_addresses(run: Function, repeat: ScanKernel, plan: Plan):
    for c in repeat.carries:
        before = plan.buffer_locations[c.input].offset
        written, after = run.local(I32), before + 1
        _word(run, after)
        run.set(written)
        _store_word(run, before, lambda written=written: run.get(written))
        _store_word(run, after, lambda after=after: _word(run, after + 1))
        _store_word(run, after + 1, lambda written=written: run.get(written))
    for p in repeat.pieces:
        size = p.element.spec.size_bytes
        _add_to_word(run, plan.buffer_locations[p.element].offset, -size if repeat.reverse else size)


def _word(run: Function, slot: int):
    run.get(ARGUMENTS)
    run.memory("i32.load", WORD_BYTES * (FIRST_SLOT_WORD + slot))


def _store_word(run: Function, slot: int, push: Callable[[], None]):
    run.get(ARGUMENTS)
    push()
    run.memory("i32.store", WORD_BYTES * (FIRST_SLOT_WORD + slot))


def _add_to_word(run: Function, slot: int, by: int):
    def push():
        _word(run, slot)
        run.const(by)
        run.op("i32.add")

    _store_word(run, slot, push)


# ── kernels of the engine ─────────────────────────────────────────────────────────────────────


def _generated(step: ScheduledKernel, plan: Plan, relaxed: bool, engine: dict[str, int]) -> Function | None:
    """The function that a step needs beside the engine's."""
    k = step.kernel
    if isinstance(k, LoopKernel):
        return kernel(k, plan.buffer_locations, step.parallel, relaxed, engine.get("scratch"))
    if isinstance(k, KernelCall) and k.epilogue:
        return epilogue(k.epilogue, plan.buffer_locations, relaxed)
    return None


def _set_epilogue(run: Function, module: Module, number: int):
    """Let the engine's next kernel find a function as its epilogue."""
    # Chromium 156: setting the entry and one call through it take 35 ns.
    run.const(EPILOGUE)
    run.op("ref.func", number)
    run.op("table.set", 0)
    module.referred.append(number)


def _imports(plan: Plan, module: Module) -> dict[str, int]:
    """The engine's functions that the plan uses, by name."""
    kernels = [step.kernel for step in walk_steps(plan.steps)]
    if any(isinstance(k, KernelCall) and k.epilogue for k in kernels):
        module.import_table("engine", "__indirect_function_table")
    needed = {"barrier": ((), ())} if any(step.barrier_before for step in walk_steps(plan.steps)) else {}
    for step in walk_steps(plan.steps):
        if isinstance(step.kernel, KernelCall):
            needed[step.kernel.kernel] = _signature(step.kernel), ()
        elif isinstance(step.kernel, LoopKernel) and len(step.kernel.passes) > 1:
            needed["scratch"] = (I32,), (I32,)
    return {name: module.import_function("engine", name, *type) for name, type in needed.items()}


def _signature(call: KernelCall) -> tuple[int, ...]:
    pointers = (I32,) * (len(call.args) + len(call.outs))
    epilogue = (I32, I32) if call.kernel in KERNELS_WITH_EPILOGUE else ()
    numbers = tuple(F32 if isinstance(n, float) else I32 for n in call.params)
    return pointers + numbers + epilogue + (I32, I32)


def _call(run: Function, step: ScheduledKernel, plan: Plan, function: int):
    """The engine's kernel over buffers and numbers, for this thread of all or for one alone."""
    for atom in step.kernel.args + step.kernel.outs:
        _address(run, plan.buffer_locations[atom])
    for n in step.kernel.params:
        if isinstance(n, float):
            run.code += f32_const(n)
        else:
            run.const(n)
    if step.kernel.kernel in KERNELS_WITH_EPILOGUE:
        run.const(EPILOGUE if step.kernel.epilogue else 0)
        run.get(ARGUMENTS)
    if step.parallel:
        run.get(THREAD_PARAM)
        run.get(ARGUMENTS)
        run.memory("i32.load", WORD_BYTES * THREADS_WORD)
    else:
        run.const(0)
        run.const(1)
    run.op("call", function)


def _address(run: Function, place: BufferLocation):
    run.get(ARGUMENTS)
    if place.space == "slot":
        run.memory("i32.load", WORD_BYTES * (FIRST_SLOT_WORD + place.offset))
    else:
        run.memory("i32.load", WORD_BYTES * ARENA_WORD)
        run.const(place.offset)
        run.op("i32.add")
