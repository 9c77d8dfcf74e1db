"""What goes wrong on a device while nobody waits for it, raised by the next call of the host.

`lost`: the device is no more, and all numbers of buffers and programs are void. `memory`: it had
none left. `validation`: a shader or a command that it refuses. `internal`: a fault of its own.
"""
from __future__ import annotations

from ...base.errors import OpError


class DeviceError(OpError, RuntimeError):
    """`kind` is one of the words above; `reason` is what the device says."""

    kind = "internal"
    way_out = 'use tf.config.set_backend("wasm"), and please report this'

    def __init__(self, reason: str):
        self.reason = reason
        super().__init__("webgpu", f"{self.what} ({reason})", self.way_out)

    what = "the GPU failed"


class RefusedError(DeviceError):
    kind, what = "validation", "the GPU refused a command"


class LostError(DeviceError):
    kind, what = "lost", "the GPU was lost"
    way_out = 'run it again, or use tf.config.set_backend("wasm")'


class NoMemoryError(DeviceError, MemoryError):
    kind, what = "memory", "the GPU has no memory left"
    way_out = "use a smaller batch or model"


_KINDS = {error.kind: error for error in (DeviceError, RefusedError, LostError, NoMemoryError)}


def trouble(kind: str, reason: str) -> DeviceError:
    """The error of that kind; a kind that is not known is a fault of the device."""
    return _KINDS.get(kind, DeviceError)(reason)
