"""The single-threaded engine builds, for browsers without threads or without relaxed SIMD."""

import numpy as np
import pytest
import wasmtime
from kernels import ROOT
from tensorbrook.backends.wasm.host import EPILOGUE
from tensorbrook.backends.wasm.loop_codegen import MAX_ROW_CACHE_BYTES

BUILDS = ROOT / "core/tensorbrook/backends/wasm/engine"
PROGRAM = """(module (import "env" "memory" (memory 0)) (import "engine" "barrier" (func $barrier))
  (func (export "run") (param i32 i32)
    (call $barrier) (i32.store offset=4 (local.get 1) (i32.const 7)) (call $barrier)))"""


class SingleThreadedEngine:
    """An engine with one thread and a separate memory, as in a page without threads."""

    def __init__(self, name):
        self.runtime = wasmtime.Engine()
        self.store = wasmtime.Store(self.runtime)
        self.memory = wasmtime.Memory(self.store, wasmtime.MemoryType(wasmtime.Limits(64, None)))
        module = wasmtime.Module.from_file(self.runtime, str(BUILDS / f"{name}.wasm"))
        self.exports = wasmtime.Instance(self.store, module, [self.memory]).exports(self.store)
        scratch_areas = -(-self.exports["__heap_base"].value(self.store) // 64) * 64
        self.call("setup", 1, scratch_areas)
        self.free = scratch_areas + self.call("scratch_size")

    def call(self, name, *arguments):
        return self.exports[name](self.store, *arguments)

    def write(self, array):
        """Copy the array to memory; return its address."""
        address = self.free
        self.free += -(-array.nbytes // 64) * 64
        self.memory.write(self.store, bytearray(array.tobytes()), address)
        return address

    def read(self, address, shape, dtype="f4"):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        data = self.memory.read(self.store, address, address + size)
        return np.frombuffer(data, dtype).reshape(shape)


@pytest.fixture(params=["engine-relaxed", "engine-simd"])
def engine(request, engine_files):
    return SingleThreadedEngine(request.param)


def floats(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype="f4")


def test_gemm(engine):
    a, b = floats(37, 53), floats(53, 41)
    out = engine.write(np.empty((37, 41), "f4"))
    engine.call("gemm", engine.write(a), engine.write(b), out, 1, 37, 41, 53, 0, 0, 0, 0,
                0, 0, 0, 1)
    np.testing.assert_allclose(engine.read(out, (37, 41)), a @ b, rtol=1e-4, atol=1e-4)


def test_conv2d(engine):
    x, w = floats(2, 6, 7, 3), floats(2, 3, 3, 5)
    out = engine.write(np.empty((2, 5, 5, 5), "f4"))
    engine.call("conv2d", engine.write(x), engine.write(w), out, 2, 6, 7, 3, 2, 3, 5, 5, 5,
                1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 1)
    expected = sum(x[:, i:i + 5, j:j + 5] @ w[i, j] for i in range(2) for j in range(3))
    np.testing.assert_allclose(engine.read(out, expected.shape), expected, rtol=1e-4, atol=1e-4)


def test_scratch_is_large_enough_for_rows_that_programs_cache(engine):
    size, first = engine.call("scratch_size"), engine.call("scratch", 0)
    assert size >= MAX_ROW_CACHE_BYTES and first % 64 == 0
    assert engine.call("scratch", 1) == first + size


def test_a_table_entry_is_reserved_for_epilogues(engine):
    table = engine.exports["__indirect_function_table"]
    assert table.size(engine.store) > EPILOGUE
    assert table.get(engine.store, EPILOGUE).value is None


def test_a_program_runs(engine):
    module = wasmtime.Module(engine.runtime, PROGRAM)
    program = wasmtime.Instance(engine.store, module, [engine.memory, engine.exports["barrier"]])
    table = engine.exports["__indirect_function_table"]
    index = table.grow(engine.store, 1, program.exports(engine.store)["run"])
    block = engine.write(np.zeros(16, "i4"))
    assert engine.call("run_program", index, block) == 0
    assert engine.read(block, (2,), "i4")[1] == 7
    assert engine.call("wait_command") == 0 and engine.call("worker_loop", 1) == 2
