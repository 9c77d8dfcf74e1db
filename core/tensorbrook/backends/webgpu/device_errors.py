"""Device errors: the exception for each kind of error that a device reports asynchronously.

The next call of the host raises it. `lost`: the device is gone and all handles are invalid.
`memory`: an allocation failed. `validation`: the device rejected a shader or a command. `internal`:
any other fault of the device.
"""
from __future__ import annotations

from ...base.errors import InternalError, ResourceExhaustedError, UnavailableError

REPORT_HINT = 'use tf.config.set_backend("wasm"), and please report this'
KERNEL_PREFIX = "the kernel "             # the start of a reason that is about a kernel's shader


def device_error(kind: str, reason: str) -> Exception:
    """Return the exception for an error kind; an unknown kind counts as internal."""
    if kind == "lost":
        return UnavailableError("webgpu", f"the GPU was lost ({reason})", "compute on wasm")
    if kind == "memory":
        return ResourceExhaustedError("webgpu", f"the GPU has no memory left ({reason})",
                                      "use a smaller batch or model")
    if kind == "validation":
        rejected = reason if reason.startswith(KERNEL_PREFIX) else f"a command: {reason}"
        return InternalError("webgpu", f"the GPU refused {rejected}", REPORT_HINT)
    return InternalError("webgpu", f"the GPU failed: {reason}", REPORT_HINT)
