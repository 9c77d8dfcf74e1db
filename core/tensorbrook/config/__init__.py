"""`tf.config`: which backend and which device compute, on how many threads, and what they did."""
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
    """Compute on this backend from now on, and on no other: "wasm", "webgpu" or "reference".

    What it cannot do is an error then. Tensors move when used. None leaves the choice to
    Tensorbrook, as it is in the beginning if the environment has no TENSORBROOK_BACKEND: wasm, and
    webgpu for programs that are large enough where there is a GPU. UnavailableError where there is
    none, InvalidArgumentError for an unknown name.

    >>> tf.config.set_backend("wasm")
    >>> tf.config.get_backend()
    'wasm'
    """
    EAGER.force_backend(name)


def get_backend() -> str:
    """The name of the backend that computes; where nobody chose, the one for small programs."""
    return EAGER.backend.name


def get_threads() -> int:
    """On how many threads programs run."""
    return EAGER.backend.threads


def get_counters() -> dict[str, int]:
    """What was done so far where programs go now: `host_calls` out of Python, `programs` run,
    `kernels` in them, and programs `compiled` (a page keeps those of earlier visits, which are only
    loaded). A GPU's kernels are dispatches; it counts `submits`, `pipelines` and `bytes_moved`
    (those of all that dispatches bind) too.

    Take the difference of two calls to count what one step did.

    >>> before = tf.config.get_counters()
    >>> x = tf.ones(3) + 1
    >>> tf.config.get_counters()["programs"] > before["programs"]
    True
    """
    found: Counter = Counter()
    for backend in EAGER.active_backends():
        found.update(backend.counters())
    return dict(found)


def set_soft_device_placement(enabled: bool) -> None:
    """Whether a program may run elsewhere than on the device that was asked for, where that is
    missing or cannot do it: from the GPU to the CPU, and there, for float64, from backend wasm to
    the slow backend reference, with a warning. It may, as in TensorFlow, unless this forbids it.

    A backend that was set by name is never left.
    """
    EAGER.soft_placement = bool(enabled)
    EAGER.refresh()


def get_soft_device_placement() -> bool:
    """Whether a program may run elsewhere than on the device that was asked for."""
    return EAGER.soft_placement
