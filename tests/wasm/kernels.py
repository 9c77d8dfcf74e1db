"""Run single kernels of the test engine, with guard bytes around every buffer."""

import re
from pathlib import Path

import numpy as np
import wasmtime

from tensorbrook.backends.wasm.host_wasmtime import Host

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "build" / "engine-test.wasm"
GUARD = 64
POISON = 0xFF  # as f32 a NaN: what is read beyond a buffer shows in the result

DECLARATION = re.compile(r"^KERNEL\((\w+),", re.MULTILINE)
KERNELS = DECLARATION.findall((ROOT / "wasm" / "engine.h").read_text())

PROGRAM = """(module
  (import "env" "memory" (memory 0 65535 shared))
  (import "engine" "{name}" (func $kernel (param {types})))
  (func (export "run") (param $thread i32) (param $block i32)
    (if (i32.lt_u (local.get $thread) (i32.load offset=4 (local.get $block)))
      (then (call $kernel {words} (local.get $thread) (i32.load offset=4 (local.get $block)))))))
"""


def program(name: str, words: int) -> bytes:
    """A module that calls one kernel with the words of its arguments block."""
    loads = " ".join(f"(i32.load offset={8 + 4 * i} (local.get $block))" for i in range(words))
    return bytes(wasmtime.wat2wasm(
        PROGRAM.format(name=name, types="i32 " * (words + 2), words=loads)))


class Kernels:
    """The test engine on some threads; `call` runs one kernel on as many as asked for."""

    def __init__(self, threads: int):
        self.host = Host(threads, ENGINE)
        self._programs = {}

    def call(self, name, inputs, output, *numbers, threads=1):
        """What the kernel writes to a buffer like `output`, (shape, dtype)."""
        shape, dtype = output
        result = np.frombuffer(b"\xff" * int(np.prod(shape) * np.dtype(dtype).itemsize), dtype)
        buffers = [np.ascontiguousarray(x) for x in (*inputs, result.reshape(shape))]
        addresses = self._place(buffers)
        self.host.write(self.host.heap_base, np.array([0, threads], "i4"))
        words = [*addresses, *(int(number) & 0xFFFFFFFF for number in numbers)]
        self.host.run(self._program(name, len(words)), self.host.heap_base, *words)
        self._check(name, buffers[:-1], addresses)
        written = self._guarded(name, addresses[-1], result.nbytes)
        return np.frombuffer(written, dtype).reshape(shape)

    def _program(self, name, words):
        if (name, words) not in self._programs:
            self._programs[name, words] = self.host.load(program(name, words))
        return self._programs[name, words]

    def _place(self, buffers):
        at, addresses = -(-self.host.heap_base // 64) * 64 + 1024, []
        for buffer in buffers:
            addresses.append(at + GUARD)
            at = -(-(at + 2 * GUARD + buffer.nbytes) // 64) * 64
        self.host.grow(at)
        for buffer, address in zip(buffers, addresses):
            around = bytes([POISON]) * GUARD
            self.host.write(address - GUARD, around + buffer.tobytes() + around)
        return addresses

    def _check(self, name, inputs, addresses):
        for i, (buffer, address) in enumerate(zip(inputs, addresses)):
            assert self._guarded(name, address, buffer.nbytes) == buffer.tobytes(), \
                f"{name} changed its input {i}"

    def _guarded(self, name, address, size):
        found = self.host.read(address - GUARD, size + 2 * GUARD)
        guard = bytes([POISON]) * GUARD
        assert found[:GUARD] == guard, f"{name} wrote before a buffer"
        assert found[GUARD + size:] == guard, f"{name} wrote beyond a buffer"
        return found[GUARD:GUARD + size]


def assert_close(ours, reference, scale, tolerance, name):
    """Equal within tolerance * scale, element by element; NaN and infinities in the same places."""
    with np.errstate(invalid="ignore"):
        wrong = ~((ours == reference) | (np.isnan(ours) & np.isnan(reference))
                  | (np.abs(ours - reference) <= tolerance * scale))
    assert not wrong.any(), f"{name}: {wrong.sum()} of {wrong.size} differ, first at " \
        f"{np.argwhere(wrong)[0].tolist()}: {ours[wrong][0]} for {reference[wrong][0]}"
