"""Peak rates of the page: multiply-adds and copied bytes per second, for the roofline."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from tensorbrook.backends.wasm.assembler import I32, V128, Function, Module

# 12 chains of dependent multiply-adds: enough to hide a latency of 4 cycles on two units, and few
# enough for the 15 vector registers that V8 has.
CHAINS, LANES = 12, 4
COUNT, SIZE = 0, 1               # parameters of both loops: iterations, bytes of each iteration
RESULT = 2048 << 16              # the sums are stored there, so that they are not dead code
MEMORY_BYTES, L3_BYTES, L1_BYTES = 64 << 20, 4 << 20, 128 << 10
GFLOPS, COPY_1M_FLOATS = "GFLOP/s", "GB/s copied, 1 M floats"


def module() -> bytes:
    """`multiply_add(count, _)` and `copy(count, bytes)`, over a memory that is not shared."""
    result = Module()
    result.import_memory("env", "memory", shared=False)
    for name, function in (("multiply_add", multiply_add()), ("copy", copy())):
        result.export(name, result.add(function))
    return result.encode()


def multiply_add() -> Function:
    f = Function((I32, I32))
    factor = f.local(V128)
    sums = [f.local(V128) for _ in range(CHAINS)]
    f.block("loop")
    for total in sums:
        f.get(factor)
        f.get(factor)
        f.get(total)
        f.op("f32x4.relaxed_madd")
        f.set(total)
    end_count_loop(f)
    for i, total in enumerate(sums):
        f.const(RESULT + 16 * i)
        f.get(total)
        f.memory("v128.store", 0)
    return f


def copy() -> Function:
    """Copy `bytes` from address 0 to MEMORY_BYTES, 64 bytes at a time; repeat `count` times."""
    f = Function((I32, I32))
    at = f.local(I32)
    f.block("loop")
    f.const(0)
    f.set(at)
    f.block("loop")
    for offset in range(0, 64, 16):
        f.get(at)
        f.get(at)
        f.memory("v128.load", offset)
        f.memory("v128.store", MEMORY_BYTES + offset)
    f.get(at)
    f.const(64)
    f.op("i32.add")
    f.tee(at)
    f.get(SIZE)
    f.op("i32.lt_u")
    f.op("br_if", 0)
    f.op("end")
    end_count_loop(f)
    return f


def end_count_loop(f: Function) -> None:
    """End a loop: decrement the count and branch back while it is above zero."""
    f.get(COUNT)
    f.const(1)
    f.op("i32.sub")
    f.tee(COUNT)
    f.op("br_if", 0)
    f.op("end")


def measure(run: Callable[[str, int, int], float], threads: int,
            repetitions: int) -> dict[str, float]:
    """The rates of all threads together; `run(loop, count, size)` returns milliseconds."""
    def rate(loop: str, count: int, size: int, work: float) -> float:
        run(loop, count // 4 or 1, size)  # warm-up, for the browser's optimizing compiler
        elapsed_ms = median(run(loop, count, size) for _ in range(repetitions))
        return work * count * threads / elapsed_ms / 1e6
    flops = 2 * CHAINS * LANES
    per_thread = L3_BYTES // threads  # together the threads copy 1 M floats
    return {GFLOPS: rate("multiply_add", 4_000_000, 0, flops),
            "GB/s copied from memory": rate("copy", 8, MEMORY_BYTES, 2 * MEMORY_BYTES),
            COPY_1M_FLOATS: rate("copy", 400, per_thread, 2 * per_thread),
            "GB/s copied in cache": rate("copy", 16_000, L1_BYTES, 2 * L1_BYTES)}
