"""The CPU backend: a WebAssembly module for each program, and one call to run it, on every host."""
import importlib
import os
import sys
import threading
import weakref
from typing import Any

from ...base.errors import UnimplementedError
from ...base.hostdata import HostData
from ...ir import Graph, Limits, Plan, digest, every_equation
from ..profile import Profile
from .host import Host
from .image import Image, image_of
from .memory import Memory
from .program import TAKE_EPILOGUES, block_size

DTYPES = ("bool", "uint8", "int32", "float32")
WAY_OUT = 'use tf.cast to float32, or tf.config.set_backend("reference")'
WAYS_OUT = {"float16": "make it float32 with tf.constant(array, tf.float32), leave layers the "
                       'policy "float32", or compute on a GPU: tf.config.set_backend("webgpu")'}


# Training steps with 0, 1 and 4 (wasmtime 50, two threads, 2026-11): the GPT of the benchmarks
# takes 66.2, 64.8 and 64.2 ms, with 71, 50 and 37 MB between its kernels; that of examples/ 24.7,
# 24.2 and 24.2 ms (lower quartiles), with 20.9, 16.2 and 15.5 MB; the other networks the same time.
OPERATIONS_PER_BYTE = 4


class Buffer:
    """A block of the linear memory as a Storage; it goes back when nobody holds it."""

    __slots__ = ("address", "capacity", "size", "shared", "backend", "__weakref__")

    def __init__(self, backend: "Wasm", size: int):
        self.size, self.shared, self.backend = size, False, backend
        self.address, self.capacity = backend.memory.take(size)

    def read(self) -> bytes:
        return self.backend.host.read(self.address, self.size)

    def __del__(self, ending=sys.is_finalizing):
        # At the end of the process modules are taken apart, and the memory goes as a whole. Nor is
        # there any to give back where an error came before it.
        if hasattr(self, "capacity") and not ending():
            self.backend.memory.give_back(self.address, self.capacity)


class Wasm:
    name, device = "wasm", "CPU"
    lost = False
    limits = Limits(epilogues=TAKE_EPILOGUES, operations_per_byte=OPERATIONS_PER_BYTE)
    profile: Profile | None = None       # of all, while they are profiled

    def __init__(self, host: Host):
        self.host, self.memory, self.threads = host, Memory(host), host.threads
        self.arena = Buffer(self, 1)
        self.lock = threading.RLock()                      # held by the program that runs
        self.programs_run = self.kernels_run = self.compiled = 0

    def put(self, data: HostData) -> Buffer:
        return self.put_bytes(data.data)

    def put_bytes(self, data) -> Buffer:
        view = memoryview(data)
        buffer = Buffer(self, view.nbytes)
        if view.nbytes:
            self.host.write(buffer.address, view)
        return buffer

    def read_many(self, storages) -> list[bytes]:
        return [storage.read() for storage in storages]

    def recall(self, graph: Graph) -> "Program | None":
        """The program of a graph that this host has kept."""
        if self.host.kept is None or self.profile: return None
        image = self.host.kept.get(self._key(graph))
        return None if image is None else Program(Image.from_bytes(image), self)

    def _key(self, graph: Graph) -> str:
        """What an image depends on, but for the version of the compiler, which the host knows."""
        return f"{digest(graph)}-{self.host.relaxed:d}{self.host.shared:d}"

    def load(self, plan: Plan) -> "Program":
        self._demand_dtypes(plan.graph)
        self.compiled += 1
        if self.profile:
            return self.profile.program(plan, self)
        image = image_of(plan, self.host.relaxed, self.host.shared)
        program = Program(image, self)
        if self.host.kept is not None:
            self.host.kept.put(self._key(plan.graph), image.to_bytes())
        return program

    @staticmethod
    def _demand_dtypes(graph: Graph) -> None:
        uses = [(e.prim.name, a.spec.dtype) for e in every_equation(graph)
                for a in (*e.args, *e.outs)]
        uses += [("tf.function", a.spec.dtype) for a in (*graph.inputs, *graph.outputs)]
        for user, dtype in uses:
            if dtype.name not in DTYPES:
                raise UnimplementedError(user, f"backend wasm cannot compute {dtype}",
                                         WAYS_OUT.get(dtype.name, WAY_OUT))

    def arena_of(self, size: int) -> int:
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

    def details(self) -> dict[str, Any]:
        return {}


class Program:
    """An image, loaded, with its block of arguments and its constants in memory."""

    dispatches = None

    def __init__(self, image: Image, backend: Wasm):
        self.image, self.backend = image, backend
        host = backend.host
        self.constants = [backend.put_bytes(c) for c in image.constants]
        self.addresses = [c.address for c in self.constants]
        self.results = [(size, image.updates.get(i)) for i, size in enumerate(image.sizes)]
        # What moves from turn to turn of a loop has its address in a block of each thread's own.
        blocks = 1 + backend.threads if image.moving else 1
        self.block = Buffer(backend, blocks * block_size(image.slots))
        self.arena: int | None = None                      # the one that its block names
        self.id = host.load(image.module) if image.module else None
        # Where no kernel is shared there is nothing to wake the other threads for.
        self.threads = backend.threads if image.split else 1
        if self.id is not None:
            weakref.finalize(self, host.unload, self.id)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        """One call of the host. What updates an input is written over it if nobody else looks."""
        backend, image = self.backend, self.image
        outputs = [Buffer(backend, size) if old is None or inputs[old].shared else inputs[old]
                   for size, old in self.results]
        if self.id is None:
            return outputs
        words = [b.address for b in inputs]
        words += self.addresses
        words += [b.address for b in outputs]
        with backend.lock:
            if backend.arena.address != self.arena or backend.arena.size < image.arena_size:
                self._name_arena()
            backend.host.run(self.id, self.block.address, *words)
            backend.programs_run += 1
            backend.kernels_run += image.kernels
        return outputs

    def _name_arena(self) -> None:
        """Write the words before the slots: they change only when the arena does."""
        self.arena = self.backend.arena_of(self.image.arena_size)
        words = self.arena.to_bytes(4, "little") + self.threads.to_bytes(4, "little")
        self.backend.host.write(self.block.address, words)


def create() -> Wasm:
    """The backend on this machine's host: the page under Emscripten, wasmtime elsewhere."""
    in_page = sys.platform == "emscripten"
    host = importlib.import_module(".host_page" if in_page else ".host_wasmtime", __name__)
    asked = os.environ.get("TENSORBROOK_THREADS")
    return Wasm(host.Host(int(asked) if asked else None))
