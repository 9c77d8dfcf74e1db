"""Heap allocator: free lists over the linear memory, for tensor buffers, arenas and constants."""
import gc
import threading
from bisect import bisect_left, insort
from collections import defaultdict

from ...base.errors import ResourceExhaustedError
from ...ir import align_up
from .host import MAX_PAGES, PAGE_BYTES, Host

MAX_SMALL_BYTES = 1 << 16         # blocks up to this size have a free list per size


class HeapAllocator:
    """Allocates blocks of complete cache lines. A small block is freed to the free list of its
    size; a large one is coalesced with free neighbors and allocated by best fit.

    `free` only queues a block, and the next allocation drains the queue: a finalizer can call
    `free` at any time, also during an allocation or on another thread."""

    def __init__(self, host: Host):
        self.host = host
        self.end = self.memory_size = align_up(host.heap_base)
        self._small_blocks: dict[int, list[int]] = defaultdict(list)
        self._by_size: list[tuple[int, int]] = []         # (size, address), sorted
        self._by_begin: dict[int, int] = {}               # address -> size
        self._by_end: dict[int, int] = {}                 # end -> address
        self._freed: list[tuple[int, int]] = []           # (address, size), not yet drained
        self._lock = threading.RLock()
        self._in_use = 0
        self.peak = 0                                     # the maximum of in_use

    @property
    def in_use(self) -> int:
        """Return the number of allocated bytes."""
        with self._lock:
            self._drain_freed()
            return self._in_use

    def allocate(self, size: int) -> tuple[int, int]:
        """Return (address, size) of a new block of at least `size` bytes."""
        size = align_up(size or 1)
        if (address := self._try_allocate(size)) is None:
            gc.collect()                     # frees buffers in reference cycles
            address = self._try_allocate(size)
        if address is None:
            raise _too_large(size, self.in_use)
        return address, size

    def free(self, address: int, size: int) -> None:
        """Free a block; the arguments are the result of `allocate`."""
        self._freed.append((address, size))

    def _drain_freed(self) -> None:
        """Move the queued blocks to the free lists."""
        while self._freed:
            address, size = self._freed.pop()
            self._in_use -= size
            if size <= MAX_SMALL_BYTES:
                self._small_blocks[size].append(address)
            else:
                self._coalesce(address, size)

    def _coalesce(self, address: int, size: int) -> None:
        """Free a large block and merge it with its free neighbors."""
        if (previous := self._by_end.get(address)) is not None:
            size += self._by_begin[previous]
            self._unindex_block(previous)
            address = previous
        if address + size in self._by_begin:
            following = address + size
            size += self._by_begin[following]
            self._unindex_block(following)
        if address + size == self.end:
            self.end = address
        else:
            self._index_block(address, size)

    def _try_allocate(self, size: int) -> int | None:
        """Return the address of a block, or None if memory is exhausted."""
        with self._lock:
            if self._freed:
                self._drain_freed()
            blocks = self._small_blocks.get(size)
            address = blocks.pop() if blocks else self._best_fit(size) or self._bump(size)
            self._in_use += 0 if address is None else size
            if self._in_use > self.peak:
                self.peak = self._in_use
            return address

    def _best_fit(self, size: int) -> int | None:
        """Allocate from the smallest free large block that fits, or return None."""
        if size <= MAX_SMALL_BYTES:
            return None
        i = bisect_left(self._by_size, (size, 0))
        return self._split_block(self._by_size[i], size) if i < len(self._by_size) else None

    def _split_block(self, block: tuple[int, int], size: int) -> int:
        block_size, address = block
        self._unindex_block(address)
        if block_size > size:
            self._index_block(address + size, block_size - size)
        return address

    def _bump(self, size: int) -> int | None:
        """Allocate at the end of the heap and grow the memory if necessary."""
        address, end = self.end, self.end + size
        if end > self.memory_size and not self._grow(end):
            return None
        self.end = end
        return address

    def _grow(self, minimum: int) -> bool:
        # Growing by half keeps growth rare; if that fails, grow by as little as possible.
        maximum = MAX_PAGES * PAGE_BYTES
        preferred = min(max(minimum, self.memory_size + self.memory_size // 2), maximum)
        for target in (preferred, minimum) if minimum <= maximum else ():
            try:
                self.host.grow(target)
            except MemoryError:
                continue
            self.memory_size = target
            return True
        return False

    def _index_block(self, address: int, size: int) -> None:
        insort(self._by_size, (size, address))
        self._by_begin[address], self._by_end[address + size] = size, address

    def _unindex_block(self, address: int) -> None:
        size = self._by_begin.pop(address)
        del self._by_end[address + size]
        del self._by_size[bisect_left(self._by_size, (size, address))]


def _too_large(size: int, in_use: int) -> ResourceExhaustedError:
    return ResourceExhaustedError(
        "memory",
        f"a buffer of {size / 2**20:.0f} MB does not fit with {in_use / 2**20:.0f} MB in use "
        "(the limit is 4096 MB)",
        "use a smaller batch or model",
    )
