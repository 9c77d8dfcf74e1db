"""The four engine builds, with and without threads and relaxed SIMD, compute the same."""

import ctypes

import numpy as np
import pytest
import wasmtime
from kernels import ROOT
from tensorbrook.backends.wasm.host import EPILOGUE, PAGE_BYTES
from tensorbrook.backends.wasm.host_wasmtime import SharedMemory
from tensorbrook.backends.wasm.loop_codegen import MAX_ROW_CACHE_BYTES

BUILDS = ROOT / "core/tensorbrook/backends/wasm/engine"
SINGLE_THREADED = ["engine-relaxed", "engine-simd"]
INITIAL_PAGES = 64
PROGRAM = """(module
  (import "env" "memory" (memory 0 {shared})) (import "engine" "barrier" (func $barrier))
  (func (export "run") (param i32 i32)
    (call $barrier) (i32.store offset=4 (local.get 1) (i32.const 7)) (call $barrier)))"""


class BuiltEngine:
    """A build of the engine, on one thread."""

    def __init__(self, name):
        config = wasmtime.Config()
        config.wasm_threads = config.shared_memory = config.wasm_relaxed_simd = True
        self.runtime = wasmtime.Engine(config)
        self.store = wasmtime.Store(self.runtime)
        module = wasmtime.Module.from_file(self.runtime, str(BUILDS / f"{name}.wasm"))
        self.memory = self.create_memory(module.imports[0].type)
        self.exports = wasmtime.Instance(self.store, module, [self.memory]).exports(self.store)
        scratch_areas = -(-self.exports["__heap_base"].value(self.store) // 64) * 64
        self.call("setup", 1, scratch_areas)
        self.free = scratch_areas + self.call("scratch_size")

    def create_memory(self, memory_type):
        """The memory that the build imports, with its bytes as an array in `content`."""
        if memory_type.is_shared:
            memory = SharedMemory(self.runtime, memory_type)
            memory.grow(INITIAL_PAGES - memory.data_len() // PAGE_BYTES)
            address = ctypes.addressof(memory.data_ptr().contents)
            self.content = (ctypes.c_uint8 * memory.data_len()).from_address(address)
        else:
            limits = wasmtime.Limits(INITIAL_PAGES, None)
            memory = wasmtime.Memory(self.store, wasmtime.MemoryType(limits))
            size = memory.data_len(self.store)
            self.content = ctypes.cast(memory.data_ptr(self.store),
                                       ctypes.POINTER(ctypes.c_uint8 * size)).contents
        return memory

    def call(self, name, *arguments):
        return self.exports[name](self.store, *arguments)

    def write(self, array):
        """Copy the array to memory; return its address."""
        address = self.free
        self.free += -(-array.nbytes // 64) * 64
        self.content[address:address + array.nbytes] = array.tobytes()
        return address

    def read(self, address, shape, dtype="f4"):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(bytes(self.content[address:address + size]), dtype).reshape(shape)


@pytest.fixture(params=[*SINGLE_THREADED, "engine-threads", "engine-threads-simd"])
def engine(request, engine_files):
    return BuiltEngine(request.param)


@pytest.fixture(params=SINGLE_THREADED)
def single_threaded_engine(request, engine_files):
    return BuiltEngine(request.param)


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
    shared = "65535 shared" if isinstance(engine.memory, wasmtime.SharedMemory) else ""
    module = wasmtime.Module(engine.runtime, PROGRAM.format(shared=shared))
    program = wasmtime.Instance(engine.store, module, [engine.memory, engine.exports["barrier"]])
    table = engine.exports["__indirect_function_table"]
    index = table.grow(engine.store, 1, program.exports(engine.store)["run"])
    block = engine.write(np.zeros(16, "i4"))
    assert engine.call("run_program", index, block) == 0
    assert engine.read(block, (2,), "i4")[1] == 7
    assert engine.call("wait_command") == 0


def test_a_single_threaded_build_has_no_worker_loop(single_threaded_engine):
    assert single_threaded_engine.call("worker_loop", 1) == 2
