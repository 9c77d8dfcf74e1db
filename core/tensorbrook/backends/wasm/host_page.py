"""The engine in a page, as web/runtime/page_module.ts offers it to Python."""

from __future__ import annotations

import tensorbrook_page as page  # pyright: ignore[reportMissingImports]

from ..page_program_cache import PageProgramCache


class Host:
    """Threads, memory and programs of this page's engine, which ends with the page."""

    def __init__(self, threads: int | None = None):
        """The page has started its threads already; asking for another number is a mistake."""
        if threads not in (None, page.threads):
            raise ValueError(f"threads: this page runs on {page.threads}, not {threads}; "
                             "choose when it starts, with ?threads= or tensorbrook run --threads")
        self.threads: int = page.threads
        self.relaxed: bool = page.relaxed
        self.shared: bool = page.shared
        self.heap_base: int = page.heapBase
        # Bound once: looking a method up on the module costs five times the call.
        self.run = page.run
        self.load = page.load
        self.unload = page.unload
        self.program_cache = PageProgramCache()
        self._view = page.view
        self._grow = page.grow

    @property
    def calls(self) -> int:
        """Host calls made so far: runs, loads, reads and writes."""
        return page.calls()

    def grow(self, size_bytes: int) -> None:
        """Make the memory at least that long."""
        if not self._grow(size_bytes):
            raise MemoryError(f"the page has no {size_bytes / 2**20:.0f} MB of memory for tensors; "
                              "make the model or the batch smaller")

    def write(self, address: int, data) -> None:
        """Copy any C-contiguous buffer into memory."""
        source = memoryview(data)
        if source.nbytes:
            self._view(address, source.nbytes).assign(source.cast("B"))

    def read(self, address: int, size: int) -> bytes:
        """A copy of some of the memory."""
        return self._view(address, size).to_bytes()

    def close(self) -> None:
        """Nothing: the engine's threads end with the worker."""
