"""Peak rates of this machine: multiply-adds and copied bytes per second on all threads."""
from __future__ import annotations

import time
from collections.abc import Callable

from . import Buffer, Wasm
from .assembler import I32, V128, Function, Module
from .host import FIRST_SLOT_WORD, THREADS_WORD, WORD_BYTES
from .module_codegen import ARGUMENTS_PARAM, THREAD_PARAM

# Twelve chains of dependent multiply-adds: enough to hide a latency of 4 cycles on two units, and
# few enough for the 15 vector registers that V8 can use.
CHAINS, LANES, ITERATIONS = 12, 4, 1 << 16
COPY_BYTES = 16 << 20            # per thread: more than the caches private to a core hold
TRIES = 7
BLOCK_BYTES = 64                 # copied per iteration


def measure_peak_rates(backend: Wasm) -> tuple[float, float]:
    """Return (GFLOP/s, GB/s read and written), the best of TRIES runs."""
    threads = backend.threads
    memory = Buffer(backend, 2 * COPY_BYTES * threads)
    flops = 2 * LANES * CHAINS * ITERATIONS * threads
    bytes_moved = 2 * COPY_BYTES * threads
    return (flops / _min_seconds(backend, memory, _multiply_add(backend.host.relaxed)) / 1e9,
            bytes_moved / _min_seconds(backend, memory, _copy()) / 1e9)


def _min_seconds(backend: Wasm, memory: Buffer, function: Function) -> float:
    """Run a function `(thread, arguments)` on all threads; returns the shortest time of TRIES."""
    host, module = backend.host, Module()
    module.import_memory("env", "memory", host.shared)
    module.export("run", module.add(function))
    program, block = host.load(module.encode()), Buffer(backend, WORD_BYTES * (FIRST_SLOT_WORD + 1))
    host.write(block.address + WORD_BYTES * THREADS_WORD, backend.threads.to_bytes(4, "little"))
    seconds = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        host.run(program, block.address, memory.address)
        seconds.append(time.perf_counter() - begin)
    host.unload(program)
    return min(seconds)


def _thread_region(f: Function, size: int) -> int:
    """Return a local that holds the address of this thread's region of the memory."""
    region = f.local(I32)
    f.get(ARGUMENTS_PARAM)
    f.memory("i32.load", WORD_BYTES * FIRST_SLOT_WORD)
    f.get(THREAD_PARAM)
    f.const(size)
    f.op("i32.mul")
    f.op("i32.add")
    f.set(region)
    return region


def _multiply_add(relaxed: bool) -> Function:
    f = Function((I32, I32))
    factor, sums = f.local(V128), [f.local(V128) for _ in range(CHAINS)]
    region = _thread_region(f, 2 * COPY_BYTES)

    def step():
        for total in sums:
            f.get(factor)
            f.get(factor)
            if relaxed:
                f.get(total)
                f.op("f32x4.relaxed_madd")
            else:
                f.op("f32x4.mul")
                f.get(total)
                f.op("f32x4.add")
            f.set(total)

    _emit_loop(f, ITERATIONS, step)
    for i, total in enumerate(sums):             # prevents dead code elimination
        f.get(region)
        f.get(total)
        f.memory("v128.store", 16 * i)
    return f


def _copy() -> Function:
    f = Function((I32, I32))
    region = _thread_region(f, 2 * COPY_BYTES)

    def step():
        for offset in range(0, BLOCK_BYTES, 16):
            f.get(region)
            f.get(region)
            f.memory("v128.load", offset)
            f.memory("v128.store", COPY_BYTES + offset)
        f.get(region)
        f.const(BLOCK_BYTES)
        f.op("i32.add")
        f.set(region)

    _emit_loop(f, COPY_BYTES // BLOCK_BYTES, step)
    return f


def _emit_loop(f: Function, count: int, step: Callable[[], None]):
    counter = f.local(I32)
    f.const(count)
    f.set(counter)
    f.block("loop")
    step()
    f.get(counter)
    f.const(-1)
    f.op("i32.add")
    f.tee(counter)
    f.op("br_if", 0)
    f.op("end")
