"""The host in a page: the engine, through the Python module of web/runtime/page_module.ts."""

from __future__ import annotations

import tensorbrook_page as page  # pyright: ignore[reportMissingImports]

from ..page_program_cache import PageProgramCache


class Host:
    """Threads, memory and programs of the page's engine."""

    def __init__(self, threads: int | None = None):
        """Connect to the engine, whose threads the page has started; `threads` must match."""
        if threads not in (None, page.threads):
            raise ValueError(f"threads: this page runs {page.threads}, not {threads}; set the "
                             "number with ?threads= in its address or tensorbrook run --threads")
        self.threads: int = page.threads
        self.relaxed: bool = page.relaxed
        self.shared: bool = page.shared
        self.heap_base: int = page.heapBase
        # Bound once: a method lookup on the module costs five times as much as the call.
        self.run = page.run
        self.load = page.load
        self.unload = page.unload
        self.program_cache = PageProgramCache()
        self._view = page.view
        self._grow = page.grow

    @property
    def calls(self) -> int:
        """Return the number of runs, loads, reads and writes so far."""
        return page.calls()

    def grow(self, size_bytes: int) -> None:
        """Grow the memory to at least `size_bytes`."""
        if not self._grow(size_bytes):
            raise MemoryError(f"memory: the page cannot provide {size_bytes / 2**20:.0f} MB; "
                              "use a smaller batch or model")

    def write(self, address: int, data) -> None:
        """Copy any C-contiguous buffer into memory."""
        source = memoryview(data)
        if source.nbytes:
            self._view(address, source.nbytes).assign(source.cast("B"))

    def read(self, address: int, size: int) -> bytes:
        """Return a copy of `size` bytes of memory."""
        return self._view(address, size).to_bytes()

    def close(self) -> None:
        """Do nothing: the engine's threads end with the page's worker."""
