"""The builds for browsers without threads or relaxed SIMD: the same kernels, one thread."""

import numpy as np
import pytest
import wasmtime
from kernels import ROOT
from tensorbrook.backends.wasm.host import EPILOGUE
from tensorbrook.backends.wasm.loops import MOST_KEPT

BUILDS = ROOT / "core/tensorbrook/backends/wasm/engine"
PROGRAM = """(module (import "env" "memory" (memory 0)) (import "engine" "barrier" (func $barrier))
  (func (export "run") (param i32 i32)
    (call $barrier) (i32.store offset=4 (local.get 1) (i32.const 7)) (call $barrier)))"""


class Single:
    """An engine over a memory of its own, as a page without threads has it."""

    def __init__(self, name):
        self.engine = wasmtime.Engine()
        self.store = wasmtime.Store(self.engine)
        self.memory = wasmtime.Memory(self.store, wasmtime.MemoryType(wasmtime.Limits(64, None)))
        module = wasmtime.Module.from_file(self.engine, str(BUILDS / f"{name}.wasm"))
        self.exports = wasmtime.Instance(self.store, module, [self.memory]).exports(self.store)
        areas = -(-self.exports["__heap_base"].value(self.store) // 64) * 64
        self.call("setup", 1, areas)
        self.free = areas + self.call("scratch_size")

    def call(self, name, *arguments):
        return self.exports[name](self.store, *arguments)

    def write(self, array):
        """The address of a copy of the array."""
        address = self.free
        self.free += -(-array.nbytes // 64) * 64
        self.memory.write(self.store, bytearray(array.tobytes()), address)
        return address

    def read(self, address, shape, dtype="f4"):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        found = self.memory.read(self.store, address, address + size)
        return np.frombuffer(found, dtype).reshape(shape)


@pytest.fixture(params=["engine-relaxed", "engine-simd"])
def single(request, built):
    return Single(request.param)


def floats(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype="f4")


def test_gemm(single):
    a, b = floats(37, 53), floats(53, 41)
    out = single.write(np.empty((37, 41), "f4"))
    single.call("gemm", single.write(a), single.write(b), out, 1, 37, 41, 53, 0, 0, 0, 0,
                0, 0, 0, 1)
    np.testing.assert_allclose(single.read(out, (37, 41)), a @ b, rtol=1e-4, atol=1e-4)


def test_conv2d(single):
    x, w = floats(2, 6, 7, 3), floats(2, 3, 3, 5)
    out = single.write(np.empty((2, 5, 5, 5), "f4"))
    single.call("conv2d", single.write(x), single.write(w), out, 2, 6, 7, 3, 2, 3, 5, 5, 5,
                1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 1)
    expected = sum(x[:, i:i + 5, j:j + 5] @ w[i, j] for i in range(2) for j in range(3))
    np.testing.assert_allclose(single.read(out, expected.shape), expected, rtol=1e-4, atol=1e-4)


def test_a_thread_has_room_for_the_rows_that_programs_keep(single):
    size, first = single.call("scratch_size"), single.call("scratch", 0)
    assert size >= MOST_KEPT and first % 64 == 0
    assert single.call("scratch", 1) == first + size


def test_an_entry_of_the_table_is_left_to_epilogues(single):
    table = single.exports["__indirect_function_table"]
    assert table.size(single.store) > EPILOGUE
    assert table.get(single.store, EPILOGUE).value is None


def test_a_program_runs_on_the_one_thread(single):
    module = wasmtime.Module(single.engine, PROGRAM)
    program = wasmtime.Instance(single.store, module, [single.memory, single.exports["barrier"]])
    table = single.exports["__indirect_function_table"]
    index = table.grow(single.store, 1, program.exports(single.store)["run"])
    block = single.write(np.zeros(16, "i4"))
    assert single.call("launch", index, block) == 0
    assert single.read(block, (2,), "i4")[1] == 7
    assert single.call("join") == 0 and single.call("park", 1) == 2
