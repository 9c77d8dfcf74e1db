"""Runs plans that need no engine: one instance, a memory with guard bytes around every buffer."""
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


def one_loop(loop: LoopKernel, split: bool = False) -> Plan:
    """The plan that runs `loop` alone: what it reads are inputs, what it writes outputs."""
    inputs = tuple(a for a in loop.reads if a not in loop.writes)
    places = {a: BufferLocation("slot", i) for i, a in enumerate(inputs + loop.writes)}
    return Plan(inputs, (), loop.writes, {}, places, (ScheduledKernel(loop, split, False),), 0,
                Graph(list(inputs), [], list(loop.writes)))


def variable(array: np.ndarray, dtype) -> Var:
    return Var(TensorSpec(array.shape, dtype))


def run(plan: Plan, inputs, outputs, relaxed=True, threads=1) -> list[np.ndarray]:
    """What a plan leaves in its outputs; `outputs` are the arrays they begin as."""
    arrays = [*inputs, *outputs]
    store = wasmtime.Store(_engine())
    module = wasmtime.Module(_engine(), emit_module(plan, relaxed, shared=False))
    addresses, scratch = _laid_out(arrays)
    needed = [found.name for found in module.imports]
    own = [(scratch + thread * (MAX_ROW_CACHE_BYTES + GUARD), MAX_ROW_CACHE_BYTES)
           for thread in range(threads if "scratch" in needed else 0)]
    pages = wasmtime.Limits((scratch + len(own) * (MAX_ROW_CACHE_BYTES + GUARD)) // PAGE + 1, None)
    memory = wasmtime.Memory(store, wasmtime.MemoryType(pages))
    imports = {"memory": memory, "scratch": _scratch(store, own)}
    imports = [imports[name] for name in needed]
    call = wasmtime.Instance(store, module, imports).exports(store)["run"]
    content = np.ctypeslib.as_array(memory.data_ptr(store), (memory.data_len(store),))
    content[:] = FILLER
    words = np.array([0, threads, *addresses], np.uint32).view(np.uint8)
    content[:len(words)] = words
    for at, array in zip(addresses, arrays):
        content[at:at + array.nbytes] = array.reshape(-1).view(np.uint8)
    for thread in range(threads):
        call(store, thread, 0)
    found = [content[at:at + a.nbytes].view(a.dtype).reshape(a.shape).copy()
             for at, a in zip(addresses, arrays)]
    own += [(0, len(words)), *((at, a.nbytes) for at, a in zip(addresses, arrays))]
    _check_guards(content, own)
    for before, after in zip(inputs, found):
        assert before.tobytes() == after.tobytes(), "an input was written"
    return found[len(inputs):]


def _laid_out(arrays) -> tuple[list[int], int]:
    addresses, at = [], 1024
    for array in arrays:
        addresses.append(at)
        at += -(-array.nbytes // GUARD) * GUARD + GUARD
    return addresses, at


def _scratch(store, areas) -> wasmtime.Func:
    """The engine's function of that name: where a thread's own memory begins."""
    number = wasmtime.ValType.i32()
    return wasmtime.Func(store, wasmtime.FuncType([number], [number]),
                         lambda thread: areas[thread][0])


def _check_guards(content, own):
    """Nothing outside the (address, size) pairs has changed."""
    free = np.ones(len(content), bool)
    for at, size in own:
        free[at:at + size] = False
    assert (content[free] == FILLER).all(), "memory outside every buffer was written"
