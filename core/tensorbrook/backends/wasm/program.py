"""A Plan as one WebAssembly module: a function for each kernel, and `run`, which calls them all.

V8 compiles a function well once it has been called often, so kernels stay functions of their own.
"""
from ...ir.kernel import Call, Loop, Place, Plan, Step
from .assembler import F32, I32, Function, Module, f32_const
from .listing import listing_of
from .loops import THREAD, epilogue, kernel
from .host import ARENA, EPILOGUE, SLOTS, THREADS, WORD
from .writer import ARGUMENTS


# The kernels of the engine that take an epilogue and its arguments, before thread and threads.
TAKE_EPILOGUES = frozenset({"gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad"})


def render(plan: Plan, relaxed: bool, shared: bool) -> bytes:
    """The module of a program: for engines with relaxed SIMD or not, with shared memory or not."""
    return _module(plan, relaxed, shared).encode()


def listing(plan: Plan) -> str:
    """The module's code as text, one function after the other."""
    return listing_of(_module(plan, relaxed=True, shared=True))


def _module(plan: Plan, relaxed: bool, shared: bool) -> Module:
    module = Module()
    module.import_memory("env", "memory", shared)
    engine = _imports(plan, module)
    functions = [_generated(step, plan, relaxed, engine) for step in plan.steps]
    numbers = [module.add(f) if f else None for f in functions]
    run = Function((I32, I32))
    for step, number in zip(plan.steps, numbers):
        if step.barrier:
            run.op("call", engine["barrier"])
        if not step.split:
            run.get(THREAD)
            run.op("i32.eqz")
            run.block("if")
        if isinstance(step.kernel, Call):
            if number is not None:
                _set_epilogue(run, module, number)
            _call(run, step, plan, engine[step.kernel.function])
        elif number is not None:
            run.get(THREAD)
            run.get(ARGUMENTS)
            run.op("call", number)
        if not step.split:
            run.op("end")
    module.export("run", module.add(run))
    return module


def _generated(step: Step, plan: Plan, relaxed: bool, engine: dict[str, int]) -> Function | None:
    """The function that a step needs beside the engine's."""
    k = step.kernel
    if isinstance(k, Loop):
        return kernel(k, plan.places, step.split, relaxed, engine.get("scratch"))
    return epilogue(k.epilogue, plan.places, relaxed) if k.epilogue else None


def _set_epilogue(run: Function, module: Module, number: int):
    """Let the engine's next kernel find a function as its epilogue."""
    # Chromium 156: setting the entry and one call through it take 35 ns.
    run.const(EPILOGUE)
    run.op("ref.func", number)
    run.op("table.set", 0)
    module.referred.append(number)


def _imports(plan: Plan, module: Module) -> dict[str, int]:
    """The engine's functions that the plan uses, by name."""
    if any(isinstance(step.kernel, Call) and step.kernel.epilogue for step in plan.steps):
        module.import_table("engine", "__indirect_function_table")
    needed = {"barrier": ((), ())} if any(step.barrier for step in plan.steps) else {}
    for step in plan.steps:
        if isinstance(step.kernel, Call):
            needed[step.kernel.function] = _signature(step.kernel), ()
        elif len(step.kernel.stages) > 1:
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
