"""Whether a device has room for a program: sizes that it cannot have are known before it runs."""
from __future__ import annotations

from ...base.errors import UnimplementedError
from .facts import Facts
from .image import Dispatch, Image
from .memory import rounded


def demand_room(image: Image, facts: Facts) -> None:
    """UnimplementedError if a shader would bind, or a buffer hold, more than the device allows."""
    bound = [b.size for step in image.steps if isinstance(step, Dispatch) for b in step.bindings]
    for size, most, verb in ((max(bound, default=0), facts.binding_bytes, "binds"),
                             (rounded(image.arena_size), facts.buffer_bytes, "has buffers of")):
        if size > most:
            raise UnimplementedError(
                "tf.function", f"it needs {size / 2**20:.0f} MB in one piece, and this GPU {verb} "
                f"{most / 2**20:.0f} MB at most",
                'use a smaller batch, or compute on the CPU: with tf.device("/CPU:0")')
