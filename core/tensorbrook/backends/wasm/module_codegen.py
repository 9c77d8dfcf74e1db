"""Code generation for a program: a Plan becomes one WebAssembly module.

Every loop kernel and every epilogue is a separate function and `run` calls them in order: V8
optimizes a function after many calls, and kernels are called more often than `run`. Kernels with
equal signatures, as the layers of a model have, share one function, which receives the addresses of
its buffers; see buffer_addresses.py.
"""
from collections import Counter
from collections.abc import Callable, Iterator

from ...base.lru_cache import LRUCache
from ...ir.graph import Atom
from ...ir.kernel_signature import loop_signature
from ...ir.kernels import KernelCall, LoopKernel, ScanKernel, generated_loop
from ...ir.plan import BufferLocation, Plan, ScheduledKernel, align_up
from .assembler import F32, F64, I32, Function, Module, f32_const
from .buffer_addresses import BufferAddresses, arena_relative_addresses, separate_addresses
from .disassembler import disassemble
from .host import ARENA_WORD, EPILOGUE, FIRST_SLOT_WORD, THREADS_WORD, WORD_BYTES
from .loop_codegen import emit_epilogue, emit_loop_kernel

# The parameters of `run`: this thread's index and the address of the argument block.
THREAD_PARAM, ARGUMENTS_PARAM = 0, 1
VECTOR_BYTES = 16
MAX_CACHED_FUNCTIONS = 4096          # generated functions kept for later programs

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
    generated = _GeneratedFunctions(module, plan, relaxed)
    for step in walk_steps(plan.steps):
        generated.add(step)
    run = Function((I32, I32))
    if plan.rotating_slots:
        _copy_arguments_per_thread(run, plan)
    emitter = _RunEmitter(run, module, plan, engine, generated)
    record = _no_timestamps
    if timestamps is not None:
        record = _timestamp_recorder(run, timestamps, len(plan.steps), engine["now"])
    _emit_steps(emitter, plan.steps, record)
    module.export("run", module.add(run))
    return module


class _GeneratedFunctions:
    """The functions of a module that loop kernels and epilogues share by their signatures."""

    # Functions by key, for all modules: another batch size, or another model with equal layers,
    # has many of them in common. The least recently used are dropped.
    cache = LRUCache(MAX_CACHED_FUNCTIONS)

    def __init__(self, module: Module, plan: Plan, relaxed: bool):
        self.module, self.relaxed, self.locations = module, relaxed, plan.buffer_locations
        loops = filter(None, (generated_loop(step.kernel) for step in walk_steps(plan.steps)))
        self.uses = Counter(loop_signature(loop).key for loop in loops)
        self.indices: dict[tuple, int] = {}
        self.of_step: dict[int, tuple[int, tuple[Atom, ...]]] = {}      # index, address parameters

    def add(self, step: ScheduledKernel) -> None:
        """Add the function of a step, unless the module has it or the step needs none."""
        loop = generated_loop(step.kernel)
        if loop is None:
            return
        signature = loop_signature(loop)
        addresses = separate_addresses(signature.buffers) if self.uses[signature.key] > 1 \
            else arena_relative_addresses(signature.buffers, self.locations)
        key = (signature.key, addresses.key, self.relaxed,
               step.parallel if isinstance(step.kernel, LoopKernel) else "epilogue")
        if key not in self.indices:
            self.indices[key] = self.module.add(self._function(key, loop, addresses, step))
        self.of_step[id(step)] = self.indices[key], addresses.params

    def _function(self, key: tuple, loop: LoopKernel, addresses: BufferAddresses,
                  step: ScheduledKernel) -> Function:
        function = self.cache.get(key)
        if function is None:
            if isinstance(step.kernel, LoopKernel):
                function = emit_loop_kernel(loop, addresses, step.parallel, self.relaxed)
            else:
                function = emit_epilogue(loop, addresses, self.relaxed)
            self.cache.put(key, function)
        return function


class _RunEmitter:
    """The state of emitting the function `run`: `engine` are the function indices of its imports.
    The locals `arena` and `threads` hold the words of the argument block."""

    def __init__(self, f: Function, module: Module, plan: Plan, engine: dict[str, int],
                 generated: _GeneratedFunctions):
        self.f, self.module, self.plan, self.engine = f, module, plan, engine
        self.generated = generated
        self.table_word = FIRST_SLOT_WORD + plan.slots       # where the next address table begins
        self.arena, self.threads = f.local(I32), f.local(I32)
        for word, local in ((ARENA_WORD, self.arena), (THREADS_WORD, self.threads)):
            f.get(ARGUMENTS_PARAM)
            f.memory("i32.load", WORD_BYTES * word)
            f.set(local)

    def push_address(self, atom: Atom):
        _push_address(self.f, self.plan.buffer_locations[atom], self.arena)

    def push_threads(self, parallel: bool):
        """Push this thread's index and the number of threads that run a kernel."""
        if parallel:
            self.f.get(THREAD_PARAM)
            self.f.get(self.threads)
        else:
            self.f.const(0)
            self.f.const(1)


def walk_steps(steps: tuple[ScheduledKernel, ...]) -> Iterator[ScheduledKernel]:
    """Yield the steps in preorder: each step, then the steps of its body."""
    for step in steps:
        yield step
        yield from walk_steps(step.body)


def table_words(plan: Plan) -> int:
    """Return the number of words of all address tables: up to one for each buffer of an epilogue.
    Every epilogue has a separate table, because threads may be in different kernels."""
    return sum(len(loop_signature(step.kernel.epilogue).buffers) for step in walk_steps(plan.steps)
               if isinstance(step.kernel, KernelCall) and step.kernel.epilogue)


def block_size(words: int) -> int:
    """Return the size in bytes of an argument block with this number of slots and table words."""
    return align_up(WORD_BYTES * (FIRST_SLOT_WORD + words))


def _copy_arguments_per_thread(run: Function, plan: Plan):
    """Copy the argument block and let ARGUMENTS_PARAM point to the copy: threads advance the
    rotating slots of scans independently. The copies are stored after the block, one per thread."""
    size, copy = block_size(plan.slots + table_words(plan)), run.local(I32)
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
        run = r.f
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
            _emit_kernel_call(r, step)
        else:
            _emit_loop_call(r, step)
        record(3 + 2 * n)
        if not step.parallel:
            run.op("end")


def _emit_loop_call(r: _RunEmitter, step: ScheduledKernel):
    index, params = r.generated.of_step[id(step)]
    r.push_threads(step.parallel)
    for atom in params:
        r.push_address(atom)
    if len(step.kernel.passes) > 1:
        r.f.get(THREAD_PARAM)
        r.f.op("call", r.engine["scratch"])
    r.f.op("call", index)


# ── scans ─────────────────────────────────────────────────────────────────────────────────────


def _emit_scan(r: _RunEmitter, step: ScheduledKernel):
    """Emit a loop over the scan's steps; each iteration advances the rotating slots at its end."""
    run, scan, counter = r.f, step.kernel, r.f.local(I32)
    _init_scan_addresses(r, scan)
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


def _init_scan_addresses(r: _RunEmitter, scan: ScanKernel):
    """Store the addresses of the first iteration. A carry alternates between its buffers `final`
    and `spare` so that the last iteration writes `final`."""
    run, locations = r.f, r.plan.buffer_locations
    for c in scan.carries:
        outputs = [c.final, c.spare]
        if scan.count % 2 == 0:
            outputs.reverse()
        for i, atom in enumerate([c.init, *outputs]):
            _store_word(run, locations[c.input].offset + i, lambda atom=atom: r.push_address(atom))
    for p in scan.slices:
        slot = locations[p.element].offset
        _store_word(run, slot, lambda p=p: r.push_address(p.stacked))
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


def _emit_kernel_call(r: _RunEmitter, step: ScheduledKernel):
    """Emit the call of an engine kernel, as this thread of all threads or as the only thread."""
    run, call = r.f, step.kernel
    table = _emit_epilogue_table(r, step) if call.epilogue else 0
    for atom in call.args + call.outs:
        r.push_address(atom)
    for p in call.params:
        if isinstance(p, float):
            run.code += f32_const(p)
        else:
            run.const(p)
    if call.kernel in KERNELS_WITH_EPILOGUE:
        run.const(EPILOGUE if call.epilogue else 0)
        run.get(ARGUMENTS_PARAM)
        if call.epilogue:
            run.const(table)
            run.op("i32.add")
    r.push_threads(step.parallel)
    run.op("call", r.engine[call.kernel])


def _emit_epilogue_table(r: _RunEmitter, step: ScheduledKernel) -> int:
    """Store the addresses of an epilogue's buffers; returns the table's offset in the block."""
    index, params = r.generated.of_step[id(step)]
    begin = WORD_BYTES * r.table_word
    for n, atom in enumerate(params):
        r.f.get(ARGUMENTS_PARAM)
        r.push_address(atom)
        r.f.memory("i32.store", begin + WORD_BYTES * n)
    r.table_word += len(params)
    _set_epilogue(r.f, r.module, index)
    return begin


def _push_address(run: Function, location: BufferLocation, arena: int):
    if location.space == "slot":
        run.get(ARGUMENTS_PARAM)
        run.memory("i32.load", WORD_BYTES * (FIRST_SLOT_WORD + location.offset))
    else:
        run.get(arena)
        if location.offset:
            run.const(location.offset)
            run.op("i32.add")
