"""The blocks of the linear memory: never two over one another, and none of them lost."""

import gc
import random

import pytest

from tensorbrook.backends.wasm import allocator as module
from tensorbrook.backends.wasm.allocator import MAX_SMALL_BYTES, HeapAllocator
from tensorbrook.base.errors import ResourceExhaustedError

BIG = 2 * MAX_SMALL_BYTES


class Ground:
    """A host of nothing but memory, which grows up to a limit."""

    heap_base = 1000

    def __init__(self, limit=1 << 30):
        self.limit = limit

    def grow(self, size_bytes):
        if size_bytes > self.limit:
            raise MemoryError


def overlap(blocks) -> bool:
    blocks = sorted(blocks)
    return any(a + n > b for (a, n), (b, _) in zip(blocks, blocks[1:]))


def test_blocks_do_not_overlap_and_all_come_back():
    numbers, memory, held = random.Random(5), HeapAllocator(Ground()), []
    begin = memory.end
    for _ in range(2000):
        if held and numbers.random() < 0.5:
            memory.free(*held.pop(numbers.randrange(len(held))))
        else:
            held.append(memory.allocate(numbers.choice((1, 64, 5000, BIG, 3 * BIG, 7 * BIG))))
        assert not overlap(held)
    assert memory.in_use == sum(size for _, size in held)
    for block in held:
        memory.free(*block)
    assert memory.in_use == 0
    small = sum(size * len(kept) for size, kept in memory._small_blocks.items())
    large = sum(size for size, _ in memory._by_size)
    assert begin + small + large == memory.end


def test_a_finalizer_may_give_back_at_any_moment(monkeypatch):
    """Python may collect, and so give blocks back, between any two lines of `take`."""
    numbers, memory, held = random.Random(7), HeapAllocator(Ground()), []
    begin, search = memory.end, module.bisect_left

    def search_and_collect(*args):
        at = search(*args)
        while held and numbers.random() < 0.5:
            memory.free(*held.pop(numbers.randrange(len(held))))
        return at

    monkeypatch.setattr(module, "bisect_left", search_and_collect)
    for _ in range(3000):
        held.append(memory.allocate(numbers.choice((BIG, 3 * BIG, 7 * BIG))))
        assert not overlap(held)
    while held:
        memory.free(*held.pop())
    assert memory.in_use == 0
    assert begin + sum(size for size, _ in memory._by_size) == memory.end


class Held:
    """Gives a block back when it is finalized."""

    def __init__(self, memory):
        self.memory, self.block = memory, memory.allocate(BIG)
        self.itself = self

    def __del__(self):
        self.memory.free(*self.block)


def test_memory_that_waits_in_cycles_is_used_before_there_is_none():
    memory = HeapAllocator(Ground(limit=1000 + 3 * BIG))
    gc.disable()
    try:
        for _ in range(20):
            Held(memory)
    finally:
        gc.enable()
    assert memory.in_use <= 3 * BIG


def test_what_does_not_fit_says_so_and_leaves_the_rest():
    memory = HeapAllocator(Ground(limit=4 * BIG))
    block = memory.allocate(BIG)
    with pytest.raises(ResourceExhaustedError, match="memory: a buffer of .* MB does not fit"):
        memory.allocate(8 * BIG)
    assert memory.in_use == BIG
    memory.free(*block)
    assert memory.allocate(2 * BIG)[0] == block[0]
