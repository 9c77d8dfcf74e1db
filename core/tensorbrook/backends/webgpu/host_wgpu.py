"""The device on CPython: wgpu, over Vulkan, Metal or Direct3D 12."""
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
from .readback import Piece, read_back
from .device_info import DeviceInfo
from .host import no_op
from .compiled_program import STAMP, Binding, Commands, Copy, Dispatch
from .device_errors import KERNEL_PREFIX, device_error

# OpenGL has no compute shaders on many machines, and asking for it makes noise.
set_instance_extras(backends=["Vulkan", "Metal", "DX12"])

LIMITS = ("max-storage-buffers-per-shader-stage", "max-storage-buffer-binding-size",
          "max-buffer-size", "max-compute-workgroup-storage-size",
          "max-compute-invocations-per-workgroup", "max-compute-workgroup-size-x",
          "max-compute-workgroup-size-y", "min-storage-buffer-offset-alignment")
FEATURES = ("subgroup", "shader-f16", "timestamp-query")
LEAST_SUBGROUP = 4                       # WebGPU's; wgpu 0.32 does not tell that of an adapter
USAGE = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC | wgpu.BufferUsage.COPY_DST
TO_READ = wgpu.BufferUsage.MAP_READ | wgpu.BufferUsage.COPY_DST
TO_RESOLVE = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC
MOST_QUERIES = 4096                      # of one set (w3.org/TR/webgpu, createQuerySet)
MAX_IN_FLIGHT = 2                            # runs that may wait for the device
MAX_BIND_GROUPS = 8                          # bind groups kept for each dispatch, the latest
MOST_PIPELINES = 4096                    # kept for programs to come: those of a few dozen models


class Host:
    """See host.py."""

    program_cache = None

    def __init__(self):
        self.calls = self.submits = self.dispatches = self.pipelines = 0
        self._numbers = count(1)
        self._open()

    def _open(self) -> None:
        """A device with nothing on it."""
        adapter = _adapter()
        with _translate_errors():
            self.device = adapter.request_device_sync(
                required_features=[f for f in FEATURES if f in adapter.features],
                required_limits={name: adapter.limits[name] for name in LIMITS})
        self.device_info = replace(device_info_of(adapter), timestamp_period_ns=_timestamp_period_ns(self.device))
        self._buffers: dict[int, wgpu.GPUBuffer] = {}
        self._programs: dict[int, _Loaded] = {}
        self._pipelines: dict[tuple, wgpu.GPUComputePipeline] = {}
        self._layouts: dict[tuple, tuple] = {}
        self._under_way: deque = deque()

    def reopen_device(self) -> None:
        self.device.destroy()
        self._open()

    def destroy(self) -> None:
        """Lose the device, as a fault of the machine would."""
        self.device.destroy()

    # ── buffers ──

    def new(self, size: int) -> int:
        self.calls += 1
        if size > self.device_info.buffer_bytes:
            raise MemoryError(f"a buffer of {size} bytes is more than the device takes")
        with _translate_errors():
            buffer = self.device.create_buffer(size=size, usage=USAGE)
        number = next(self._numbers)
        self._buffers[number] = buffer
        return number

    def free(self, buffer: int) -> None:
        self._buffers.pop(buffer).destroy()

    def write(self, buffer: int, data) -> None:
        self.calls += 1
        with _translate_errors():
            self.device.queue.write_buffer(self._buffers[buffer], 0, data)

    def read_many(self, which) -> list[bytes]:
        self.calls += 1
        return read_back(which, self._staged)

    def _staged(self, pieces: list[Piece]) -> bytes:
        ends = list(accumulate((size for _, _, size in pieces), initial=0))
        with _translate_errors():
            staging = self.device.create_buffer(size=ends[-1], usage=TO_READ)
            encoder = self.device.create_command_encoder()
            for (buffer, begin, size), at in zip(pieces, ends):
                encoder.copy_buffer_to_buffer(self._buffers[buffer], begin, staging, at, size)
            self._submit(encoder)
            staging.map_sync(wgpu.MapMode.READ)
            data = bytes(staging.read_mapped())
            staging.destroy()
        return data

    # ── programs ──

    def load(self, commands: bytes) -> int:
        self.calls += 1
        told = Commands.from_bytes(commands)
        number = next(self._numbers)
        with _translate_errors():
            steps = [self._prepare_step(step, told) for step in told.steps]
            stamps = _TimestampQueries(self.device, told.stamps) if told.stamps else None
        self._programs[number] = _Loaded(steps, stamps)
        return number

    def unload(self, program: int) -> None:
        del self._programs[program]

    def wait_for_queue_space(self) -> None:
        while len(self._under_way) >= MAX_IN_FLIGHT:
            lib.wgpuDevicePoll(self.device._internal, True, self._under_way.popleft())

    def run(self, program: int, buffers, copies=(), on_submit=no_op) -> None:
        self.calls += 1
        try:
            self._run(self._programs[program], tuple(buffers), copies, on_submit)
        except wgpu.GPUError as error:
            raise _to_device_error(error) from None

    def _run(self, loaded: _Loaded, numbers: tuple[int, ...], copies, on_submit) -> None:
        passes = loaded.bound.get(numbers) or self._bind(loaded, numbers)
        encoder = self.device.create_command_encoder()
        for source, target, size in copies:
            encoder.copy_buffer_to_buffer(self._buffers[source], 0, self._buffers[target], 0, size)
        for is_copy, steps, stamped in passes:
            if is_copy:
                for step in steps:
                    encoder.copy_buffer_to_buffer(*step)
                continue
            compute = encoder.begin_compute_pass(timestamp_writes=stamped)
            _encode(compute._internal, steps)
            compute.end()
        if loaded.stamps:
            loaded.stamps.tell(encoder, self._buffers[numbers[-1]])
        self.dispatches += loaded.dispatches
        self._under_way.append(self._submit(encoder, on_submit))

    def close(self) -> None:
        self.device.destroy()

    def _submit(self, encoder, on_submit=no_op):
        """Hand the commands over, and call `then`; returns what to wait for. wgpu-native's own
        function gives it, and its promise for the end of work does not work in wgpu 0.32."""
        self.submits += 1
        commands = encoder.finish()
        pointer = ffi.new("WGPUCommandBuffer[]", [commands._internal])
        submit = partial(lib.wgpuQueueSubmitForIndex, self.device.queue._internal, 1, pointer)
        index, _ = map(call, (submit, on_submit))     # one step of Python, which no interrupt divides
        return ffi.new("WGPUSubmissionIndex *", index)

    def _prepare_step(self, step: Dispatch | Copy, told: Commands):
        if isinstance(step, Copy):
            return step
        access = tuple(b.writes for b in step.bindings)
        try:
            pipeline = self._pipeline(told.shaders[step.shader], access)
        except wgpu.GPUError as error:
            raise _to_device_error(error, f"{KERNEL_PREFIX}{told.names[step.shader]!r}: ") from None
        return step, pipeline, self._layout(access)[0]

    def _bind(self, loaded: _Loaded, numbers: tuple[int, ...]) -> list:
        """The steps with what is bound when the buffers are these, passes and copies apart."""
        buffers = [self._buffers[n] for n in numbers]
        made = [self._copy(step, buffers) if isinstance(step, Copy) else
                self._step(at, loaded, step, numbers, buffers)
                for at, step in enumerate(loaded.steps)]
        passes = loaded.stamps.passes(made) if loaded.stamps else [
            (is_copy, [step for _, step in steps], None)
            for is_copy, steps in groupby(made, lambda one: one[0])]
        if len(loaded.bound) >= MAX_BIND_GROUPS:
            loaded.bound.pop(next(iter(loaded.bound)))
        loaded.bound[numbers] = passes
        return passes

    @staticmethod
    def _copy(step: Copy, buffers: list) -> tuple:
        source, target = step.source, step.target
        return True, (buffers[source.buffer], source.offset, buffers[target.buffer], target.offset,
                      source.size)

    def _step(self, at: int, loaded: _Loaded, step: tuple, numbers, buffers) -> tuple:
        dispatch, pipeline, layout = step
        key = tuple(numbers[b.buffer] for b in dispatch.bindings)
        kept = loaded.groups[at]
        if key not in kept:
            if len(kept) >= MAX_BIND_GROUPS:
                kept.pop(next(iter(kept)))
            kept[key] = self.device.create_bind_group(
                layout=layout, entries=[_entry(n, b, buffers[b.buffer])
                                        for n, b in enumerate(dispatch.bindings)])
        # The group itself too, which would go once `kept` lets it.
        return False, (pipeline._internal, kept[key]._internal, dispatch.groups, kept[key])

    def _layout(self, access: tuple[bool, ...]) -> tuple:
        """(layout of the bind group, layout of the pipeline) for what is written of the buffers."""
        if access not in self._layouts:
            kinds = [{"type": "storage" if writes else "read-only-storage"} for writes in access]
            group = self.device.create_bind_group_layout(entries=[
                {"binding": n, "visibility": wgpu.ShaderStage.COMPUTE, "buffer": kind}
                for n, kind in enumerate(kinds)])
            whole = self.device.create_pipeline_layout(bind_group_layouts=[group])
            self._layouts[access] = group, whole
        return self._layouts[access]

    def _pipeline(self, code: str, access: tuple[bool, ...]):
        key = code, access
        if key not in self._pipelines:
            self.pipelines += 1
            if len(self._pipelines) >= MOST_PIPELINES:
                del self._pipelines[next(iter(self._pipelines))]
            self._pipelines[key] = self.device.create_compute_pipeline(
                layout=self._layout(access)[1],
                compute={"module": _module(self.device, code), "entry_point": "main"})
        return self._pipelines[key]


class _Loaded:
    """A program's steps with their pipelines, and the bind groups made for them so far."""

    def __init__(self, steps: list, stamps: _TimestampQueries | None):
        self.steps, self.stamps = steps, stamps
        self.groups: list[dict] = [{} for _ in steps]
        self.bound: dict[tuple[int, ...], list] = {}
        self.dispatches = sum(not isinstance(step, Copy) for step in steps)


class _TimestampQueries:
    """Where a program's stamps are noted, as many sets as it takes of so many as one may hold."""

    def __init__(self, device, size_bytes: int):
        self.size, stamps = size_bytes, size_bytes // STAMP
        self.sets = [(at, device.create_query_set(type="timestamp",
                                                  count=min(MOST_QUERIES, stamps - at)))
                     for at in range(0, stamps, MOST_QUERIES)]
        self.resolved = device.create_buffer(size=size_bytes, usage=TO_RESOLVE)

    def passes(self, made: list[tuple]) -> list[tuple]:
        """The steps, each dispatch a pass that notes when it begins and ends."""
        at = count(step=2)
        return [(is_copy, [step], None if is_copy else self._around(next(at)))
                for is_copy, step in made]

    def _around(self, at: int) -> dict:
        which, first = divmod(at, MOST_QUERIES)
        return {"query_set": self.sets[which][1], "beginning_of_pass_write_index": first,
                "end_of_pass_write_index": first + 1}

    def tell(self, encoder, target) -> None:
        """Write the stamps to a buffer."""
        for at, queries in self.sets:
            encoder.resolve_query_set(queries, 0, queries.count, self.resolved, STAMP * at)
        encoder.copy_buffer_to_buffer(self.resolved, 0, target, 0, self.size)


def _timestamp_period_ns(device) -> float:
    """Of its clock; wgpu-native alone tells, as the standard has nanoseconds everywhere."""
    has_clock = "timestamp-query" in device.features
    return lib.wgpuQueueGetTimestampPeriod(device.queue._internal) if has_clock else 0.0


def _adapter():
    try:
        return wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    except RuntimeError:
        raise UnavailableError("backend webgpu", "this machine has no adapter for WebGPU",
                               "install a Vulkan driver, or compute on wasm") from None


def strip_subgroup_directive(code: str) -> str:
    """A shader as wgpu 0.32 takes it: with subgroups, but not with the standard's line for them."""
    return code.replace("enable subgroups;\n", "")


def _module(device, code: str):
    """A shader module whose loops are not counted: ours end. A product of 512 takes 42 ms on
    lavapipe where they are, and 31 here. That indices stay within buffers is looked after."""
    text = ffi.new("char[]", strip_subgroup_directive(code).encode())
    source = ffi.new("WGPUShaderSourceWGSL *")
    source.chain.sType = lib.WGPUSType_ShaderSourceWGSL
    source.code.data, source.code.length = text, len(text) - 1
    whole = ffi.new("WGPUShaderModuleDescriptor *",
                    {"nextInChain": ffi.cast("WGPUChainedStruct *", source)})
    made = libf.wgpuDeviceCreateShaderModuleTrusted(
        device._internal, whole, lib.WGPUShaderRuntimeChecks_BoundsChecks)
    return GPUShaderModule("", made, device)


def _encode(compute, steps: list) -> None:
    """Write dispatches into a pass by wgpu-native's own functions: 0.7 us a dispatch, where wgpu's
    methods take 2.8 (what is wrong with one shows when the encoder finishes)."""
    set_pipeline = lib.wgpuComputePassEncoderSetPipeline
    set_group = lib.wgpuComputePassEncoderSetBindGroup
    dispatch, null = lib.wgpuComputePassEncoderDispatchWorkgroups, ffi.NULL
    for pipeline, group, (x, y, z), _ in steps:
        set_pipeline(compute, pipeline)
        set_group(compute, 0, group, 0, null)
        dispatch(compute, x, y, z)


@contextmanager
def _translate_errors():
    """Raise wgpu's errors as our own."""
    try:
        yield
    except wgpu.GPUError as error:
        raise _to_device_error(error) from None


def _to_device_error(error: wgpu.GPUError, of: str = "") -> Exception:
    """What wgpu tells in several lines, some of which draw a frame around others."""
    told = str(error).replace("Shader '' ", "")
    lines = [line.strip() for line in told.splitlines()[1:]]
    why = "; ".join(line for line in lines if line and line[0] not in "┌│" and
                    not line.startswith(("Caused by", "In wgpu")))
    if "device is lost" in told or "Device lost" in told:
        return device_error("lost", why)
    if isinstance(error, wgpu.GPUOutOfMemoryError):
        return device_error("memory", why)
    return device_error("validation", of + why)


def _entry(number: int, b: Binding, buffer) -> dict:
    return {"binding": number, "resource": {"buffer": buffer, "offset": b.offset, "size": b.size}}


def device_info_of(adapter) -> DeviceInfo:
    """What the adapter can do, in our words."""
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
        min_subgroup_size=LEAST_SUBGROUP if "subgroup" in features else 0, f16="shader-f16" in features)
