"""A bound on what a long test process keeps: compiled programs, shaders, modules and devices."""
import ctypes
import gc
import os
import sys
from pathlib import Path

import backends

LIMIT_BYTES = 1_500_000_000
STATM = Path("/proc/self/statm")         # Linux, the only system with lavapipe


def resident_bytes() -> int:
    """The physical memory of this process; 0 where the system does not say."""
    if not STATM.exists():
        return 0
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def bound() -> None:
    """Close the backends once the process is large, and return their memory to the system."""
    if resident_bytes() < LIMIT_BYTES:
        return
    backends.close_all()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):     # glibc's allocator keeps freed memory
        libc.malloc_trim(0)
