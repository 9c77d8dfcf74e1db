"""What buffers hold, read in batches: many small ones at once, a large one in pieces."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

MAX_STAGING_BYTES = 1 << 26                # bytes read at once: a device that has no room is lost

Piece = tuple[int, int, int]         # a buffer, the first byte of it and how many


def read_back(which: Sequence[tuple[int, int]],
                    staged: Callable[[list[Piece]], bytes | memoryview]) -> list[bytes]:
    """What buffers hold, each with a size; `staged` reads pieces of buffers at once, which it gives
    one after the other."""
    parts: list[list[bytes]] = [[] for _ in which]
    pieces = [(i, begin, min(MAX_STAGING_BYTES, size - begin)) for i, (_, size) in enumerate(which)
              for begin in range(0, size, MAX_STAGING_BYTES)]
    for batch in _batches(pieces):
        data, at = memoryview(staged([(which[i][0], *piece) for i, *piece in batch])), 0
        for i, _, size in batch:
            parts[i].append(bytes(data[at:at + size]))
            at += size
    return [each[0] if len(each) == 1 else b"".join(each) for each in parts]


def _batches(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Pieces in order, as many at once as may be staged."""
    batch, room = [], MAX_STAGING_BYTES
    for piece in pieces:
        if piece[2] > room:
            yield batch
            batch, room = [], MAX_STAGING_BYTES
        batch.append(piece)
        room -= piece[2]
    if batch:
        yield batch
