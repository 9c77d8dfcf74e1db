"""What a host of the engine offers: the linear memory, the threads, one call for each run."""

from typing import Protocol

from .. import ProgramCache

MAX_PAGES = 65535          # 64 KiB each; the most that 32-bit addresses reach, less one page
PAGE_BYTES = 65536

# The block of arguments that a program is run with: the address of its arena, how many threads
# run it, then one word for each slot, the address of what goes in or comes out there.
ARENA_WORD, THREADS_WORD, FIRST_SLOT_WORD = 0, 1, 2
WORD_BYTES = 4                   # bytes

# A program's entry in the engine's table of functions, one a thread. What follows a product there
# is set before the product is called.
EPILOGUE = 1


class Host(Protocol):
    """Owns the memory and the engine. Addresses and sizes are in bytes.

    `calls` counts how often Python left for the host: each run, load, write and read is one."""

    threads: int
    relaxed: bool
    shared: bool
    heap_base: int
    calls: int
    program_cache: ProgramCache | None                # None on a host that keeps nothing from session to session

    def grow(self, size_bytes: int) -> None: ...
    def load(self, module: bytes) -> int: ...
    def unload(self, program: int) -> None: ...
    def run(self, program: int, block_address: int, *words: int) -> None: ...
    def write(self, address: int, data) -> None: ...
    def read(self, address: int, size: int) -> bytes: ...
    def close(self) -> None: ...
