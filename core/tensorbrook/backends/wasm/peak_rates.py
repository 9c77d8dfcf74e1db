"""What this machine can do at all: multiply-adds and copied bytes a second on all threads."""
from __future__ import annotations

import time
from collections.abc import Callable

from . import Buffer, Wasm
from .assembler import I32, V128, Function, Module
from .host import FIRST_SLOT_WORD, THREADS_WORD, WORD_BYTES
from .loop_emitter import ARGUMENTS_PARAM

# Twelve chains of dependent multiply-adds: enough to hide a latency of 4 cycles on two units, and
# few enough for the 15 vector registers that V8 has.
CHAINS, LANES, TURNS = 12, 4, 1 << 16
COPIED = 16 << 20                # bytes that each thread copies: more than caches near a core hold
TRIES = 7
BLOCK = 64                       # bytes a turn


def ceilings(backend: Wasm) -> tuple[float, float]:
    """(GFLOP/s, GB/s read and written), the best of some tries."""
    threads = backend.threads
    memory = Buffer(backend, 2 * COPIED * threads)
    flops = 2 * LANES * CHAINS * TURNS * threads
    moved = 2 * COPIED * threads
    return (flops / _min_seconds(backend, memory, _multiply_add(backend.host.relaxed)) / 1e9,
            moved / _min_seconds(backend, memory, _copy()) / 1e9)


def _min_seconds(backend: Wasm, memory: Buffer, function: Function) -> float:
    """The least seconds that the function took, called with its thread and a block of arguments."""
    host, module = backend.host, Module()
    module.import_memory("env", "memory", host.shared)
    module.export("run", module.add(function))
    program, block = host.load(module.encode()), Buffer(backend, WORD_BYTES * (FIRST_SLOT_WORD + 1))
    host.write(block.address + WORD_BYTES * THREADS_WORD, backend.threads.to_bytes(4, "little"))
    taken = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        host.run(program, block.address, memory.address)
        taken.append(time.perf_counter() - begin)
    host.unload(program)
    return min(taken)


def _thread_region(f: Function, size: int) -> int:
    """A local that points to this thread's part of the memory."""
    at = f.local(I32)
    f.get(ARGUMENTS_PARAM)
    f.memory("i32.load", WORD_BYTES * FIRST_SLOT_WORD)
    f.get(0)
    f.const(size)
    f.op("i32.mul")
    f.op("i32.add")
    f.set(at)
    return at


def _multiply_add(relaxed: bool) -> Function:
    f = Function((I32, I32))
    factor, sums = f.local(V128), [f.local(V128) for _ in range(CHAINS)]
    at = _thread_region(f, 2 * COPIED)

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

    _emit_loop(f, TURNS, step)
    for i, total in enumerate(sums):             # so that nobody finds them useless
        f.get(at)
        f.get(total)
        f.memory("v128.store", 16 * i)
    return f


def _copy() -> Function:
    f = Function((I32, I32))
    at = _thread_region(f, 2 * COPIED)

    def step():
        for offset in range(0, BLOCK, 16):
            f.get(at)
            f.get(at)
            f.memory("v128.load", offset)
            f.memory("v128.store", COPIED + offset)
        f.get(at)
        f.const(BLOCK)
        f.op("i32.add")
        f.set(at)

    _emit_loop(f, COPIED // BLOCK, step)
    return f


def _emit_loop(f: Function, turns: int, step: Callable[[], None]):
    left = f.local(I32)
    f.const(turns)
    f.set(left)
    f.block("loop")
    step()
    f.get(left)
    f.const(-1)
    f.op("i32.add")
    f.tee(left)
    f.op("br_if", 0)
    f.op("end")
