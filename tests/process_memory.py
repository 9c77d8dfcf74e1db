"""Limits the memory of a long test process by closing the backends, with all compiled programs."""
import ctypes
import gc
import os
import sys
from pathlib import Path

import backends

LIMIT_BYTES = 1_500_000_000
STATM = Path("/proc/self/statm")         # Linux, the only system with lavapipe


def resident_bytes() -> int:
    """Return the physical memory of this process; 0 where the system does not report it."""
    if not STATM.exists():
        return 0
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def limit() -> None:
    """If the process is large, close the backends and return their memory to the system."""
    if resident_bytes() < LIMIT_BYTES:
        return
    backends.close_all()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):     # glibc's allocator keeps freed memory
        libc.malloc_trim(0)
