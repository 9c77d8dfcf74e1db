"""What a host of the GPU offers: buffers by number, one call for each run."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .. import Kept
from .facts import Facts


class Host(Protocol):
    """Owns the device. Sizes are in bytes and multiples of 4; what a buffer begins with is zero.

    `run(program, arena, *slots)` writes and submits one command buffer and waits for nothing; at
    most two are under way, the third waits for the first. `read` waits for all before it;
    `read_many` tells what several buffers, each with a size, hold at one moment. `load` takes an
    Image's bytes (image.py), one with stamps only where `facts` have ticks. A pipeline is made once
    for each different shader.

    When the device is lost a call raises UnavailableError: sooner or later, but no `read` gives
    what a lost device left. Then `renew` takes another device, and all numbers are void; it raises
    UnavailableError where there is none. A shader that is refused is an InternalError of `load`."""

    facts: Facts
    calls: int                       # how often Python left for the host
    submits: int
    dispatches: int
    pipelines: int
    kept: Kept | None                # None on a host that keeps nothing from session to session

    def new(self, size: int) -> int: ...
    def free(self, buffer: int) -> None: ...
    def write(self, buffer: int, data) -> None: ...
    def read(self, buffer: int, size: int) -> bytes: ...
    def read_many(self, which: Sequence[tuple[int, int]]) -> list[bytes]: ...
    def copy(self, source: int, target: int, size: int) -> None: ...
    def load(self, image: bytes) -> int: ...
    def unload(self, program: int) -> None: ...
    def run(self, program: int, arena: int, *slots: int) -> None: ...
    def renew(self) -> None: ...
    def close(self) -> None: ...
