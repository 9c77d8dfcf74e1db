"""Run single kernels of the test engine, with guard bytes around every buffer."""

import re
from pathlib import Path

import numpy as np
import wasmtime

from tensorbrook.backends.wasm.host import EPILOGUE
from tensorbrook.backends.wasm.host_wasmtime import Host
from tensorbrook.backends.wasm.program import TAKE_EPILOGUES

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "build" / "engine-test.wasm"
GUARD = 64
POISON = 0xFF  # as f32 a NaN: what is read beyond a buffer shows in the result

AFTER = 512  # bytes from the arguments block to those of the epilogue

DECLARATION = re.compile(r"^KERNEL\((\w+),", re.MULTILINE)
KERNELS = DECLARATION.findall((ROOT / "wasm" / "engine.h").read_text())

PROGRAM = """(module
  (import "env" "memory" (memory 0 65535 shared))
  (import "engine" "{name}" (func $kernel (param {types})))
  {epilogue}
  (func (export "run") (param $thread i32) (param $block i32)
    (if (i32.lt_u (local.get $thread) (i32.load offset=4 (local.get $block)))
      (then {before}
        (call $kernel {words} (local.get $thread) (i32.load offset=4 (local.get $block)))))))
"""

# out = 3 * out + 1 over a rectangle of the matrix whose address and row length `arguments` hold:
# an element that was visited too early, twice or never shows in the result.
EPILOGUE_CODE = """
  (import "engine" "__indirect_function_table" (table 0 funcref))
  (elem declare func $after)
  (func $after (param $arguments i32) (param $row i32) (param $rows i32) (param $column i32)
               (param $columns i32) (local $at i32) (local $left i32)
    (if (i32.eqz (i32.and (i32.gt_s (local.get $rows) (i32.const 0))
                          (i32.gt_s (local.get $columns) (i32.const 0)))) (then unreachable))
    (loop $down
      (local.set $left (local.get $columns))
      (local.set $at (i32.add (i32.load (local.get $arguments)) (i32.shl (i32.add (i32.mul
        (local.get $row) (i32.load offset=4 (local.get $arguments))) (local.get $column))
        (i32.const 2))))
      (loop $along
        (f32.store (local.get $at) (f32.add (f32.const 1)
          (f32.mul (f32.const 3) (f32.load (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br_if $along (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br_if $down (local.tee $rows (i32.sub (local.get $rows) (i32.const 1))))))
"""
SET_EPILOGUE = f"(table.set 0 (i32.const {EPILOGUE}) (ref.func $after))"


def program(name: str, types: tuple[str, ...], epilogue: bool = False) -> bytes:
    """A module that calls one kernel with the words of its arguments block, of these types."""
    loads = " ".join(f"({type}.load offset={8 + 4 * i} (local.get $block))"
                     for i, type in enumerate(types))
    return bytes(wasmtime.wat2wasm(
        PROGRAM.format(name=name, types=" ".join((*types, "i32", "i32")), words=loads,
                       epilogue=EPILOGUE_CODE if epilogue else "",
                       before=SET_EPILOGUE if epilogue else "")))


def word(number) -> int:
    """The 32 bits of an argument of a kernel."""
    bits = np.float32(number).view("u4") if isinstance(number, float) else number
    return int(bits) & 0xFFFFFFFF


class Kernels:
    """The test engine on some threads; `call` runs one kernel on as many as asked for."""

    def __init__(self, threads: int):
        self.host = Host(threads, ENGINE)
        self._programs = {}

    def call(self, name, inputs, output, *numbers, threads=1, epilogue=False):
        """What the kernel writes to a buffer like `output`, (shape, dtype); with `epilogue`, what
        becomes of it after 3 * out + 1."""
        result, = self.call_for_several(name, inputs, [output], *numbers, threads=threads,
                                        epilogue=epilogue)
        return result

    def call_for_several(self, name, inputs, outputs, *numbers, threads=1, epilogue=False):
        """The same for a kernel that writes several buffers, one after the other."""
        results = [np.frombuffer(b"\xff" * int(np.prod(shape) * np.dtype(dtype).itemsize), dtype)
                   .reshape(shape) for shape, dtype in outputs]
        inputs = [np.ascontiguousarray(x) for x in inputs]
        addresses = self._place([*inputs, *results])
        self.host.write(self.host.heap_base, np.array([0, threads], "i4"))
        words = [*addresses, *map(word, numbers)]
        types = ["i32"] * len(addresses) + ["f32" if isinstance(n, float) else "i32"
                                            for n in numbers]
        if name.removesuffix("_ref") in TAKE_EPILOGUES:
            words += self._after(addresses[-1], outputs[-1][0][-1]) if epilogue else (0, 0)
            types += ["i32", "i32"]
        self.host.run(self._program(name, tuple(types), epilogue), self.host.heap_base, *words)
        self._check(name, inputs, addresses)
        return [np.frombuffer(self._guarded(name, address, result.nbytes), dtype).reshape(shape)
                for address, result, (shape, dtype)
                in zip(addresses[len(inputs):], results, outputs)]

    def _after(self, out, columns):
        """The words that tell a kernel of the epilogue over rows of `columns` at address `out`."""
        address = self.host.heap_base + AFTER
        self.host.write(address, np.array([out, columns], "u4"))
        return EPILOGUE, address

    def _program(self, *key):
        if key not in self._programs:
            self._programs[key] = self.host.load(program(*key))
        return self._programs[key]

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
