"""What a host of the engine offers: the linear memory, the threads, one call for each run."""

from typing import Protocol

MAX_PAGES = 65535          # 64 KiB each; the most that 32-bit addresses reach, less one page
PAGE_BYTES = 65536


class Host(Protocol):
    """Owns the memory and the engine. Addresses and sizes are in bytes.

    `calls` counts how often Python left for the host: each run, load, write and read is one."""

    threads: int
    relaxed: bool
    shared: bool
    heap_base: int
    calls: int

    def grow(self, size_bytes: int) -> None: ...
    def load(self, module: bytes) -> int: ...
    def unload(self, program: int) -> None: ...
    def run(self, program: int, block_address: int, *words: int) -> None: ...
    def write(self, address: int, data) -> None: ...
    def read(self, address: int, size: int) -> bytes: ...
    def close(self) -> None: ...
