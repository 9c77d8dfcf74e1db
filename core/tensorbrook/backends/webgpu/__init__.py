"""WebGPU backend: compile a Plan to WGSL shaders and one command buffer, on every host."""
from __future__ import annotations

import importlib
import sys
import weakref
from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

from ... import backends
from ...base.errors import UnavailableError, UnimplementedError
from ...base.host_array import HostArray
from ...ir import Graph, Plan, TargetInfo, align_up, digest, walk_equations
from ..profiling import Profile
from .buffer_pool import BufferPool
from .command_builder import compile_plan
from .compiled_program import CompiledProgram
from .device_info import DeviceInfo
from .device_recovery import RecoverableHost
from .element_layout import (BYTE_DTYPES, WORD, device_bytes, host_bytes, to_device_layout,
                             to_host_layout)
from .host import Host
from .shader_dispatch import WGSL_TYPES

KERNELS_WITH_EPILOGUE = frozenset({"gemm", "conv2d", "conv2d_input_grad", "conv2d_filter_grad"})
# Kernels with float16 templates. The operands of every other kernel are cast to float32
# (compiler/float16_lowering.py).
FLOAT16_KERNELS = KERNELS_WITH_EPILOGUE | {
    "gather", "max_pool", "max_pool_select", "max_pool_scatter", "avg_pool", "avg_pool_grad",
    "attention", "attention_masked", "attention_grad", "attention_grad_masked"}
# Kernels with templates that include include/operand_load.wgsl, and the finite checks, which become
# stores of loops (compiler/finite_checks.py).
CASTING_KERNELS = KERNELS_WITH_EPILOGUE | {"all_finite"}
# Of a laptop's GPU of 2020 (the rates of compiler/cost_model.py): 900 G operations/s over 60 GB/s.
# Larger GPUs have a higher ratio.
OPERATIONS_PER_BYTE = 15


def target_info(device_info: DeviceInfo) -> TargetInfo:
    """Return the compiler's description of a device."""
    return TargetInfo(
        max_buffers_per_kernel=device_info.storage_buffers,
        kernels_with_epilogue=KERNELS_WITH_EPILOGUE, materializes_epilogue_input=False,
        float16_kernels=FLOAT16_KERNELS if device_info.f16 else None,
        kernels_casting_operands=CASTING_KERNELS if device_info.f16 else frozenset(),
        buffer_alignment=max(64, device_info.offset_alignment),
        element_bytes_override=dict.fromkeys(BYTE_DTYPES, WORD), alias_needs_same_dtype=True,
        remat_ops_per_byte=OPERATIONS_PER_BYTE)


class Buffer:
    """A device buffer as a Storage; its memory returns to the pool when the object is deleted."""

    __slots__ = ("handle", "capacity", "count", "dtype", "aliased", "backend", "__weakref__")

    def __init__(self, backend: WebGPU, dtype: str, count: int):
        self.dtype, self.count, self.aliased, self.backend = dtype, count, False, backend
        self.handle, self.capacity = backend.memory.acquire(self.size)

    @property
    def size(self) -> int:
        """Bytes on the device, rounded up to whole words."""
        return align_up(self.count * device_bytes(self.dtype), WORD)

    def read(self) -> bytes:
        return self.backend.read_many([self])[0]

    def __del__(self, is_finalizing=sys.is_finalizing):
        # There is no capacity if `acquire` raised.
        if hasattr(self, "capacity") and not is_finalizing():
            self.backend.memory.release(self.handle, self.capacity)


class WebGPU:
    name, device = "webgpu", "GPU"
    threads = 1
    profile: Profile | None = None       # set on the class while programs are profiled

    def __init__(self, host: Host):
        self.host = RecoverableHost(host)
        self.memory = BufferPool(self.host)
        self.target = target_info(host.device_info)
        self.arena = Buffer(self, "int32", 1)
        self.lock = self.host.lock
        self.programs_run = self.compiled = self.bytes_moved = 0
        self.host.unused_buffers = lambda: {*self.memory.idle_handles(), self.arena.handle}
        self.host.on_device_kind_changed = lambda host: backends.replace_backend(
            self, WebGPU(host))

    @property
    def is_lost(self) -> bool:
        """Whether the device is lost for good."""
        return self.host.lost

    def upload(self, data: HostArray) -> Buffer:
        return self.upload_bytes(data.data, data.dtype.name, prod(data.shape))

    def upload_bytes(self, data, dtype: str, count: int) -> Buffer:
        self._require_supported_dtype("constant", dtype)
        buffer = Buffer(self, dtype, count)
        if count:
            self.host.write(buffer.handle, to_device_layout(data, dtype))
        return buffer

    def read_many(self, storages: Sequence[Buffer]) -> list[bytes]:
        contents = self.host.read_many([(s.handle, s.size) for s in storages])
        return [to_host_layout(data, s.dtype, s.count) for data, s in zip(contents, storages)]

    def load_cached(self, graph: Graph) -> Program | None:
        """Return the program of a graph from the host's program cache."""
        if self.profile or not self.host.program_cache:
            return None
        data = self.host.program_cache.get(self._cache_key(graph))
        return None if data is None else Program(CompiledProgram.from_bytes(data), graph, self)

    def _cache_key(self, graph: Graph) -> str:
        """The graph and the device; the host adds the version of the package."""
        return f"{digest(graph)}-{self.host.device_info}"

    def load(self, plan: Plan) -> Program:
        for e in walk_equations(plan.graph):
            for a in (*e.args, *e.outs):
                self._require_supported_dtype(e.prim.name, a.spec.dtype.name)
        for a in (*plan.graph.inputs, *plan.graph.outputs):
            self._require_supported_dtype("tf.function", a.spec.dtype.name)
        self.compiled += 1
        if self.profile:
            return self.profile.program(plan, self)
        compiled = compile_plan(plan, self.host.device_info)
        program = Program(compiled, plan.graph, self)
        if self.host.program_cache is not None:
            self.host.program_cache.put(self._cache_key(plan.graph), compiled.to_bytes())
        return program

    def _require_supported_dtype(self, op: str, dtype: str) -> None:
        is_float16 = dtype == "float16"
        if dtype in WGSL_TYPES and (self.host.device_info.f16 or not is_float16):
            return
        raise UnimplementedError(
            op, "this GPU has no float16 (shader-f16)" if is_float16 else
            f"backend webgpu cannot compute {dtype}",
            'leave layers the policy "float32", and make arrays float32 with '
            "tf.constant(array, tf.float32)" if is_float16 else
            'use tf.cast to float32, or tf.config.set_backend("reference")')

    def ensure_arena(self, size: int) -> int:
        """Return the handle of an arena of at least `size` bytes, which all programs share."""
        if size > self.arena.size:
            # Release the old arena first, so that the allocation can reuse its memory.
            self.arena = Buffer(self, "int32", 1)
            self.arena = Buffer(self, "int32", -(-size // WORD))
        return self.arena.handle

    def counters(self) -> dict[str, int]:
        return {"host_calls": self.host.calls, "programs": self.programs_run,
                "kernels": self.host.dispatches, "compiled": self.compiled,
                "submits": self.host.submits, "pipelines": self.host.pipelines,
                "bytes_moved": self.bytes_moved}

    def device_details(self) -> dict[str, Any]:
        """Return the device's name, and the properties that determine its programs."""
        device_info = self.host.device_info
        return {"device_name": device_info.name, "software": device_info.is_software,
                "float16": device_info.f16, "subgroups": device_info.min_subgroup_size > 0}


class Program:
    """A compiled program, loaded, with its constants on the device."""

    def __init__(self, compiled: CompiledProgram, graph: Graph, backend: WebGPU):
        self.backend = backend
        self.constants = [backend.upload_bytes(data, dtype, len(data) // host_bytes(dtype))
                          for dtype, data in compiled.constants]
        self.constant_handles = [c.handle for c in self.constants]
        self.arena_size, self.bytes_moved = compiled.arena_size, compiled.bytes_moved
        self.dispatches = Counter(compiled.kernel_paths)
        self.results = [(dtype, count, compiled.input_output_aliases.get(i))
                        for i, (dtype, count) in enumerate(compiled.outputs)]
        # Buffers of this program alone: the staging buffer and the timestamps.
        self.private_buffers = [
            Buffer(backend, "int32", size // WORD)
            for size in (compiled.staging_bytes, compiled.timestamp_buffer_bytes) if size]
        self.id = backend.host.load(compiled, graph) if compiled.written_slots else None
        if self.id is not None:
            weakref.finalize(self, backend.host.unload, self.id)

    def run(self, inputs: list[Buffer]) -> list[Buffer]:
        """Run with one host call. An output that updates an input is written in place, or into a
        copy if the input's buffer is aliased."""
        inputs, copies = list(inputs), []
        with self.backend.lock:
            outputs = [self._output(inputs, copies, *result) for result in self.results]
            assert self.id is not None or not copies, "a program that updates an input has steps"
            if self.id is not None:
                self._submit([b.handle for b in inputs], [b.handle for b in outputs], copies)
        return outputs

    def _output(self, inputs: list[Buffer], copies: list, dtype: str, count: int,
                updated: int | None) -> Buffer:
        """The buffer of an output. An input that must not be written is replaced by its copy."""
        if updated is None:
            return Buffer(self.backend, dtype, count)
        if inputs[updated].aliased:
            copy = Buffer(self.backend, dtype, count)
            if count:
                copies.append((inputs[updated].handle, copy.handle, copy.size))
            inputs[updated] = copy
        return inputs[updated]

    def _submit(self, inputs: list[int], outputs: list[int], copies: list) -> None:
        backend, private = self.backend, [b.handle for b in self.private_buffers]
        arena = backend.ensure_arena(self.arena_size)
        buffers = (arena, *inputs, *self.constant_handles, *outputs, *private)
        backend.host.run(self.id, buffers, copies)
        backend.programs_run += 1
        backend.bytes_moved += self.bytes_moved


def create() -> WebGPU:
    """Create the backend on this machine's host: the page under Emscripten, otherwise wgpu."""
    in_page = sys.platform == "emscripten"
    try:
        host = importlib.import_module(".host_page" if in_page else ".host_wgpu", __name__)
    except ModuleNotFoundError as missing:
        if missing.name != "wgpu":
            raise
        raise UnavailableError("backend webgpu", "the package wgpu is not installed",
                               "pip install 'tensorbrook[gpu]'") from None
    return WebGPU(host.Host())
