"""Other backends as a host of the GPU's programs: what carries them out when there is no such GPU
left. It may be the CPU, or a GPU of another kind, for which each program is compiled anew."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from math import prod

from ... import backends
from ...base.host_array import HostArray
from ...ir import Graph, TensorSpec
from .. import Program, Storage
from .element_layout import to_host_layout, to_device_layout
from .device_info import DeviceInfo
from .host import no_op, BufferCopies


class FallbackHost:
    """See host.py; `load` takes the graph of a program and the slot of its first output. A buffer
    is the bytes that were written to it, or a storage of the other backend and its dtype."""

    calls = submits = dispatches = pipelines = 0
    program_cache = None

    def __init__(self, device_info: DeviceInfo, device: str):
        self.device_info, self.device = device_info, device          # "CPU", or "GPU" for one of another kind
        self.name = {"CPU": "the CPU", "GPU": "a GPU of another kind"}[device]
        self._numbers = count(1)
        self.reopen_device()

    def reopen_device(self) -> None:
        """Begin with nothing."""
        self._buffers: dict[int, bytes | tuple[Storage, str]] = {}
        # Of each program: its graph, itself once it is needed, and the slot of its first output.
        self._programs: dict[int, tuple[Graph, list[Program], int]] = {}

    def new(self, size: int) -> int:
        number = next(self._numbers)
        self._buffers[number] = b""
        return number

    def free(self, buffer: int) -> None:
        del self._buffers[buffer]

    def forget(self, buffer: int) -> None:
        """Let go of what it holds."""
        self._buffers[buffer] = b""

    def write(self, buffer: int, data) -> None:
        self._buffers[buffer] = bytes(data)

    def read_many(self, which) -> list[bytes]:
        return [self._bytes(buffer)[:size].ljust(size, b"\0") for buffer, size in which]

    def _bytes(self, buffer: int) -> bytes:
        held = self._buffers[buffer]
        return held if isinstance(held, bytes) else bytes(to_device_layout(held[0].read(), held[1]))

    def load(self, graph: Graph | None, first_output: int) -> int:
        assert graph is not None, "another backend needs to know what a program means"
        number = next(self._numbers)
        self._programs[number] = graph, [], first_output
        return number

    def unload(self, program: int) -> None:
        del self._programs[program]

    def wait_for_queue_space(self) -> None:
        """Nothing: a run is done when its call is."""

    def run(self, program: int, buffers: Sequence[int], copies: BufferCopies = (),
            on_submit: Callable[[], object] = no_op) -> None:
        for source, target, _ in copies:
            held = self._buffers[source]
            if not isinstance(held, bytes):
                held[0].aliased = True
            self._buffers[target] = held
        (_, *slots), (graph, compiled, first_output) = buffers, self._programs[program]
        if not compiled:
            assert backends.load_on_fallback is not None, "there is somewhere else to go"
            compiled.append(backends.load_on_fallback(graph, self.device))
        inputs = [self._storage(n, var.spec, compiled[0]) for n, var in zip(slots, graph.inputs)]
        written = slots[first_output:]
        for number, storage in zip(slots, inputs):
            if number not in written:
                storage.aliased = True            # the other's plan may update more in place
        outs = compiled[0].run(inputs)
        for number, var, out in zip(written, graph.outputs, outs):
            self._buffers[number] = out, var.spec.dtype.name
        on_submit()

    def _storage(self, buffer: int, spec: TensorSpec, reader: Program) -> Storage:
        """A buffer as the input of a program."""
        held = self._buffers[buffer]
        if isinstance(held, bytes):
            dtype, size = spec.dtype, prod(spec.shape)
            data = to_host_layout(held.ljust(4 * size, b"\0"), dtype.name, size)
            held = reader.backend.upload(HostArray(data, spec.shape, dtype)), dtype.name
        elif held[0].backend is not reader.backend:
            data = HostArray(held[0].read(), spec.shape, spec.dtype)
            held = reader.backend.upload(data), held[1]
        self._buffers[buffer] = held
        return held[0]

    def close(self) -> None:
        """Nothing: the other backend goes on."""
