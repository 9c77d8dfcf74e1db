"""Buffer pool: released device buffers are reused for requests of the same size class."""
from __future__ import annotations

import gc
from collections import defaultdict

from ...base.errors import ResourceExhaustedError
from .device_recovery import RecoverableHost

MIN_SIZE_STEP = 256          # bytes; size classes are multiples of it
MAX_IDLE_BYTES = 1 << 26     # idle bytes that are allowed beyond the bytes in use


def size_class(size: int) -> int:
    """Round a size up to one of eight classes between powers of two, so that tensors of nearly
    equal size can share buffers."""
    size = max(size, 1)
    step = max(MIN_SIZE_STEP, 1 << max(size.bit_length() - 4, 0))
    return -(-size // step) * step


class BufferPool:
    """An allocator of buffers. Finalizers may call `release` at any moment, on any thread."""

    def __init__(self, host: RecoverableHost):
        self.host = host
        self._in_use = self.peak = self.idle_bytes = 0
        self._free: dict[int, list[int]] = defaultdict(list)
        self._released: list[tuple[int, int]] = []
        self._lock = host.lock               # shared, because the pool and the host call each other

    @property
    def in_use(self) -> int:
        """Total capacity in bytes of the acquired buffers."""
        with self._lock:
            self._drain_released()
            return self._in_use

    def acquire(self, size: int) -> tuple[int, int]:
        """Return (handle, capacity) of a buffer of at least `size` bytes."""
        capacity = size_class(size)
        with self._lock:
            self._drain_released()
            if self.idle_bytes > self._in_use + MAX_IDLE_BYTES:
                self.trim()
            handle = self._free[capacity].pop() if self._free[capacity] else None
            if handle is not None:
                self.idle_bytes -= capacity
            else:
                handle = self._new(capacity)
            self._in_use += capacity
            self.peak = max(self.peak, self._in_use)
        return handle, capacity

    def release(self, handle: int, capacity: int) -> None:
        if self.host.lost:
            self.host.drop_contents(handle)         # before another thread can acquire the buffer
        self._released.append((handle, capacity))

    def _drain_released(self) -> None:
        while self._released:
            handle, capacity = self._released.pop()
            self._in_use -= capacity
            self.idle_bytes += capacity
            self._free[capacity].append(handle)

    def idle_handles(self) -> set[int]:
        """Return the handles of the buffers that are not in use."""
        with self._lock:
            self._drain_released()
            return {handle for handles in self._free.values() for handle in handles}

    def trim(self) -> None:
        """Free all idle buffers. A call of the host may checkpoint, which calls `idle_handles` and
        drains released buffers, so `_free` may change inside the loop."""
        for capacity, handles in [*self._free.items()]:
            while handles:
                self.idle_bytes -= capacity
                self.host.free(handles.pop())

    def _new(self, capacity: int) -> int:
        try:
            return self.host.new(capacity)
        except MemoryError:
            gc.collect()                     # releases the buffers that reference cycles hold
            self._drain_released()
            self.trim()
        try:
            return self.host.new(capacity)
        except MemoryError:
            raise ResourceExhaustedError(
                "memory", f"the device cannot allocate {capacity / 2**20:.0f} MB beside "
                f"{self.in_use / 2**20:.0f} MB in use (a buffer holds at most "
                f"{self.host.device_info.buffer_bytes / 2**20:.0f} MB)",
                "use a smaller batch or model") from None
