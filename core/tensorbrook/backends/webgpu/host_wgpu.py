"""WebGPU host on CPython: wgpu, over Vulkan, Metal or Direct3D 12."""
from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import accumulate, count, groupby
from operator import call

import wgpu
from wgpu.backends.wgpu_native import GPUShaderModule, ffi, lib
from wgpu.backends.wgpu_native._api import libf
from wgpu.backends.wgpu_native.extras import set_instance_extras

from ...base.errors import UnavailableError
from .compiled_program import TIMESTAMP_BYTES, Binding, Commands, Copy, Dispatch
from .device_errors import KERNEL_PREFIX, device_error
from .device_info import DeviceInfo
from .host import no_op
from .readback import BufferRange, read_back

# Without OpenGL: it has no compute shaders on many machines, and probing it prints warnings.
set_instance_extras(backends=["Vulkan", "Metal", "DX12"])

LIMITS = ("max-storage-buffers-per-shader-stage", "max-storage-buffer-binding-size",
          "max-buffer-size", "max-compute-workgroup-storage-size",
          "max-compute-invocations-per-workgroup", "max-compute-workgroup-size-x",
          "max-compute-workgroup-size-y", "min-storage-buffer-offset-alignment")
FEATURES = ("subgroup", "shader-f16", "timestamp-query")
MIN_SUBGROUP_SIZE = 4                    # of WebGPU; wgpu 0.32 does not report the adapter's
BUFFER_USAGE = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST
READBACK_USAGE = wgpu.BufferUsage.MAP_READ | wgpu.BufferUsage.COPY_DST
RESOLVE_USAGE = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC
MAX_QUERIES_PER_SET = 4096               # w3.org/TR/webgpu, createQuerySet
MAX_IN_FLIGHT = 2                        # runs that the device has not finished
MAX_BIND_GROUPS = 8                      # cached bind groups of a dispatch
MAX_PIPELINES = 4096                     # cached pipelines, of a few dozen models


class Host:
    """See host.py."""

    program_cache = None

    def __init__(self):
        self.calls = self.submits = self.dispatches = self.pipelines = 0
        self._handles = count(1)
        self._open()

    def _open(self) -> None:
        """Request a device, and start without buffers and programs."""
        adapter = _adapter()
        with _translate_errors():
            self.device = adapter.request_device_sync(
                required_features=[f for f in FEATURES if f in adapter.features],
                required_limits={name: adapter.limits[name] for name in LIMITS})
        self.device_info = replace(device_info_of(adapter),
                                   timestamp_period_ns=_timestamp_period_ns(self.device))
        self._buffers: dict[int, wgpu.GPUBuffer] = {}
        self._programs: dict[int, _LoadedProgram] = {}
        self._pipelines: dict[tuple, wgpu.GPUComputePipeline] = {}
        self._layouts: dict[tuple, tuple] = {}
        self._in_flight: deque = deque()

    def reopen_device(self) -> None:
        self.device.destroy()
        self._open()

    def destroy(self) -> None:
        """Destroy the device, to simulate its loss."""
        self.device.destroy()

    # ── buffers ──

    def new(self, size: int) -> int:
        self.calls += 1
        if size > self.device_info.buffer_bytes:
            raise MemoryError(f"a buffer of {size} bytes exceeds the device's limit")
        with _translate_errors():
            buffer = self.device.create_buffer(size=size, usage=BUFFER_USAGE)
        handle = next(self._handles)
        self._buffers[handle] = buffer
        return handle

    def free(self, buffer: int) -> None:
        self._buffers.pop(buffer).destroy()

    def write(self, buffer: int, data) -> None:
        self.calls += 1
        with _translate_errors():
            self.device.queue.write_buffer(self._buffers[buffer], 0, data)

    def read_many(self, requests) -> list[bytes]:
        self.calls += 1
        return read_back(requests, self._read_chunk)

    def _read_chunk(self, ranges: list[BufferRange]) -> bytes:
        *offsets, total = accumulate((size for _, _, size in ranges), initial=0)
        with _translate_errors():
            staging = self.device.create_buffer(size=total, usage=READBACK_USAGE)
            encoder = self.device.create_command_encoder()
            for (buffer, begin, size), offset in zip(ranges, offsets):
                encoder.copy_buffer_to_buffer(self._buffers[buffer], begin, staging, offset, size)
            self._submit(encoder)
            staging.map_sync(wgpu.MapMode.READ)
            data = bytes(staging.read_mapped())
            staging.destroy()
        return data

    # ── programs ──

    def load(self, commands: bytes) -> int:
        self.calls += 1
        parsed = Commands.from_bytes(commands)
        handle = next(self._handles)
        with _translate_errors():
            # Equal steps are one object, which is prepared and bound once.
            prepared = {key: self._prepare_step(step, parsed)
                        for key, step in {id(step): step for step in parsed.steps}.items()}
            steps = [prepared[id(step)] for step in parsed.steps]
            timestamps = _TimestampQueries(self.device, parsed.timestamp_buffer_bytes) \
                if parsed.timestamp_buffer_bytes else None
        self._programs[handle] = _LoadedProgram(steps, timestamps)
        return handle

    def unload(self, program: int) -> None:
        del self._programs[program]

    def wait_for_queue_space(self) -> None:
        while len(self._in_flight) >= MAX_IN_FLIGHT:
            lib.wgpuDevicePoll(self.device._internal, True, self._in_flight.popleft())

    def run(self, program: int, buffers, copies=(), on_submit=no_op) -> None:
        self.calls += 1
        try:
            self._run(self._programs[program], tuple(buffers), copies, on_submit)
        except wgpu.GPUError as error:
            raise _to_device_error(error) from None

    def _run(self, loaded: _LoadedProgram, handles: tuple[int, ...], copies, on_submit) -> None:
        passes = loaded.passes.get(handles) or self._bind(loaded, handles)
        encoder = self.device.create_command_encoder()
        for source, target, size in copies:
            encoder.copy_buffer_to_buffer(self._buffers[source], 0, self._buffers[target], 0, size)
        for is_copy, steps, timestamp_writes in passes:
            if is_copy:
                for step in steps:
                    encoder.copy_buffer_to_buffer(*step)
                continue
            compute = encoder.begin_compute_pass(timestamp_writes=timestamp_writes)
            _encode(compute._internal, steps)
            compute.end()
        if loaded.timestamps:
            loaded.timestamps.resolve(encoder, self._buffers[handles[-1]])
        self.dispatches += loaded.dispatches
        self._in_flight.append(self._submit(encoder, on_submit))

    def close(self) -> None:
        self.device.destroy()

    def _submit(self, encoder, on_submit=no_op):
        """Submit the commands and call `on_submit`; return the index of the submission, to wait
        for. Only wgpu-native's own function returns it; wgpu 0.32's promise for the completion of
        work does not work."""
        self.submits += 1
        commands = encoder.finish()
        pointer = ffi.new("WGPUCommandBuffer[]", [commands._internal])
        submit = partial(lib.wgpuQueueSubmitForIndex, self.device.queue._internal, 1, pointer)
        index, _ = map(call, (submit, on_submit))     # no interrupt can come between the two
        return ffi.new("WGPUSubmissionIndex *", index)

    def _prepare_step(self, step: Dispatch | Copy, commands: Commands):
        """Return a copy unchanged; for a dispatch also its pipeline and bind group layout."""
        if isinstance(step, Copy):
            return step
        access = tuple(b.writes for b in step.bindings)
        try:
            pipeline = self._pipeline(commands.shaders[step.shader], access)
        except wgpu.GPUError as error:
            prefix = f"{KERNEL_PREFIX}{commands.names[step.shader]!r}: "
            raise _to_device_error(error, prefix) from None
        return step, pipeline, self._layout(access)[0]

    def _bind(self, loaded: _LoadedProgram, handles: tuple[int, ...]) -> list:
        """Return and cache the program's passes over the given buffers: (is_copy, steps,
        timestamp writes)."""
        buffers = [self._buffers[handle] for handle in handles]
        bound = {key: self._bind_copy(step, buffers) if isinstance(step, Copy) else
                 self._bind_dispatch(loaded.bind_groups[key], step, handles, buffers)
                 for key, step in loaded.distinct_steps.items()}
        steps = [bound[id(step)] for step in loaded.steps]
        passes = loaded.timestamps.passes(steps) if loaded.timestamps else [
            (is_copy, [step for _, step in group], None)
            for is_copy, group in groupby(steps, lambda step: step[0])]
        if len(loaded.passes) >= MAX_BIND_GROUPS:
            loaded.passes.pop(next(iter(loaded.passes)))
        loaded.passes[handles] = passes
        return passes

    @staticmethod
    def _bind_copy(step: Copy, buffers: list) -> tuple:
        source, target = step.source, step.target
        return True, (buffers[source.buffer], source.offset, buffers[target.buffer], target.offset,
                      source.size)

    def _bind_dispatch(self, groups: dict, step: tuple, handles, buffers) -> tuple:
        dispatch, pipeline, layout = step
        key = tuple(handles[b.buffer] for b in dispatch.bindings)
        if key not in groups:
            if len(groups) >= MAX_BIND_GROUPS:
                groups.pop(next(iter(groups)))
            groups[key] = self.device.create_bind_group(
                layout=layout, entries=[_entry(binding, b, buffers[b.buffer])
                                        for binding, b in enumerate(dispatch.bindings)])
        # The step holds the group itself too, which otherwise dies when `groups` evicts it.
        return False, (pipeline._internal, groups[key]._internal, dispatch.groups, groups[key])

    def _layout(self, access: tuple[bool, ...]) -> tuple:
        """Return (bind group layout, pipeline layout); `access` is which bindings are written."""
        if access not in self._layouts:
            kinds = [{"type": "storage" if writes else "read-only-storage"} for writes in access]
            group = self.device.create_bind_group_layout(entries=[
                {"binding": n, "visibility": wgpu.ShaderStage.COMPUTE, "buffer": kind}
                for n, kind in enumerate(kinds)])
            pipeline = self.device.create_pipeline_layout(bind_group_layouts=[group])
            self._layouts[access] = group, pipeline
        return self._layouts[access]

    def _pipeline(self, code: str, access: tuple[bool, ...]):
        key = code, access
        if key not in self._pipelines:
            self.pipelines += 1
            if len(self._pipelines) >= MAX_PIPELINES:
                del self._pipelines[next(iter(self._pipelines))]
            self._pipelines[key] = self.device.create_compute_pipeline(
                layout=self._layout(access)[1],
                compute={"module": _module(self.device, code), "entry_point": "main"})
        return self._pipelines[key]


class _LoadedProgram:
    """A program's steps with their pipelines, and caches of its bind groups and passes."""

    def __init__(self, steps: list, timestamps: _TimestampQueries | None):
        self.steps, self.timestamps = steps, timestamps
        self.distinct_steps = {id(step): step for step in steps}
        # By the id of the step, then by the handles of its buffers.
        self.bind_groups: dict[int, dict] = {key: {} for key in self.distinct_steps}
        self.passes: dict[tuple[int, ...], list] = {}          # by the handles of all buffers
        self.dispatches = sum(not isinstance(step, Copy) for step in steps)


class _TimestampQueries:
    """The timestamp query sets of a program, of at most MAX_QUERIES_PER_SET queries each."""

    def __init__(self, device, size_bytes: int):
        self.size, num_queries = size_bytes, size_bytes // TIMESTAMP_BYTES
        self.sets = [(first, device.create_query_set(
                         type="timestamp", count=min(MAX_QUERIES_PER_SET, num_queries - first)))
                     for first in range(0, num_queries, MAX_QUERIES_PER_SET)]
        self.resolved = device.create_buffer(size=size_bytes, usage=RESOLVE_USAGE)

    def passes(self, steps: list[tuple]) -> list[tuple]:
        """Make each step a separate pass; dispatches write a timestamp at the begin and the end."""
        query = count(step=2)
        return [(is_copy, [step], None if is_copy else self._timestamp_writes(next(query)))
                for is_copy, step in steps]

    def _timestamp_writes(self, query: int) -> dict:
        query_set, index = divmod(query, MAX_QUERIES_PER_SET)
        return {"query_set": self.sets[query_set][1], "beginning_of_pass_write_index": index,
                "end_of_pass_write_index": index + 1}

    def resolve(self, encoder, target) -> None:
        """Write the timestamps to a buffer."""
        for first, queries in self.sets:
            encoder.resolve_query_set(queries, 0, queries.count, self.resolved,
                                      TIMESTAMP_BYTES * first)
        encoder.copy_buffer_to_buffer(self.resolved, 0, target, 0, self.size)


def _timestamp_period_ns(device) -> float:
    """The period of the device's clock. The standard fixes it to 1 ns; wgpu-native does not."""
    has_clock = "timestamp-query" in device.features
    return lib.wgpuQueueGetTimestampPeriod(device.queue._internal) if has_clock else 0.0


def _adapter():
    try:
        return wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    except RuntimeError:
        raise UnavailableError("backend webgpu", "this machine has no adapter for WebGPU",
                               "install a Vulkan driver, or compute on wasm") from None


def strip_subgroup_directive(code: str) -> str:
    """Remove the standard's directive for subgroups, which wgpu 0.32 rejects; it supports subgroups
    without the directive."""
    return code.replace("enable subgroups;\n", "")


def _module(device, code: str):
    """Create a shader module without checks that loops terminate: ours do. A 512 x 512 product
    takes 42 ms on lavapipe with the checks, and 31 without. Bounds checks of buffers remain."""
    text = ffi.new("char[]", strip_subgroup_directive(code).encode())
    source = ffi.new("WGPUShaderSourceWGSL *")
    source.chain.sType = lib.WGPUSType_ShaderSourceWGSL
    source.code.data, source.code.length = text, len(text) - 1
    descriptor = ffi.new("WGPUShaderModuleDescriptor *",
                         {"nextInChain": ffi.cast("WGPUChainedStruct *", source)})
    module = libf.wgpuDeviceCreateShaderModuleTrusted(
        device._internal, descriptor, lib.WGPUShaderRuntimeChecks_BoundsChecks)
    return GPUShaderModule("", module, device)


def _encode(compute, steps: list) -> None:
    """Encode dispatches with wgpu-native's own functions: 0.7 us a dispatch, where wgpu's methods
    take 2.8. Errors are reported when the encoder finishes."""
    set_pipeline = lib.wgpuComputePassEncoderSetPipeline
    set_group = lib.wgpuComputePassEncoderSetBindGroup
    dispatch, null = lib.wgpuComputePassEncoderDispatchWorkgroups, ffi.NULL
    for pipeline, group, (x, y, z), _ in steps:
        set_pipeline(compute, pipeline)
        set_group(compute, 0, group, 0, null)
        dispatch(compute, x, y, z)


@contextmanager
def _translate_errors():
    """Raise wgpu's errors as device errors."""
    try:
        yield
    except wgpu.GPUError as error:
        raise _to_device_error(error) from None


def _to_device_error(error: wgpu.GPUError, prefix: str = "") -> Exception:
    """Convert an error of wgpu. Its message has several lines, some of which draw a box."""
    message = str(error).replace("Shader '' ", "")
    lines = [line.strip() for line in message.splitlines()[1:]]
    reason = "; ".join(line for line in lines if line and line[0] not in "┌│" and
                       not line.startswith(("Caused by", "In wgpu")))
    if "device is lost" in message or "Device lost" in message:
        return device_error("lost", reason)
    if isinstance(error, wgpu.GPUOutOfMemoryError):
        return device_error("memory", reason)
    return device_error("validation", prefix + reason)


def _entry(binding: int, b: Binding, buffer) -> dict:
    return {"binding": binding, "resource": {"buffer": buffer, "offset": b.offset, "size": b.size}}


def device_info_of(adapter) -> DeviceInfo:
    """Return the device information of an adapter."""
    limits, features, info = adapter.limits, adapter.features, adapter.info
    return DeviceInfo(
        name=info["device"], is_software=info["adapter_type"] == "CPU",
        offset_alignment=limits["min-storage-buffer-offset-alignment"],
        storage_buffers=limits["max-storage-buffers-per-shader-stage"],
        max_workgroups=limits["max-compute-workgroups-per-dimension"],
        max_invocations=limits["max-compute-invocations-per-workgroup"],
        workgroup_bytes=limits["max-compute-workgroup-storage-size"],
        binding_bytes=limits["max-storage-buffer-binding-size"],
        buffer_bytes=limits["max-buffer-size"],
        min_subgroup_size=MIN_SUBGROUP_SIZE if "subgroup" in features else 0,
        f16="shader-f16" in features)
