"""Run plans that need no engine, in one instance, with guard bytes around every buffer."""
import functools

import numpy as np
import wasmtime

from tensorbrook.backends.wasm.loop_codegen import MAX_ROW_CACHE_BYTES
from tensorbrook.backends.wasm.module_codegen import emit_module
from tensorbrook.ir import Graph, LoopKernel, BufferLocation, Plan, TensorSpec, ScheduledKernel, Var

PAGE = 65536
GUARD = 64
FILLER = 0xA5


@functools.cache
def _engine() -> wasmtime.Engine:
    return wasmtime.Engine(wasmtime.Config())


def plan_of_loop(loop: LoopKernel, parallel: bool = False) -> Plan:
    """A plan of a single loop: its reads are the inputs, its writes the outputs."""
    inputs = tuple(a for a in loop.reads if a not in loop.writes)
    locations = {a: BufferLocation("slot", i) for i, a in enumerate(inputs + loop.writes)}
    steps = ScheduledKernel(loop, parallel, False),
    return Plan(inputs, (), loop.writes, {}, locations, steps, 0,
                Graph(list(inputs), [], list(loop.writes)))


def var_like(array: np.ndarray, dtype) -> Var:
    return Var(TensorSpec(array.shape, dtype))


def run(plan: Plan, inputs, outputs, relaxed=True, threads=1) -> list[np.ndarray]:
    """The outputs of a plan; `outputs` are their initial contents."""
    arrays = [*inputs, *outputs]
    store = wasmtime.Store(_engine())
    module = wasmtime.Module(_engine(), emit_module(plan, relaxed, shared=False))
    addresses, scratch = _allocate(arrays)
    imported = [each.name for each in module.imports]
    allowed = [(scratch + thread * (MAX_ROW_CACHE_BYTES + GUARD), MAX_ROW_CACHE_BYTES)
               for thread in range(threads if "scratch" in imported else 0)]
    size = scratch + len(allowed) * (MAX_ROW_CACHE_BYTES + GUARD)
    pages = wasmtime.Limits(size // PAGE + 1, None)
    memory = wasmtime.Memory(store, wasmtime.MemoryType(pages))
    imports = {"memory": memory, "scratch": _scratch(store, allowed)}
    imports = [imports[name] for name in imported]
    run_thread = wasmtime.Instance(store, module, imports).exports(store)["run"]
    content = np.ctypeslib.as_array(memory.data_ptr(store), (memory.data_len(store),))
    content[:] = FILLER
    words = np.array([0, threads, *addresses], np.uint32).view(np.uint8)
    content[:len(words)] = words
    for address, array in zip(addresses, arrays):
        content[address:address + array.nbytes] = array.reshape(-1).view(np.uint8)
    for thread in range(threads):
        run_thread(store, thread, 0)
    results = [content[address:address + a.nbytes].view(a.dtype).reshape(a.shape).copy()
               for address, a in zip(addresses, arrays)]
    allowed += [(0, len(words)), *((address, a.nbytes) for address, a in zip(addresses, arrays))]
    _check_guards(content, allowed)
    for before, after in zip(inputs, results):
        assert before.tobytes() == after.tobytes(), "an input was written"
    return results[len(inputs):]


def _allocate(arrays) -> tuple[list[int], int]:
    """The addresses of the arrays, with guard bytes between them, and the first free address."""
    addresses, address = [], 1024
    for array in arrays:
        addresses.append(address)
        address += -(-array.nbytes // GUARD) * GUARD + GUARD
    return addresses, address


def _scratch(store, areas) -> wasmtime.Func:
    """A stand-in for the engine's `scratch`: the address of the scratch memory of a thread."""
    i32 = wasmtime.ValType.i32()
    return wasmtime.Func(store, wasmtime.FuncType([i32], [i32]),
                         lambda thread: areas[thread][0])


def _check_guards(content, allowed):
    """No byte outside the `allowed` (address, size) ranges has changed."""
    is_guard = np.ones(len(content), bool)
    for address, size in allowed:
        is_guard[address:address + size] = False
    assert (content[is_guard] == FILLER).all(), "memory outside every buffer was written"
