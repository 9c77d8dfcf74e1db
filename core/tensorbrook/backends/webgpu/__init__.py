"""The GPU backend: a Plan as WGSL shaders and one command buffer, on every host."""
from __future__ import annotations

import importlib
import sys
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ... import backends
from ...base.errors import UnavailableError, UnimplementedError
from ...base.host_array import HostArray
from ...ir import Graph, TargetInfo, Plan, digest, walk_equations, align_up
from ..profiling import Profile
from .element_layout import BYTE_DTYPES, WORD, device_bytes, host_bytes, to_host_layout, to_device_layout
from .host import Host
from .compiled_program import Image
from .device_recovery import RecoverableHost
from .buffer_pool import BufferPool
from .shader_dispatch import WGSL_TYPES
from .command_builder import image_of

TAKE_EPILOGUES = frozenset({"gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad"})
# Whose templates have float16; what goes into others becomes float32 first (compiler/halves.py).
FLOAT16_KERNELS = TAKE_EPILOGUES | {
    "gather", "max_pool", "max_pool_select", "max_pool_scatter", "avg_pool", "avg_pool_grad",
    "attention", "attention_masked", "attention_grad", "attention_grad_masked"}
# Whose templates include include/operand_load.wgsl, and what becomes marks of loops (compiler/finite.py).
CASTING_KERNELS = TAKE_EPILOGUES | {"all_finite"}
# A laptop's GPU of 2020, the rates of compiler/cost.py: 900 G operations and 60 GB a second. Others
# have more.
OPERATIONS_PER_BYTE = 15


def target_info(device_info) -> TargetInfo:
    """What the compiler must know of a device."""
    return TargetInfo(max_buffers_per_kernel=device_info.storage_buffers, kernels_with_epilogue=TAKE_EPILOGUES, materializes_epilogue_input=False,
                  float16_kernels=FLOAT16_KERNELS if device_info.f16 else None,
                  kernels_casting_operands=CASTING_KERNELS if device_info.f16 else frozenset(),
                  buffer_alignment=max(64, device_info.offset_alignment), element_bytes_override=dict.fromkeys(BYTE_DTYPES, WORD), alias_needs_same_dtype=True,
                  remat_ops_per_byte=OPERATIONS_PER_BYTE)


class Buffer:
    """A buffer of the device as a Storage; it goes back when nobody holds it."""

    __slots__ = ("handle", "capacity", "count", "dtype", "aliased", "backend", "__weakref__")

    def __init__(self, backend: WebGPU, dtype: str, count: int):
        self.dtype, self.count, self.aliased, self.backend = dtype, count, False, backend
        self.handle, self.capacity = backend.memory.acquire(self.size)

    @property
    def size(self) -> int:
        """Bytes on the device, in whole words."""
        return align_up(self.count * device_bytes(self.dtype), WORD)

    def read(self) -> bytes:
        return self.backend.read_many([self])[0]

    def __del__(self, ending=sys.is_finalizing):
        if hasattr(self, "capacity") and not ending():     # else an error has left it without
            self.backend.memory.release(self.handle, self.capacity)


class WebGPU:
    name, device = "webgpu", "GPU"
    threads = 1
    profile: Profile | None = None       # of all, while they are profiled

    def __init__(self, host: Host):
        self.host = RecoverableHost(host)
        self.memory = BufferPool(self.host)
        self.target = target_info(host.device_info)
        self.arena = Buffer(self, "int32", 1)
        self.lock = self.host.lock                         # held by the program that runs
        self.programs_run = self.compiled = self.bytes_moved = 0
        self.host.unused_buffers = lambda: {*self.memory.idle_handles(), self.arena.handle}
        self.host.on_device_kind_changed = lambda host: backends.replace_backend(self, WebGPU(host))

    @property
    def is_lost(self) -> bool:
        """Whether its device is no more."""
        return self.host.lost

    def upload(self, data: HostArray) -> Buffer:
        count = 1
        for n in data.shape:
            count *= n
        return self.put_bytes(data.data, data.dtype.name, count)

    def put_bytes(self, data, dtype: str, count: int) -> Buffer:
        self._demand("constant", dtype)
        buffer = Buffer(self, dtype, count)
        if count:
            self.host.write(buffer.handle, to_device_layout(data, dtype))
        return buffer

    def read_many(self, storages: Sequence[Buffer]) -> list[bytes]:
        there = self.host.read_many([(s.handle, s.size) for s in storages])
        return [to_host_layout(data, s.dtype, s.count) for data, s in zip(there, storages)]

    def load_cached(self, graph: Graph) -> Program | None:
        """The program of a graph that this host has kept."""
        if self.profile:
            return None
        data = self.host.program_cache.get(self._key(graph)) if self.host.program_cache else None
        return None if data is None else Program(Image.from_bytes(data), graph, self)

    def _key(self, graph: Graph) -> str:
        """What an image depends on, but for the version of the compiler, which the host knows."""
        return f"{digest(graph)}-{self.host.device_info}"

    def load(self, plan: Plan) -> Program:
        for e in walk_equations(plan.graph):
            for a in (*e.args, *e.outs):
                self._demand(e.prim.name, a.spec.dtype.name)
        for a in (*plan.graph.inputs, *plan.graph.outputs):
            self._demand("tf.function", a.spec.dtype.name)
        self.compiled += 1
        if self.profile:
            return self.profile.program(plan, self)
        image = image_of(plan, self.host.device_info)
        program = Program(image, plan.graph, self)
        if self.host.program_cache is not None:
            self.host.program_cache.put(self._key(plan.graph), image.to_bytes())
        return program

    def _demand(self, user: str, dtype: str) -> None:
        known = dtype in WGSL_TYPES and (dtype != "float16" or self.host.device_info.f16)
        if not known:
            half = dtype == "float16"
            raise UnimplementedError(
                user, "this GPU has no float16 (shader-f16)" if half else
                f"backend webgpu cannot compute {dtype}",
                'leave layers the policy "float32", and make arrays float32 with '
                "tf.constant(array, tf.float32)" if half else
                'use tf.cast to float32, or tf.config.set_backend("reference")')

    def arena_of(self, size: int) -> int:
        """The number of an arena of that size. Programs run one after the other and share it."""
        if size > self.arena.size:
            self.arena = Buffer(self, "int32", 1)          # the old one's place may serve the new
            self.arena = Buffer(self, "int32", -(-size // 4))
        return self.arena.handle

    def counters(self) -> dict[str, int]:
        return {"host_calls": self.host.calls, "programs": self.programs_run,
                "kernels": self.host.dispatches, "compiled": self.compiled,
                "submits": self.host.submits, "pipelines": self.host.pipelines,
                "bytes_moved": self.bytes_moved}

    def device_details(self) -> dict[str, Any]:
        """The name, whether a processor plays it, and what of it programs are made for."""
        device_info = self.host.device_info
        return {"device_name": device_info.name, "software": device_info.is_software,
                "float16": device_info.f16, "subgroups": device_info.min_subgroup_size > 0}


class Program:
    """An image, loaded, with its constants on the device."""

    def __init__(self, image: Image, graph: Graph, backend: WebGPU):
        self.backend = backend
        self.constants = [backend.put_bytes(c, dtype, len(c) // host_bytes(dtype))
                          for dtype, c in image.constants]
        self.constant_handles = [c.handle for c in self.constants]
        self.updates, self.arena_size = image.updates, image.arena_size
        self.bytes_moved, self.dispatches = image.bytes_moved, Counter(image.kernels)
        self.results = [(dtype, count, image.updates.get(i))
                        for i, (dtype, count) in enumerate(image.outputs)]
        # What nobody else holds: to stage pieces in, and for stamps.
        self.private_buffers = [Buffer(backend, "int32", size // 4) for size in (image.staging, image.stamps)
                    if size]
        self.id = backend.host.load(image, graph) if image.writes else None
        if self.id is not None:
            weakref.finalize(self, backend.host.unload, self.id)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        """One call of the host. What updates an input is written over it, or over a copy of it if
        somebody else looks."""
        backend, inputs = self.backend, list(inputs)
        outputs, copies = [], []
        for dtype, count, old in self.results:
            if old is None:
                outputs.append(Buffer(backend, dtype, count))
                continue
            if inputs[old].aliased:
                copy = Buffer(backend, dtype, count)
                if count:
                    copies.append((inputs[old].handle, copy.handle, copy.size))
                inputs[old] = copy
            outputs.append(inputs[old])
        assert self.id is not None or not copies, "what updates an input is a step"
        if self.id is not None:
            self._call([b.handle for b in inputs], [b.handle for b in outputs], copies)
        return outputs

    def _call(self, inputs: list[int], outputs: list[int], copies: list) -> None:
        backend, own = self.backend, [b.handle for b in self.private_buffers]
        with backend.lock:
            arena = backend.arena_of(self.arena_size)
            places = (arena, *inputs, *self.constant_handles, *outputs, *own)
            backend.host.run(self.id, places, copies)
            backend.programs_run += 1
            backend.bytes_moved += self.bytes_moved


def create() -> WebGPU:
    """The backend on this machine's host: the page under Emscripten, wgpu elsewhere."""
    in_page = sys.platform == "emscripten"
    try:
        host = importlib.import_module(".host_page" if in_page else ".host_wgpu", __name__)
    except ModuleNotFoundError as missing:
        if missing.name != "wgpu":
            raise
        raise UnavailableError("backend webgpu", "the package wgpu is not installed",
                               "pip install 'tensorbrook[gpu]'") from None
    return WebGPU(host.Host())
