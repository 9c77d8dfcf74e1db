"""Host interface of the WebGPU backend: buffers by handle, and one call for each run."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .. import ProgramCache
from .device_info import DeviceInfo

# Copies between the beginnings of two buffers: (source, target, bytes).
BufferCopies = Sequence[tuple[int, int, int]]

no_op = bool           # a callable that does nothing


class Host(Protocol):
    """The owner of the device. Sizes are in bytes and multiples of 4; new buffers are zeroed.

    `run` encodes and submits one command buffer, with the copies before the program, and does not
    wait. `buffers` are the arena and the slots. `run` calls `on_submit`, a C function, in the same
    step as the submit, so that no interrupt comes between the two. At most two runs may be in
    flight; `wait_for_queue_space` waits until another one is possible.

    `read_many` returns the contents of (buffer, size) pairs after all earlier commands. The
    contents are of one moment if they are at most readback.MAX_STAGING_BYTES in all. `load` takes
    the `commands` of a CompiledProgram, with timestamps only if the device has a timestamp period.
    Equal shaders share one pipeline.

    After the device is lost, a call raises UnavailableError: sooner or later, but no read returns
    contents of a lost device. `reopen_device` then requests another device, which invalidates all
    handles, and raises UnavailableError if there is none. `load` raises InternalError for a shader
    that the device rejects."""

    device_info: DeviceInfo
    calls: int                       # calls from Python into the host
    submits: int
    dispatches: int
    pipelines: int
    program_cache: ProgramCache | None                # None if nothing outlives the session

    def new(self, size: int) -> int: ...
    def free(self, buffer: int) -> None: ...
    def write(self, buffer: int, data) -> None: ...
    def read_many(self, requests: Sequence[tuple[int, int]]) -> list[bytes]: ...
    def load(self, commands: bytes) -> int: ...
    def unload(self, program: int) -> None: ...
    def wait_for_queue_space(self) -> None: ...
    def run(self, program: int, buffers: Sequence[int], copies: BufferCopies = (),
            on_submit: Callable[[], object] = no_op) -> None: ...
    def reopen_device(self) -> None: ...
    def close(self) -> None: ...
