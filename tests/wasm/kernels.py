"""Run single kernels of the test engine, with guard bytes around every buffer."""

import re
from pathlib import Path

import numpy as np
import wasmtime

from tensorbrook.backends.wasm.host import EPILOGUE
from tensorbrook.backends.wasm.host_wasmtime import Host
from tensorbrook.backends.wasm.module_codegen import KERNELS_WITH_EPILOGUE

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / "build" / "engine-test.wasm"
SIMD_ENGINE = ROOT / "build" / "engine-test-simd.wasm"
GUARD = 64
POISON = 0xFF  # NaN as f32, so that a read beyond a buffer changes the result

EPILOGUE_ARGUMENTS = 512  # bytes from the program's arguments block to the epilogue's arguments

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

# out = 3 * out + 1 on a rectangle of the result matrix; `arguments` holds its address and number of
# columns. An element that is visited too early, twice or never has a wrong result.
EPILOGUE_CODE = """
  (import "engine" "__indirect_function_table" (table 0 funcref))
  (elem declare func $epilogue)
  (func $epilogue (param $arguments i32) (param $row i32) (param $rows i32) (param $column i32)
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
SET_EPILOGUE = f"(table.set 0 (i32.const {EPILOGUE}) (ref.func $epilogue))"


def program(name: str, types: tuple[str, ...], epilogue: bool = False) -> bytes:
    """Return a module that calls a kernel with the words of its arguments block, of these types."""
    loads = " ".join(f"({type}.load offset={8 + 4 * i} (local.get $block))"
                     for i, type in enumerate(types))
    return bytes(wasmtime.wat2wasm(
        PROGRAM.format(name=name, types=" ".join((*types, "i32", "i32")), words=loads,
                       epilogue=EPILOGUE_CODE if epilogue else "",
                       before=SET_EPILOGUE if epilogue else "")))


def to_word(value) -> int:
    """Return the 32 bits of a kernel argument."""
    bits = np.float32(value).view("u4") if isinstance(value, float) else value
    return int(bits) & 0xFFFFFFFF


class Kernels:
    """The test engine with a number of threads; `call` runs a kernel on some or all of them."""

    def __init__(self, threads: int, engine: Path = ENGINE, relaxed: bool = True):
        self.host = Host(threads, engine, relaxed)
        self._programs = {}

    def call(self, name, inputs, output, *params, threads=1, epilogue=False):
        """Return the output of a kernel, of the given (shape, dtype). With `epilogue`, the kernel
        runs the epilogue 3 * out + 1."""
        result, = self.call_multi_output(name, inputs, [output], *params, threads=threads,
                                         epilogue=epilogue)
        return result

    def call_multi_output(self, name, inputs, outputs, *params, threads=1, epilogue=False):
        """Return the outputs of a kernel, of the given shapes and dtypes."""
        results = [np.frombuffer(b"\xff" * int(np.prod(shape) * np.dtype(dtype).itemsize), dtype)
                   .reshape(shape) for shape, dtype in outputs]
        inputs = [np.ascontiguousarray(x) for x in inputs]
        addresses = self._write_guarded([*inputs, *results])
        self.host.write(self.host.heap_base, np.array([0, threads], "i4"))
        words = [*addresses, *map(to_word, params)]
        types = ["i32"] * len(addresses) + ["f32" if isinstance(p, float) else "i32"
                                            for p in params]
        if name.removesuffix("_reference") in KERNELS_WITH_EPILOGUE:
            columns = outputs[-1][0][-1]
            words += self._epilogue_params(addresses[-1], columns) if epilogue else (0, 0)
            types += ["i32", "i32"]
        self.host.run(self._program(name, tuple(types), epilogue), self.host.heap_base, *words)
        self._check_inputs(name, inputs, addresses)
        return [np.frombuffer(self._read_guarded(name, address, result.nbytes), dtype)
                .reshape(shape) for address, result, (shape, dtype)
                in zip(addresses[len(inputs):], results, outputs)]

    def _epilogue_params(self, out, columns):
        """Write the arguments of the epilogue; return the two epilogue parameters of a kernel."""
        address = self.host.heap_base + EPILOGUE_ARGUMENTS
        self.host.write(address, np.array([out, columns], "u4"))
        return EPILOGUE, address

    def _program(self, *key):
        if key not in self._programs:
            self._programs[key] = self.host.load(program(*key))
        return self._programs[key]

    def _write_guarded(self, buffers):
        """Write the buffers with guard bytes around them; return their addresses."""
        end, addresses = -(-self.host.heap_base // 64) * 64 + 1024, []
        for buffer in buffers:
            addresses.append(end + GUARD)
            end = -(-(end + 2 * GUARD + buffer.nbytes) // 64) * 64
        self.host.grow(end)
        guard = bytes([POISON]) * GUARD
        for buffer, address in zip(buffers, addresses):
            self.host.write(address - GUARD, guard + buffer.tobytes() + guard)
        return addresses

    def _check_inputs(self, name, inputs, addresses):
        for i, (buffer, address) in enumerate(zip(inputs, addresses)):
            assert self._read_guarded(name, address, buffer.nbytes) == buffer.tobytes(), \
                f"{name} changed its input {i}"

    def _read_guarded(self, name, address, size):
        """Read a buffer; fail if its guard bytes have changed."""
        data = self.host.read(address - GUARD, size + 2 * GUARD)
        guard = bytes([POISON]) * GUARD
        assert data[:GUARD] == guard, f"{name} wrote before a buffer"
        assert data[GUARD + size:] == guard, f"{name} wrote beyond a buffer"
        return data[GUARD:GUARD + size]


def assert_close(actual, expected, scale, tolerance, name):
    """Assert that each element is within tolerance * scale, and that NaN and infinities agree."""
    with np.errstate(invalid="ignore"):
        wrong = ~((actual == expected) | (np.isnan(actual) & np.isnan(expected))
                  | (np.abs(actual - expected) <= tolerance * scale))
    assert not wrong.any(), f"{name}: {wrong.sum()} of {wrong.size} differ, first at " \
        f"{np.argwhere(wrong)[0].tolist()}: {actual[wrong][0]}, expected {expected[wrong][0]}"
