"""A Plan as one WebAssembly module: a function for each kernel, and `run`, which calls them all.

V8 compiles a function well once it has been called often, so kernels stay functions of their own.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...ir.kernel import Call, Loop, Place, Plan, Repeat, Step, whole_lines
from .assembler import F32, F64, I32, Function, Module, f32_const
from .listing import listing_of
from .loops import THREAD, epilogue, kernel
from .host import ARENA, EPILOGUE, SLOTS, THREADS, WORD
from .writer import ARGUMENTS


VECTOR = 16                      # bytes

# The kernels of the engine that take an epilogue and its arguments, before thread and threads.
TAKE_EPILOGUES = frozenset({"gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad"})


def render(plan: Plan, relaxed: bool, shared: bool, stamps: int | None = None) -> bytes:
    """The module of a program: for engines with relaxed SIMD or not, with shared memory or not.
    With `stamps`, an address, it notes the time there before and after each step: see stamp."""
    return _module(plan, relaxed, shared, stamps).encode()


def listing(plan: Plan) -> str:
    """The module's code as text, one function after the other."""
    return listing_of(_module(plan, relaxed=True, shared=True))


def _module(plan: Plan, relaxed: bool, shared: bool, stamps: int | None = None) -> Module:
    module = Module()
    module.import_memory("env", "memory", shared)
    engine = _imports(plan, module)
    if stamps is not None:
        engine["now"] = module.import_function("host", "now", (), (F64,))
    steps = list(_all(plan.steps))
    functions = [_generated(step, plan, relaxed, engine) for step in steps]
    # In the order of the steps, those within a Repeat behind it.
    numbers = iter([module.add(f) if f else None for f in functions])
    run = Function((I32, I32))
    if plan.moving:
        _own_block(run, plan)
    clock = None if stamps is None else _clock(run, stamps, len(plan.steps), engine["now"])
    _steps(_Run(run, module, plan, engine, numbers), plan.steps, clock)
    module.export("run", module.add(run))
    return module


@dataclass
class _Run:
    """The function `run` while it is written, and what its steps are written from."""

    f: Function
    module: Module
    plan: Plan
    engine: dict[str, int]
    numbers: Iterator[int | None]


def _all(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Steps, and behind each those within it."""
    for step in steps:
        yield step
        yield from _all(step.inside)


def block_size(slots: int) -> int:
    """Bytes of a block of arguments."""
    return whole_lines(WORD * (SLOTS + slots))


def _own_block(run: Function, plan: Plan):
    """From here on let the arguments be this thread's copy of them, which lies behind the block:
    addresses that move from turn to turn are a thread's own."""
    size, own = block_size(plan.slots), run.local(I32)
    run.get(ARGUMENTS)
    run.get(THREAD)
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
    run.get(THREAD)
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


def _no_clock(at: int):
    """Nobody asks how long steps take."""


def _steps(r: _Run, steps: tuple[Step, ...], clock: Clock | None = None):
    stamp = clock or _no_clock
    for n, step in enumerate(steps):
        run, number = r.f, next(r.numbers)
        if step.barrier:
            run.op("call", r.engine["barrier"])
        if not step.split:
            run.get(THREAD)
            run.op("i32.eqz")
            run.block("if")
        stamp(2 + 2 * n)
        if isinstance(step.kernel, Repeat):
            _repeat(r, step)
        elif isinstance(step.kernel, Call):
            if number is not None:
                _set_epilogue(run, r.module, number)
            _call(run, step, r.plan, r.engine[step.kernel.function])
        elif number is not None:
            run.get(THREAD)
            run.get(ARGUMENTS)
            run.op("call", number)
        stamp(3 + 2 * n)
        if not step.split:
            run.op("end")


# ── loops of steps ────────────────────────────────────────────────────────────────────────────


def _repeat(r: _Run, step: Step):
    """The steps of a turn in a loop; after each turn the addresses move on."""
    run, repeat, counter = r.f, step.kernel, r.f.local(I32)
    _begin(run, repeat, r.plan)
    run.const(repeat.count)
    run.set(counter)
    run.block("loop")
    _steps(r, step.inside)
    _move_on(run, repeat, r.plan)
    run.get(counter)
    run.const(-1)
    run.op("i32.add")
    run.tee(counter)
    run.op("br_if", 0)
    run.op("end")


def _begin(run: Function, repeat: Repeat, plan: Plan):
    """The addresses of the first turn. The last turn writes a carry to its end."""
    for c in repeat.carries:
        places = [plan.places[c.last], plan.places[c.spare]]
        if repeat.count % 2 == 0:
            places.reverse()
        for i, place in enumerate([plan.places[c.first], *places]):
            _set_word(run, plan.places[c.before].at + i, lambda place=place: _address(run, place))
    for p in repeat.pieces:
        _set_word(run, plan.places[p.part].at, lambda p=p: _address(run, plan.places[p.whole]))
        if repeat.reverse:
            _advance(run, plan.places[p.part].at, (repeat.count - 1) * p.part.spec.size_bytes)


def _move_on(run: Function, repeat: Repeat, plan: Plan):
    for c in repeat.carries:
        before = plan.places[c.before].at
        written, after = run.local(I32), before + 1
        _word(run, after)
        run.set(written)
        _set_word(run, before, lambda written=written: run.get(written))
        _set_word(run, after, lambda after=after: _word(run, after + 1))
        _set_word(run, after + 1, lambda written=written: run.get(written))
    for p in repeat.pieces:
        size = p.part.spec.size_bytes
        _advance(run, plan.places[p.part].at, -size if repeat.reverse else size)


def _word(run: Function, slot: int):
    run.get(ARGUMENTS)
    run.memory("i32.load", WORD * (SLOTS + slot))


def _set_word(run: Function, slot: int, push: Callable[[], None]):
    run.get(ARGUMENTS)
    push()
    run.memory("i32.store", WORD * (SLOTS + slot))


def _advance(run: Function, slot: int, by: int):
    def push():
        _word(run, slot)
        run.const(by)
        run.op("i32.add")

    _set_word(run, slot, push)


# ── kernels of the engine ─────────────────────────────────────────────────────────────────────


def _generated(step: Step, plan: Plan, relaxed: bool, engine: dict[str, int]) -> Function | None:
    """The function that a step needs beside the engine's."""
    k = step.kernel
    if isinstance(k, Loop):
        return kernel(k, plan.places, step.split, relaxed, engine.get("scratch"))
    if isinstance(k, Call) and k.epilogue:
        return epilogue(k.epilogue, plan.places, relaxed)
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
    kernels = [step.kernel for step in _all(plan.steps)]
    if any(isinstance(k, Call) and k.epilogue for k in kernels):
        module.import_table("engine", "__indirect_function_table")
    needed = {"barrier": ((), ())} if any(step.barrier for step in _all(plan.steps)) else {}
    for step in _all(plan.steps):
        if isinstance(step.kernel, Call):
            needed[step.kernel.function] = _signature(step.kernel), ()
        elif isinstance(step.kernel, Loop) and len(step.kernel.stages) > 1:
            needed["scratch"] = (I32,), (I32,)
    return {name: module.import_function("engine", name, *type) for name, type in needed.items()}


def _signature(call: Call) -> tuple[int, ...]:
    pointers = (I32,) * (len(call.args) + len(call.outs))
    epilogue = (I32, I32) if call.function in TAKE_EPILOGUES else ()
    numbers = tuple(F32 if isinstance(n, float) else I32 for n in call.numbers)
    return pointers + numbers + epilogue + (I32, I32)


def _call(run: Function, step: Step, plan: Plan, function: int):
    """The engine's kernel over buffers and numbers, for this thread of all or for one alone."""
    for atom in step.kernel.args + step.kernel.outs:
        _address(run, plan.places[atom])
    for n in step.kernel.numbers:
        if isinstance(n, float):
            run.code += f32_const(n)
        else:
            run.const(n)
    if step.kernel.function in TAKE_EPILOGUES:
        run.const(EPILOGUE if step.kernel.epilogue else 0)
        run.get(ARGUMENTS)
    if step.split:
        run.get(THREAD)
        run.get(ARGUMENTS)
        run.memory("i32.load", WORD * THREADS)
    else:
        run.const(0)
        run.const(1)
    run.op("call", function)


def _address(run: Function, place: Place):
    run.get(ARGUMENTS)
    if place.kind == "slot":
        run.memory("i32.load", WORD * (SLOTS + place.at))
    else:
        run.memory("i32.load", WORD * ARENA)
        run.const(place.at)
        run.op("i32.add")
