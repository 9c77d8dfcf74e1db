"""Heap allocator of the linear memory: blocks do not overlap and are not lost."""

import gc
import random

import pytest

from tensorbrook.backends.wasm import allocator
from tensorbrook.backends.wasm.allocator import MAX_SMALL_BYTES, HeapAllocator
from tensorbrook.base.errors import ResourceExhaustedError

BIG = 2 * MAX_SMALL_BYTES


class FakeHost:
    """A host with a memory that grows up to a limit."""

    heap_base = 1000

    def __init__(self, limit=1 << 30):
        self.limit = limit

    def grow(self, size_bytes):
        if size_bytes > self.limit:
            raise MemoryError


def overlap(blocks) -> bool:
    blocks = sorted(blocks)
    return any(a + n > b for (a, n), (b, _) in zip(blocks, blocks[1:]))


def test_blocks_do_not_overlap_and_are_all_freed():
    rng, memory, blocks = random.Random(5), HeapAllocator(FakeHost()), []
    begin = memory.end
    for _ in range(2000):
        if blocks and rng.random() < 0.5:
            memory.free(*blocks.pop(rng.randrange(len(blocks))))
        else:
            blocks.append(memory.allocate(rng.choice((1, 64, 5000, BIG, 3 * BIG, 7 * BIG))))
        assert not overlap(blocks)
    assert memory.in_use == sum(size for _, size in blocks)
    for block in blocks:
        memory.free(*block)
    assert memory.in_use == 0
    small = sum(size * len(addresses) for size, addresses in memory._small_blocks.items())
    large = sum(size for size, _ in memory._by_size)
    assert begin + small + large == memory.end


def test_a_finalizer_may_free_a_block_at_any_time(monkeypatch):
    """Garbage collection may free blocks between any two lines of `allocate`."""
    rng, memory, blocks = random.Random(7), HeapAllocator(FakeHost()), []
    begin, search = memory.end, allocator.bisect_left

    def search_and_free(*args):
        index = search(*args)
        while blocks and rng.random() < 0.5:
            memory.free(*blocks.pop(rng.randrange(len(blocks))))
        return index

    monkeypatch.setattr(allocator, "bisect_left", search_and_free)
    for _ in range(3000):
        blocks.append(memory.allocate(rng.choice((BIG, 3 * BIG, 7 * BIG))))
        assert not overlap(blocks)
    while blocks:
        memory.free(*blocks.pop())
    assert memory.in_use == 0
    assert begin + sum(size for size, _ in memory._by_size) == memory.end


class CyclicBlock:
    """An object in a reference cycle that frees a block when it is finalized."""

    def __init__(self, memory):
        self.memory, self.block = memory, memory.allocate(BIG)
        self.cycle = self

    def __del__(self):
        self.memory.free(*self.block)


@pytest.mark.slow
def test_reference_cycles_are_collected_before_memory_runs_out():
    memory = HeapAllocator(FakeHost(limit=1000 + 3 * BIG))
    gc.disable()
    try:
        for _ in range(20):
            CyclicBlock(memory)
    finally:
        gc.enable()
    assert memory.in_use <= 3 * BIG


def test_a_failed_allocation_changes_nothing():
    memory = HeapAllocator(FakeHost(limit=4 * BIG))
    block = memory.allocate(BIG)
    with pytest.raises(ResourceExhaustedError, match="memory: a buffer of .* MB does not fit"):
        memory.allocate(8 * BIG)
    assert memory.in_use == BIG
    memory.free(*block)
    assert memory.allocate(2 * BIG)[0] == block[0]
