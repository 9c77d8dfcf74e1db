"""Pausing the cyclic garbage collector while many objects are created that all stay alive."""
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Pause the collector: tracing and compiling create hundreds of thousands of objects and hardly
    any cycle, and each full collection would visit all of them again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
