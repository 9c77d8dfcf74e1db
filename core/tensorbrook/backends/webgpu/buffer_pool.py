"""Buffers of the device: what is no longer held serves the next of its size."""
from __future__ import annotations

import gc
from collections import defaultdict

from ...base.errors import ResourceExhaustedError
from .device_recovery import RecoverableHost

LINE = 256               # bytes; sizes are multiples of it
MOST_IDLE = 1 << 26      # bytes that may lie idle beside as many as are in use


def size_class(size: int) -> int:
    """The size of the buffer that is taken for so many bytes: with one of eight steps between
    powers of two, so that tensors of nearly one size share."""
    size = max(size, 1)
    step = max(LINE, 1 << max(size.bit_length() - 4, 0))
    return -(-size // step) * step


class BufferPool:
    """Hands out buffers. A finalizer may give one back at any moment, on any thread."""

    def __init__(self, host: RecoverableHost):
        self.host = host
        self._in_use = self.peak = self.idle_bytes = 0
        self._free: dict[int, list[int]] = defaultdict(list)
        self._returned: list[tuple[int, int]] = []
        self._lock = host.lock               # one for both: each calls the other

    @property
    def in_use(self) -> int:
        """How many bytes are handed out."""
        with self._lock:
            self._drain_released()
            return self._in_use

    def acquire(self, size: int) -> tuple[int, int]:
        """(number, capacity) of a buffer of at least `size` bytes."""
        capacity = size_class(size)
        with self._lock:
            self._drain_released()
            if self.idle_bytes > self._in_use + MOST_IDLE:
                self.trim()
            number = self._free[capacity].pop() if self._free[capacity] else None
            if number is not None:
                self.idle_bytes -= capacity
            else:
                number = self._new(capacity)
            self._in_use += capacity
            self.peak = max(self.peak, self._in_use)
        return number, capacity

    def release(self, number: int, capacity: int) -> None:
        if self.host.lost:
            self.host.forget(number)         # before another thread may take it
        self._returned.append((number, capacity))

    def _drain_released(self) -> None:
        while self._returned:
            number, capacity = self._returned.pop()
            self._in_use -= capacity
            self.idle_bytes += capacity
            self._free[capacity].append(number)

    def idle_handles(self) -> set[int]:
        """The buffers that nobody holds."""
        with self._lock:
            self._drain_released()
            return {number for numbers in self._free.values() for number in numbers}

    def trim(self) -> None:
        """Let go of all that lies idle. Meanwhile the host may ask for what still does, and more
        may come."""
        for capacity, numbers in [*self._free.items()]:
            while numbers:
                self.idle_bytes -= capacity
                self.host.free(numbers.pop())

    def _new(self, capacity: int) -> int:
        try:
            return self.host.new(capacity)
        except MemoryError:
            gc.collect()                     # what waits in reference cycles comes back
            self._drain_released()
            self.trim()
        try:
            return self.host.new(capacity)
        except MemoryError:
            raise ResourceExhaustedError(
                "memory", f"the device has no {capacity / 2**20:.0f} MB beside "
                f"{self.in_use / 2**20:.0f} MB in use (a buffer holds at most "
                f"{self.host.device_info.buffer_bytes / 2**20:.0f} MB)",
                "use a smaller batch or model") from None
