"""The ceiling: how many multiply-adds and copied bytes a second this page can reach at all."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from tensorbrook.backends.wasm.assembler import I32, V128, Function, Module

# 12 chains of dependent multiply-adds: enough to hide a latency of 4 cycles on two units, and few
# enough for the 15 vector registers that V8 has.
CHAINS, LANES = 12, 4
COUNT, SIZE = 0, 1               # the loops' parameters: how often, over how many bytes
RESULT = 2048 << 16              # where the sums go, so that nobody finds them useless
COPY_BYTES, STREAM_BYTES, CACHED_BYTES = 64 << 20, 4 << 20, 128 << 10
GFLOPS, STREAMED = "GFLOP/s", "GB/s copied, 1 M floats"


def module() -> bytes:
    """`multiply_add(count, _)` and `copy(count, bytes)`, over a memory that is not shared."""
    made = Module()
    made.import_memory("env", "memory", shared=False)
    for name, function in (("multiply_add", multiply_add()), ("copy", copy())):
        made.export(name, made.add(function))
    return made.encode()


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
    again_while_counting(f)
    for i, total in enumerate(sums):
        f.const(RESULT + 16 * i)
        f.get(total)
        f.memory("v128.store", 0)
    return f


def copy() -> Function:
    """The second half of the memory from the first, 64 bytes a time, `count` times over."""
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
        f.memory("v128.store", COPY_BYTES + offset)
    f.get(at)
    f.const(64)
    f.op("i32.add")
    f.tee(at)
    f.get(SIZE)
    f.op("i32.lt_u")
    f.op("br_if", 0)
    f.op("end")
    again_while_counting(f)
    return f


def again_while_counting(f: Function) -> None:
    """End the loop: once more while the count, less one, is above zero."""
    f.get(COUNT)
    f.const(1)
    f.op("i32.sub")
    f.tee(COUNT)
    f.op("br_if", 0)
    f.op("end")


def measure(run: Callable[[str, int, int], float], threads: int, turns: int) -> dict[str, float]:
    """The ceilings of all threads together; `run(loop, count, size)` takes milliseconds."""
    def rate(loop: str, count: int, size: int, work: float) -> float:
        run(loop, count // 4 or 1, size)  # the browser's compiler wakes up
        return work * count * threads / median(run(loop, count, size) for _ in range(turns)) / 1e6
    flops = 2 * CHAINS * LANES
    part = STREAM_BYTES // threads  # all threads together copy as much as a stream has
    return {GFLOPS: rate("multiply_add", 4_000_000, 0, flops),
            "GB/s copied from memory": rate("copy", 8, COPY_BYTES, 2 * COPY_BYTES),
            STREAMED: rate("copy", 400, part, 2 * part),
            "GB/s copied in cache": rate("copy", 16_000, CACHED_BYTES, 2 * CACHED_BYTES)}
