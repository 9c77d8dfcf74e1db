"""The CPU backend: a WebAssembly module for each program, and one call to run it, on every host."""
import importlib
import os
import sys
import threading
import weakref

from ...base.errors import UnimplementedError
from ...base.hostdata import HostData
from ...ir import Limits, Plan
from .host import SLOTS, WORD, Host
from .memory import Memory
from .program import render

DTYPES = ("bool", "uint8", "int32", "float32")


class Buffer:
    """A block of the linear memory as a Storage; it goes back when nobody holds it."""

    __slots__ = ("address", "capacity", "size", "shared", "backend", "__weakref__")

    def __init__(self, backend: "Wasm", size: int):
        self.capacity = 0                                  # until there is memory to give back
        self.size, self.shared, self.backend = size, False, backend
        self.address, self.capacity = backend.memory.take(size)

    def read(self) -> bytes:
        return self.backend.host.read(self.address, self.size)

    def __del__(self, ending=sys.is_finalizing):
        # At the end of the process modules are taken apart, and the memory goes as a whole.
        if self.capacity and not ending():
            self.backend.memory.give_back(self.address, self.capacity)


class Wasm:
    name = "wasm"
    limits = Limits()

    def __init__(self, host: Host):
        self.host, self.memory, self.threads = host, Memory(host), host.threads
        self.arena = Buffer(self, 1)
        self.lock = threading.RLock()                      # held by the program that runs
        self.programs_run = self.kernels_run = 0

    def put(self, data: HostData) -> Buffer:
        view = memoryview(data.data)
        buffer = Buffer(self, view.nbytes)
        if view.nbytes:
            self.host.write(buffer.address, view)
        return buffer

    def load(self, plan: Plan) -> "Program":
        graph = plan.graph
        uses = [(e.prim.name, a.spec.dtype) for e in graph.eqns for a in (*e.args, *e.outs)]
        uses += [("tf.function", a.spec.dtype) for a in (*graph.inputs, *graph.outputs)]
        for user, dtype in uses:
            if dtype.name not in DTYPES:
                raise UnimplementedError(
                    user,
                    f"backend wasm cannot compute {dtype}",
                    'use tf.cast to float32, or tf.config.set_backend("reference")',
                )
        return Program(plan, self)

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
        }


class Program:
    """A plan as a loaded module, with its block of arguments and its constants in memory."""

    def __init__(self, plan: Plan, backend: Wasm):
        self.plan, self.backend = plan, backend
        host = backend.host
        self.constants = [
            backend.put(HostData(c.value, c.spec.shape, c.spec.dtype)) for c in plan.constants
        ]
        slots = len(plan.inputs) + len(plan.constants) + len(plan.outputs)
        self.block = Buffer(backend, WORD * (SLOTS + slots))
        self.arena: int | None = None
        self.id = (
            host.load(render(plan, relaxed=host.relaxed, shared=host.shared))
            if plan.steps
            else None
        )
        self.sizes = [o.spec.size_bytes for o in plan.outputs]
        # Where no kernel is shared there is nothing to wake the other threads for.
        self.threads = backend.threads if any(step.split for step in plan.steps) else 1
        if self.id is not None:
            weakref.finalize(self, host.unload, self.id)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        """One call of the host. What updates an input is written over it if nobody else looks."""
        backend, updates = self.backend, self.plan.updates
        outputs = [inputs[updates[i]] if i in updates and not inputs[updates[i]].shared
                   else Buffer(backend, size) for i, size in enumerate(self.sizes)]
        if self.id is None:
            return outputs
        words = [b.address for b in (*inputs, *self.constants, *outputs)]
        with backend.lock:
            self._prepare()
            backend.host.run(self.id, self.block.address, *words)
            backend.programs_run += 1
            backend.kernels_run += len(self.plan.steps)
        return outputs

    def _prepare(self) -> None:
        """Keep the words before the slots right: they change only when the arena grows."""
        arena = self.backend.arena_of(self.plan.arena_size)
        if arena != self.arena:
            words = arena.to_bytes(4, "little") + self.threads.to_bytes(4, "little")
            self.backend.host.write(self.block.address, words)
            self.arena = arena


def create() -> Wasm:
    """The backend on this machine's host: the page under Emscripten, wasmtime elsewhere."""
    in_page = sys.platform == "emscripten"
    host = importlib.import_module(".host_page" if in_page else ".host_wasmtime", __name__)
    asked = os.environ.get("TENSORBROOK_THREADS")
    return Wasm(host.Host(int(asked) if asked else None))
