"""LRU cache: a bounded dictionary that evicts the least recently used entry."""
from collections import OrderedDict
from typing import Any


class LRUCache(OrderedDict):
    """A dictionary of at most `capacity` entries; `get` and `put` mark an entry as used.

    Each of their steps is atomic, so threads can share a cache.

    >>> cache = LRUCache(2)
    >>> cache.put("a", 1), cache.put("b", 2), cache.get("a"), cache.put("c", 3)
    (1, 2, 1, 3)
    >>> list(cache)
    ['a', 'c']
    """

    def __init__(self, capacity: int):
        super().__init__()
        self.capacity = capacity

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            self.move_to_end(key)
            return self[key]
        except KeyError:         # not in the cache, or evicted by another thread just now
            return default

    def put(self, key: Any, value: Any) -> Any:
        """Insert or replace an entry, and evict others beyond the capacity; returns the value."""
        self[key] = value
        while len(self) > self.capacity:
            self.popitem(last=False)
        return value
