"""Which bytes of the linear memory are in use: buffers of tensors, arenas, constants."""
import gc
import threading
from bisect import bisect_left, insort
from collections import defaultdict

from ...base.errors import ResourceExhaustedError
from ...ir import align_up
from .host import MAX_PAGES, PAGE_BYTES, Host

SMALL = 1 << 16          # buffers up to this size are kept by size for the next one like them


class HeapAllocator:
    """Hands out blocks of whole cache lines. Small ones come back to a list of their size; large
    ones merge with free neighbours and are cut again, best fit first.

    What comes back is only noted, and sorted in when the next block is taken: a finalizer may give
    back at any moment, in the midst of `take` too, or on another thread."""

    def __init__(self, host: Host):
        self.host = host
        self.end = self.grown = align_up(host.heap_base)
        self._small: dict[int, list[int]] = defaultdict(list)
        self._by_size: list[tuple[int, int]] = []         # (size, address), sorted
        self._by_begin: dict[int, int] = {}               # address -> size
        self._by_end: dict[int, int] = {}                 # end -> address
        self._returned: list[tuple[int, int]] = []        # (address, size), not yet sorted in
        self._lock = threading.RLock()
        self._in_use = 0
        self.peak = 0                                     # the most that were in use at once

    @property
    def in_use(self) -> int:
        """How many bytes are handed out."""
        with self._lock:
            self._drain_freed()
            return self._in_use

    def allocate(self, size: int) -> tuple[int, int]:
        """(address, size) of a block of at least `size` bytes."""
        size = align_up(size or 1)
        if (address := self._try_allocate(size)) is None:
            gc.collect()                     # what waits in reference cycles comes back
            address = self._try_allocate(size)
        if address is None:
            raise _too_large(size, self.in_use)
        return address, size

    def free(self, address: int, size: int) -> None:
        self._returned.append((address, size))

    def _drain_freed(self) -> None:
        """Make what was given back free."""
        while self._returned:
            address, size = self._returned.pop()
            self._in_use -= size
            if size <= SMALL:
                self._small[size].append(address)
            else:
                self._join(address, size)

    def _join(self, address: int, size: int) -> None:
        """Make a block free, in one with its free neighbours."""
        if (before := self._by_end.get(address)) is not None:
            size += self._by_begin[before]
            self._unindex_block(before)
            address = before
        if address + size in self._by_begin:
            after = address + size
            size += self._by_begin[after]
            self._unindex_block(after)
        if address + size == self.end:
            self.end = address
        else:
            self._index_block(address, size)

    def _try_allocate(self, size: int) -> int | None:
        """The address of a block, or None if there is no room for it."""
        with self._lock:
            if self._returned:
                self._drain_freed()
            kept = self._small.get(size)
            address = kept.pop() if kept else self._best_fit(size) or self._bump(size)
            self._in_use += 0 if address is None else size
            if self._in_use > self.peak:
                self.peak = self._in_use
            return address

    def _best_fit(self, size: int) -> int | None:
        """A large block that was in use before."""
        at = bisect_left(self._by_size, (size, 0)) if size > SMALL else len(self._by_size)
        return self._split_block(self._by_size[at], size) if at < len(self._by_size) else None

    def _split_block(self, free: tuple[int, int], size: int) -> int:
        whole, address = free
        self._unindex_block(address)
        if whole > size:
            self._index_block(address + size, whole - size)
        return address

    def _bump(self, size: int) -> int | None:
        """A block at the end, where memory grows if it can."""
        address, end = self.end, self.end + size
        if end > self.grown and not self._grow(end):
            return None
        self.end = end
        return address

    def _grow(self, least: int) -> bool:
        # Half as much again, so that growth stays rare, but no more than there can be.
        most = MAX_PAGES * PAGE_BYTES
        wanted = min(max(least, self.grown + self.grown // 2), most)
        for target in (wanted, least) if least <= most else ():
            try:
                self.host.grow(target)
            except MemoryError:
                continue
            self.grown = target
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
        f"a buffer of {size / 2**20:.0f} MB does not fit beside {in_use / 2**20:.0f} MB in use "
        "(the limit is 4096 MB)",
        "use a smaller batch or model",
    )
