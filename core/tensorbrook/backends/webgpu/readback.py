"""Readback of buffers in batches: many small buffers at once, a large buffer in several ranges."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

MAX_STAGING_BYTES = 1 << 26      # per read: a device without memory for the staging buffer is lost

BufferRange = tuple[int, int, int]         # buffer, offset, size


def read_back(requests: Sequence[tuple[int, int]],
              read_chunk: Callable[[list[BufferRange]], bytes | memoryview]) -> list[bytes]:
    """Return the contents of (buffer, size) pairs. `read_chunk` returns the concatenated contents
    of several ranges, of at most MAX_STAGING_BYTES in all."""
    contents: list[list[bytes]] = [[] for _ in requests]
    ranges = [(i, begin, min(MAX_STAGING_BYTES, size - begin))
              for i, (_, size) in enumerate(requests)
              for begin in range(0, size, MAX_STAGING_BYTES)]
    for batch in _batches(ranges):
        data = memoryview(read_chunk([(requests[i][0], begin, size) for i, begin, size in batch]))
        offset = 0
        for i, _, size in batch:
            contents[i].append(bytes(data[offset:offset + size]))
            offset += size
    return [chunks[0] if len(chunks) == 1 else b"".join(chunks) for chunks in contents]


def _batches(ranges: list[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """Group consecutive ranges up to MAX_STAGING_BYTES."""
    batch, room = [], MAX_STAGING_BYTES
    for entry in ranges:
        if entry[2] > room:
            yield batch
            batch, room = [], MAX_STAGING_BYTES
        batch.append(entry)
        room -= entry[2]
    if batch:
        yield batch
