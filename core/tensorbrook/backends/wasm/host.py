"""The host interface: the engine's linear memory, its threads, and loading and running modules."""

from typing import Protocol

from .. import ProgramCache

MAX_PAGES = 65535          # 4 GiB, which 32-bit addresses can reach, minus one page
PAGE_BYTES = 65536

# The words of a program's argument block: the address of its arena, the number of threads that run
# it, then the address of the buffer in each slot.
ARENA_WORD, THREADS_WORD, FIRST_SLOT_WORD = 0, 1, 2
WORD_BYTES = 4

# The entry of the engine's function table that holds the epilogue of the next engine kernel. Every
# thread has a separate table.
EPILOGUE = 1


class Host(Protocol):
    """Owns the memory and the engine. Addresses and sizes are in bytes.

    `calls` counts the calls from Python into the host: every run, load, write and read. `relaxed`:
    the engine uses relaxed SIMD; `shared`: its memory is shared. `program_cache` is None on a host
    that does not persist programs between sessions."""

    threads: int
    relaxed: bool
    shared: bool
    heap_base: int
    calls: int
    program_cache: ProgramCache | None

    def grow(self, size_bytes: int) -> None: ...
    def load(self, module: bytes) -> int: ...
    def unload(self, program: int) -> None: ...
    def run(self, program: int, block_address: int, *words: int) -> None: ...
    def write(self, address: int, data) -> None: ...
    def read(self, address: int, size: int) -> bytes: ...
    def close(self) -> None: ...
