"""The CPU backend: compiles each plan to a WebAssembly module and runs it with one host call."""
import importlib
import os
import sys
import threading
import weakref
from typing import Any

from ...base.errors import UnimplementedError
from ...base.host_array import HostArray
from ...ir import Graph, Plan, TargetInfo, digest, walk_equations
from ..profiling import Profile
from .allocator import HeapAllocator
from .compiled_program import CompiledProgram, compile_plan
from .host import Host
from .module_codegen import KERNELS_WITH_EPILOGUE, block_size

DTYPES = ("bool", "uint8", "int32", "float32")
DEFAULT_HINT = 'use tf.cast to float32, or tf.config.set_backend("reference")'
HINTS = {"float16": "make it float32 with tf.constant(array, tf.float32), leave layers the "
                    'policy "float32", or compute on a GPU: tf.config.set_backend("webgpu")'}

# Training steps with 0, 1 and 4 (wasmtime 50, two threads, 2026-11): the GPT of the benchmarks
# takes 66.2, 64.8 and 64.2 ms, with 71, 50 and 37 MB between its kernels; that of examples/ 24.7,
# 24.2 and 24.2 ms (lower quartiles), with 20.9, 16.2 and 15.5 MB; the other networks are equally
# fast.
OPERATIONS_PER_BYTE = 4


class Buffer:
    """A Storage in the linear memory; the memory is freed with the object."""

    __slots__ = ("address", "capacity", "size", "aliased", "backend", "__weakref__")

    def __init__(self, backend: "Wasm", size: int):
        self.size, self.aliased, self.backend = size, False, backend
        self.address, self.capacity = backend.memory.allocate(size)

    def read(self) -> bytes:
        with self.backend.lock:              # a program may be updating the buffer
            return self.backend.host.read(self.address, self.size)

    def __del__(self, is_finalizing=sys.is_finalizing):
        # When the interpreter exits, modules are already torn down and all memory is released.
        # `capacity` is missing if the allocation failed.
        if hasattr(self, "capacity") and not is_finalizing():
            self.backend.memory.free(self.address, self.capacity)


class Wasm:
    name, device = "wasm", "CPU"
    is_lost = False
    # A generated function has one parameter per buffer, and may have at most 1,000 parameters
    # (WebAssembly JavaScript Interface, implementation-defined limits). More than 128 buffers only
    # make decisions about a kernel slow.
    target = TargetInfo(max_buffers_per_kernel=128, kernels_with_epilogue=KERNELS_WITH_EPILOGUE,
                        remat_ops_per_byte=OPERATIONS_PER_BYTE)
    profile: Profile | None = None       # set on the class while all programs are profiled

    def __init__(self, host: Host):
        self.host, self.memory, self.threads = host, HeapAllocator(host), host.threads
        self.arena = Buffer(self, 1)
        self.lock = threading.RLock()
        self.programs_run = self.kernels_run = self.compiled = 0

    def upload(self, data: HostArray) -> Buffer:
        return self.upload_bytes(data.data)

    def upload_bytes(self, data) -> Buffer:
        view = memoryview(data)
        buffer = Buffer(self, view.nbytes)
        if view.nbytes:
            self.host.write(buffer.address, view)
        return buffer

    def read_many(self, storages) -> list[bytes]:
        with self.lock:                      # all contents are of one moment
            return [storage.read() for storage in storages]

    def load_cached(self, graph: Graph) -> "Program | None":
        """Return the program of a graph from the host's program cache, or None."""
        if self.host.program_cache is None or self.profile: return None
        data = self.host.program_cache.get(self._key(graph))
        return None if data is None else Program(CompiledProgram.from_bytes(data), self)

    def _key(self, graph: Graph) -> str:
        """Return the cache key of a graph. The host's cache adds the version of the compiler."""
        return f"{digest(graph)}-{self.host.relaxed:d}{self.host.shared:d}"

    def load(self, plan: Plan) -> "Program":
        self._require_supported_dtypes(plan.graph)
        self.compiled += 1
        if self.profile:
            return self.profile.program(plan, self)
        compiled = compile_plan(plan, self.host.relaxed, self.host.shared)
        program = Program(compiled, self)
        if self.host.program_cache is not None:
            self.host.program_cache.put(self._key(plan.graph), compiled.to_bytes())
        return program

    @staticmethod
    def _require_supported_dtypes(graph: Graph) -> None:
        uses = {(e.prim.name, a.spec.dtype): None for e in walk_equations(graph)
                for a in (*e.args, *e.outs)}
        uses |= {("tf.function", a.spec.dtype): None for a in (*graph.inputs, *graph.outputs)}
        for op, dtype in uses:
            if dtype.name not in DTYPES:
                raise UnimplementedError(op, f"backend wasm cannot compute {dtype}",
                                         HINTS.get(dtype.name, DEFAULT_HINT))

    def ensure_arena(self, size: int) -> int:
        """Return the address of an arena of at least `size` bytes. One program runs at a time, so
        all programs share one arena."""
        if size > self.arena.size:
            self.arena = Buffer(self, 1)       # frees the old arena, whose memory can be reused
            self.arena = Buffer(self, size)
        return self.arena.address

    def counters(self) -> dict[str, int]:
        return {
            "host_calls": self.host.calls,
            "programs": self.programs_run,
            "kernels": self.kernels_run,
            "compiled": self.compiled,
        }

    def device_details(self) -> dict[str, Any]:
        return {}


class Program:
    """A loaded program, with its argument block and its constants in the linear memory."""

    dispatches = None

    def __init__(self, compiled: CompiledProgram, backend: Wasm):
        self.compiled, self.backend = compiled, backend
        host = backend.host
        self.constants = [backend.upload_bytes(c) for c in compiled.constants]
        self.constant_addresses = [c.address for c in self.constants]
        # Each output's size and the input whose buffer it may reuse, or None.
        self.output_allocations = [(size, compiled.input_output_aliases.get(i))
                                   for i, size in enumerate(compiled.output_sizes)]
        # Each thread advances the rotating slots in its own copy of the argument block.
        blocks = 1 + backend.threads if compiled.rotating_slots else 1
        words = compiled.slots + compiled.table_words
        self.argument_block = Buffer(backend, blocks * block_size(words))
        self.arena_address: int | None = None              # the one in the argument block
        self.id = host.load(compiled.module) if compiled.module else None
        # A program without parallel kernels does not wake the other threads.
        self.threads = backend.threads if compiled.is_parallel else 1
        if self.id is not None:
            weakref.finalize(self, host.unload, self.id)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        """Run the program with one host call. An updated input that is not aliased is written in
        place."""
        backend, compiled = self.backend, self.compiled
        with backend.lock:
            outputs = [Buffer(backend, size) if i is None or inputs[i].aliased else inputs[i]
                       for size, i in self.output_allocations]
            if self.id is None:
                return outputs
            words = [b.address for b in inputs]
            words += self.constant_addresses
            words += [b.address for b in outputs]
            arena = backend.arena
            if arena.address != self.arena_address or arena.size < compiled.arena_size:
                self._write_arena_address()
            backend.host.run(self.id, self.argument_block.address, *words)
            backend.programs_run += 1
            backend.kernels_run += compiled.kernel_count
        return outputs

    def _write_arena_address(self) -> None:
        """Write the words before the slots, which change only if the arena moves."""
        self.arena_address = self.backend.ensure_arena(self.compiled.arena_size)
        words = self.arena_address.to_bytes(4, "little") + self.threads.to_bytes(4, "little")
        self.backend.host.write(self.argument_block.address, words)


def create() -> Wasm:
    """Create the backend on this platform's host: the page under Emscripten, else wasmtime."""
    in_page = sys.platform == "emscripten"
    host = importlib.import_module(".host_page" if in_page else ".host_wasmtime", __name__)
    threads = os.environ.get("TENSORBROOK_THREADS")
    return Wasm(host.Host(int(threads) if threads else None))
