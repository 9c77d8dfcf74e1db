"""Fallback host: run the GPU's programs on another backend after the device was lost for good.

The other backend is the CPU, or a GPU of another kind, for which each program is recompiled.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from math import prod

from ... import backends
from ...base.host_array import HostArray
from ...ir import Graph, TensorSpec
from .. import Program, Storage
from .device_info import DeviceInfo
from .element_layout import to_device_layout, to_host_layout
from .host import BufferCopies, no_op


class FallbackHost:
    """A host as in host.py, whose `load` takes a program's graph and the slot of its first output.

    A buffer is the bytes that were written to it, or a storage of the other backend with its
    dtype."""

    calls = submits = dispatches = pipelines = 0
    program_cache = None

    def __init__(self, device_info: DeviceInfo, device: str):
        self.device_info = device_info
        self.device = device                 # "CPU", or "GPU" for a GPU of another kind
        self.name = {"CPU": "the CPU", "GPU": "a GPU of another kind"}[device]
        self._handles = count(1)
        self.reopen_device()

    def reopen_device(self) -> None:
        """Drop all buffers and programs."""
        self._buffers: dict[int, bytes | tuple[Storage, str]] = {}
        # For each program: its graph, the compiled program after its first run, the slot of its
        # first output.
        self._programs: dict[int, tuple[Graph, list[Program], int]] = {}

    def new(self, size: int) -> int:
        handle = next(self._handles)
        self._buffers[handle] = b""
        return handle

    def free(self, buffer: int) -> None:
        del self._buffers[buffer]

    def drop_contents(self, buffer: int) -> None:
        self._buffers[buffer] = b""

    def write(self, buffer: int, data) -> None:
        self._buffers[buffer] = bytes(data)

    def read_many(self, requests) -> list[bytes]:
        return [self._bytes(buffer)[:size].ljust(size, b"\0") for buffer, size in requests]

    def _bytes(self, buffer: int) -> bytes:
        contents = self._buffers[buffer]
        if isinstance(contents, bytes):
            return contents
        storage, dtype = contents
        return bytes(to_device_layout(storage.read(), dtype))

    def load(self, graph: Graph | None, first_output_slot: int) -> int:
        assert graph is not None, "another backend compiles a program from its graph"
        handle = next(self._handles)
        self._programs[handle] = graph, [], first_output_slot
        return handle

    def unload(self, program: int) -> None:
        del self._programs[program]

    def wait_for_queue_space(self) -> None:
        """Do nothing: runs are synchronous."""

    def run(self, program: int, buffers: Sequence[int], copies: BufferCopies = (),
            on_submit: Callable[[], object] = no_op) -> None:
        for source, target, _ in copies:
            contents = self._buffers[source]
            if not isinstance(contents, bytes):
                contents[0].aliased = True
            self._buffers[target] = contents
        (_, *slots), (graph, compiled, first_output_slot) = buffers, self._programs[program]
        if not compiled:
            assert backends.load_on_fallback is not None, "there is a fallback"
            compiled.append(backends.load_on_fallback(graph, self.device))
        inputs = [self._storage(buffer, var.spec, compiled[0])
                  for buffer, var in zip(slots, graph.inputs)]
        outputs = slots[first_output_slot:]
        for buffer, storage in zip(slots, inputs):
            if buffer not in outputs:
                storage.aliased = True       # the other backend's plan may update more in place
        results = compiled[0].run(inputs)
        for buffer, var, result in zip(outputs, graph.outputs, results):
            self._buffers[buffer] = result, var.spec.dtype.name
        on_submit()

    def _storage(self, buffer: int, spec: TensorSpec, program: Program) -> Storage:
        """Return the contents of a buffer as an input of a program."""
        contents = self._buffers[buffer]
        if isinstance(contents, bytes):
            dtype, size = spec.dtype, prod(spec.shape)
            data = to_host_layout(contents.ljust(4 * size, b"\0"), dtype.name, size)
            storage = program.backend.upload(HostArray(data, spec.shape, dtype))
            contents = storage, dtype.name
        elif contents[0].backend is not program.backend:
            data = HostArray(contents[0].read(), spec.shape, spec.dtype)
            contents = program.backend.upload(data), contents[1]
        self._buffers[buffer] = contents
        return contents[0]

    def close(self) -> None:
        """Do nothing: the other backend stays open."""
