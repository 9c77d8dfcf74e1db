"""`tf.config`: selection of backends and devices, threads and counters."""
from __future__ import annotations

from collections import Counter

from ..devices import (
    LogicalDevice, PhysicalDevice, get_visible_devices, list_logical_devices,
    list_physical_devices, set_visible_devices)
from ..eager import EAGER
from . import experimental

__all__ = [
    "LogicalDevice", "PhysicalDevice", "experimental", "get_backend", "get_counters",
    "get_soft_device_placement", "get_threads", "get_visible_devices", "list_logical_devices",
    "list_physical_devices", "set_backend", "set_soft_device_placement", "set_visible_devices"]


def set_backend(name: str | None) -> None:
    """Run all operations on one backend, without fallback: "wasm", "webgpu" or "reference".

    Tensors are transferred when used. None selects automatically: backend wasm, and backend webgpu
    for large programs if there is a GPU. The initial value is that of the environment variable
    TENSORBROOK_BACKEND, or None. Raises InvalidArgumentError for an unknown name, and
    UnavailableError if the backend is not available on this machine.

    >>> tf.config.set_backend("wasm")
    >>> tf.config.get_backend()
    'wasm'
    """
    EAGER.force_backend(name)


def get_backend() -> str:
    """The name of the current backend; with automatic selection, of the one for small programs."""
    return EAGER.backend.name


def get_threads() -> int:
    """The number of threads of the current backend."""
    return EAGER.backend.threads


def get_counters() -> dict[str, int]:
    """Counters of the active backends, summed, since the start of the process.

    `host_calls`: calls from Python to the host. `programs`: programs run. `kernels`: kernels in
    these programs; on a GPU, dispatches. `compiled`: programs compiled, without programs from the
    program cache. A GPU adds `submits`, `pipelines` and `bytes_moved`, the bytes that dispatches
    bind.

    The difference of two calls counts the operations between them.

    >>> before = tf.config.get_counters()
    >>> x = tf.ones(3) + 1
    >>> tf.config.get_counters()["programs"] > before["programs"]
    True
    """
    total: Counter = Counter()
    for backend in EAGER.active_backends():
        total.update(backend.counters())
    return dict(total)


def set_soft_device_placement(enabled: bool) -> None:
    """Allow or forbid fallback to another device; the default is to allow it, as in TensorFlow.

    If the requested device is missing or does not support a program, the program runs on the CPU
    instead of the GPU; on the CPU, float64 runs on the slow backend reference, with a warning.
    There is no fallback from a backend that `set_backend` selects.
    """
    EAGER.soft_placement = bool(enabled)
    EAGER.refresh()


def get_soft_device_placement() -> bool:
    """Whether fallback to another device is allowed."""
    return EAGER.soft_placement
