"""What a host of the GPU offers: buffers by number, one call for each run."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .. import ProgramCache
from .device_info import DeviceInfo


# The first bytes of a buffer that go to another: (source, target, how many).
BufferCopies = Sequence[tuple[int, int, int]]

no_op = bool           # when called, it does that


class Host(Protocol):
    """Owns the device. Sizes are in bytes and multiples of 4; what a buffer begins with is zero.

    `run` writes and submits one command buffer, in which the copies come before the program, and
    waits for nothing; `places` are the arena and the slots. In one go with the submit it calls
    `then`, a C function: no interrupt comes between the two. At most two runs may be under way, and
    `make_room` waits until one more can be.

    `read_many` tells what buffers hold, each with a size, after all that came before: at one moment
    if that is no more than batches.MOST_STAGED bytes. `load` takes the `commands` of an Image, some
    with stamps only where `device_info` have ticks. A pipeline is made once for each different shader.

    When the device is lost a call raises UnavailableError: sooner or later, but no read gives
    what a lost device left. Then `renew` takes another device, and all numbers are void; it raises
    UnavailableError where there is none. A shader that is refused is an InternalError of `load`."""

    device_info: DeviceInfo
    calls: int                       # how often Python left for the host
    submits: int
    dispatches: int
    pipelines: int
    program_cache: ProgramCache | None                # None on a host that keeps nothing from session to session

    def new(self, size: int) -> int: ...
    def free(self, buffer: int) -> None: ...
    def write(self, buffer: int, data) -> None: ...
    def read_many(self, which: Sequence[tuple[int, int]]) -> list[bytes]: ...
    def load(self, commands: bytes) -> int: ...
    def unload(self, program: int) -> None: ...
    def wait_for_queue_space(self) -> None: ...
    def run(self, program: int, buffers: Sequence[int], copies: BufferCopies = (),
            on_submit: Callable[[], object] = no_op) -> None: ...
    def reopen_device(self) -> None: ...
    def close(self) -> None: ...
