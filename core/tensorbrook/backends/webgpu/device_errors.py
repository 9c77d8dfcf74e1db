"""What goes wrong on a device while nobody waits for it, raised by the next call of the host.

`lost`: the device is no more, and all numbers of buffers and programs are void. `memory`: it had
none left. `validation`: a shader or a command that it refuses. `internal`: a fault of its own.
"""
from __future__ import annotations

from ...base.errors import InternalError, ResourceExhaustedError, UnavailableError


REPORT_HINT = 'use tf.config.set_backend("wasm"), and please report this'
KERNEL_PREFIX = "the kernel "             # how a reason begins that is about a kernel's shader


def device_error(kind: str, reason: str) -> Exception:
    """The error of that kind; a kind that is not known is a fault of the device."""
    if kind == "lost":
        return UnavailableError("webgpu", f"the GPU was lost ({reason})", "compute on wasm")
    if kind == "memory":
        return ResourceExhaustedError("webgpu", f"the GPU has no memory left ({reason})",
                                      "use a smaller batch or model")
    if kind == "validation":
        what = reason if reason.startswith(KERNEL_PREFIX) else f"a command: {reason}"
        return InternalError("webgpu", f"the GPU refused {what}", REPORT_HINT)
    return InternalError("webgpu", f"the GPU failed: {reason}", REPORT_HINT)
