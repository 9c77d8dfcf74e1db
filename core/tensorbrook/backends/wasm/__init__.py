"""The CPU backend: a WebAssembly module for each program, and one call to run it, on every host."""
import importlib
import os
import sys
import threading
import weakref
from typing import Any

from ...base.errors import UnimplementedError
from ...base.host_array import HostArray
from ...ir import Graph, TargetInfo, Plan, digest, walk_equations
from ..profiling import Profile
from .host import Host
from .compiled_program import CompiledProgram, compile_plan
from .allocator import HeapAllocator
from .module_codegen import KERNELS_WITH_EPILOGUE, block_size

DTYPES = ("bool", "uint8", "int32", "float32")
DEFAULT_HINT = 'use tf.cast to float32, or tf.config.set_backend("reference")'
HINTS = {"float16": "make it float32 with tf.constant(array, tf.float32), leave layers the "
                       'policy "float32", or compute on a GPU: tf.config.set_backend("webgpu")'}


# Training steps with 0, 1 and 4 (wasmtime 50, two threads, 2026-11): the GPT of the benchmarks
# takes 66.2, 64.8 and 64.2 ms, with 71, 50 and 37 MB between its kernels; that of examples/ 24.7,
# 24.2 and 24.2 ms (lower quartiles), with 20.9, 16.2 and 15.5 MB; the other networks the same time.
OPERATIONS_PER_BYTE = 4


class Buffer:
    """A block of the linear memory as a Storage; it goes back when nobody holds it."""

    __slots__ = ("address", "capacity", "size", "aliased", "backend", "__weakref__")

    def __init__(self, backend: "Wasm", size: int):
        self.size, self.aliased, self.backend = size, False, backend
        self.address, self.capacity = backend.memory.allocate(size)

    def read(self) -> bytes:
        return self.backend.host.read(self.address, self.size)

    def __del__(self, ending=sys.is_finalizing):
        # At the end of the process modules are taken apart, and the memory goes as a whole. Nor is
        # there any to give back where an error came before it.
        if hasattr(self, "capacity") and not ending():
            self.backend.memory.free(self.address, self.capacity)


class Wasm:
    name, device = "wasm", "CPU"
    is_lost = False
    target = TargetInfo(kernels_with_epilogue=KERNELS_WITH_EPILOGUE, remat_ops_per_byte=OPERATIONS_PER_BYTE)
    profile: Profile | None = None       # of all, while they are profiled

    def __init__(self, host: Host):
        self.host, self.memory, self.threads = host, HeapAllocator(host), host.threads
        self.arena = Buffer(self, 1)
        self.lock = threading.RLock()                      # held by the program that runs
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
        return [storage.read() for storage in storages]

    def load_cached(self, graph: Graph) -> "Program | None":
        """The program of a graph that this host has kept."""
        if self.host.program_cache is None or self.profile: return None
        image = self.host.program_cache.get(self._key(graph))
        return None if image is None else Program(CompiledProgram.from_bytes(image), self)

    def _key(self, graph: Graph) -> str:
        """What an image depends on, but for the version of the compiler, which the host knows."""
        return f"{digest(graph)}-{self.host.relaxed:d}{self.host.shared:d}"

    def load(self, plan: Plan) -> "Program":
        self._require_supported_dtypes(plan.graph)
        self.compiled += 1
        if self.profile:
            return self.profile.program(plan, self)
        image = compile_plan(plan, self.host.relaxed, self.host.shared)
        program = Program(image, self)
        if self.host.program_cache is not None:
            self.host.program_cache.put(self._key(plan.graph), image.to_bytes())
        return program

    @staticmethod
    def _require_supported_dtypes(graph: Graph) -> None:
        uses = [(e.prim.name, a.spec.dtype) for e in walk_equations(graph)
                for a in (*e.args, *e.outs)]
        uses += [("tf.function", a.spec.dtype) for a in (*graph.inputs, *graph.outputs)]
        for user, dtype in uses:
            if dtype.name not in DTYPES:
                raise UnimplementedError(user, f"backend wasm cannot compute {dtype}",
                                         HINTS.get(dtype.name, DEFAULT_HINT))

    def ensure_arena(self, size: int) -> int:
        """The address of an arena of that size. One program runs at a time, so all share one."""
        if size > self.arena.size:
            self.arena = Buffer(self, 1)                   # the old one's place may serve the new
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
    """An image, loaded, with its block of arguments and its constants in memory."""

    dispatches = None

    def __init__(self, image: CompiledProgram, backend: Wasm):
        self.image, self.backend = image, backend
        host = backend.host
        self.constants = [backend.upload_bytes(c) for c in image.constants]
        self.addresses = [c.address for c in self.constants]
        self.output_allocations = [(size, image.input_output_aliases.get(i)) for i, size in enumerate(image.sizes)]
        # What moves from turn to turn of a loop has its address in a block of each thread's own.
        blocks = 1 + backend.threads if image.moving else 1
        self.argument_block = Buffer(backend, blocks * block_size(image.slots))
        self.arena: int | None = None                      # the one that its block names
        self.id = host.load(image.module) if image.module else None
        # Where no kernel is shared there is nothing to wake the other threads for.
        self.threads = backend.threads if image.split else 1
        if self.id is not None:
            weakref.finalize(self, host.unload, self.id)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        """One call of the host. What updates an input is written over it if nobody else looks."""
        backend, image = self.backend, self.image
        outputs = [Buffer(backend, size) if old is None or inputs[old].aliased else inputs[old]
                   for size, old in self.output_allocations]
        if self.id is None:
            return outputs
        words = [b.address for b in inputs]
        words += self.addresses
        words += [b.address for b in outputs]
        with backend.lock:
            if backend.arena.address != self.arena or backend.arena.size < image.arena_size:
                self._write_arena_address()
            backend.host.run(self.id, self.argument_block.address, *words)
            backend.programs_run += 1
            backend.kernels_run += image.kernels
        return outputs

    def _write_arena_address(self) -> None:
        """Write the words before the slots: they change only when the arena does."""
        self.arena = self.backend.ensure_arena(self.image.arena_size)
        words = self.arena.to_bytes(4, "little") + self.threads.to_bytes(4, "little")
        self.backend.host.write(self.argument_block.address, words)


def create() -> Wasm:
    """The backend on this machine's host: the page under Emscripten, wasmtime elsewhere."""
    in_page = sys.platform == "emscripten"
    host = importlib.import_module(".host_page" if in_page else ".host_wasmtime", __name__)
    asked = os.environ.get("TENSORBROOK_THREADS")
    return Wasm(host.Host(int(asked) if asked else None))
