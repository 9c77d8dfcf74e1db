"""Which bytes of the linear memory are in use: buffers of tensors, arenas, constants."""
from bisect import bisect_left, insort

from ...base.errors import ResourceExhaustedError
from .host import MAX_PAGES, PAGE_BYTES, Host

ALIGN = 64               # bytes; a cache line, and what the programs assume of every buffer
SMALL = 1 << 16          # buffers up to this size are kept by size for the next one like them


class Memory:
    """Hands out blocks of whole cache lines. Small ones come back to a list of their size; large
    ones merge with free neighbours and are cut again, best fit first."""

    def __init__(self, host: Host):
        self.host = host
        self.end = self.grown = -(-host.heap_base // ALIGN) * ALIGN
        self._small: dict[int, list[int]] = {}
        self._by_size: list[tuple[int, int]] = []         # (size, address), sorted
        self._by_begin: dict[int, int] = {}               # address -> size
        self._by_end: dict[int, int] = {}                 # end -> address
        self.in_use = 0

    def take(self, size: int) -> tuple[int, int]:
        """(address, size) of a block of at least `size` bytes."""
        size = max(-(-size // ALIGN) * ALIGN, ALIGN)
        self.in_use += size
        kept = self._small.get(size)
        if kept:
            return kept.pop(), size
        at = bisect_left(self._by_size, (size, 0)) if size > SMALL else len(self._by_size)
        if at < len(self._by_size):
            return self._cut(self._by_size[at], size), size
        return self._fresh(size), size

    def give_back(self, address: int, size: int) -> None:
        self.in_use -= size
        if size <= SMALL:
            self._small.setdefault(size, []).append(address)
            return
        if (before := self._by_end.get(address)) is not None:
            size += self._by_begin[before]
            self._forget(before)
            address = before
        if address + size in self._by_begin:
            after = address + size
            size += self._by_begin[after]
            self._forget(after)
        if address + size == self.end:
            self.end = address
        else:
            self._remember(address, size)

    def _cut(self, free: tuple[int, int], size: int) -> int:
        whole, address = free
        self._forget(address)
        if whole > size:
            self._remember(address + size, whole - size)
        return address

    def _fresh(self, size: int) -> int:
        address, end = self.end, self.end + size
        if end > self.grown:
            if end > MAX_PAGES * PAGE_BYTES:
                self.in_use -= size
                raise _too_large(size, self.in_use)
            # Half as much again, so that growth stays rare, but no more than there can be.
            wanted = min(max(end, self.grown + self.grown // 2), MAX_PAGES * PAGE_BYTES)
            self.grown = self._grow(wanted, end, size)
        self.end = end
        return address

    def _grow(self, wanted: int, least: int, size: int) -> int:
        for target in (wanted, least):
            try:
                self.host.grow(target)
                return target
            except MemoryError:
                continue
        self.in_use -= size
        raise _too_large(size, self.in_use)

    def _remember(self, address: int, size: int) -> None:
        insort(self._by_size, (size, address))
        self._by_begin[address], self._by_end[address + size] = size, address

    def _forget(self, address: int) -> None:
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
