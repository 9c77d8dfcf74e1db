"""`tf.config.experimental`: memory statistics and details of devices."""
from __future__ import annotations

from typing import Any

from .. import backends
from ..base.errors import InvalidArgumentError
from ..devices import (
    PhysicalDevice, available_device_types, get_visible_devices, list_logical_devices,
    list_physical_devices, parse_device_type, set_visible_devices)
from ..eager import EAGER
from ..placement import BACKEND_FOR_DEVICE, GPU

__all__ = [
    "get_device_details", "get_memory_growth", "get_memory_info", "get_visible_devices",
    "list_logical_devices", "list_physical_devices", "reset_memory_stats", "set_memory_growth",
    "set_visible_devices"]


def get_memory_info(device: str) -> dict[str, int]:
    """The current and the peak allocation on a device, `{"current": ..., "peak": ...}`, in bytes.

    It includes tensors and programs. `reset_memory_stats` resets the peak.

    >>> sorted(tf.config.experimental.get_memory_info("CPU:0"))
    ['current', 'peak']
    """
    memory = _memory("get_memory_info", device)
    return {"current": memory.in_use, "peak": memory.peak}


def reset_memory_stats(device: str) -> None:
    """Set the peak allocation of a device to its current allocation."""
    memory = _memory("reset_memory_stats", device)
    memory.peak = memory.in_use


def _memory(op: str, device: str) -> Any:
    device_type = parse_device_type(op, device)
    if device_type == GPU and EAGER.find_gpu() is None:
        raise InvalidArgumentError(
            op, f"{device} is not available: {EAGER.gpu_missing_reason}", 'use "CPU:0"')
    backend: Any = backends.get_backend(BACKEND_FOR_DEVICE[device_type])
    return backend.memory


def get_device_details(device: PhysicalDevice) -> dict[str, Any]:
    """Properties of a device; for the CPU the dict is empty.

    For a GPU: `device_name`; `software`, whether it is a software adapter (SwiftShader, lavapipe);
    and whether it supports `float16` and `subgroups`.
    """
    device_type = parse_device_type("get_device_details", device.name)
    if device_type not in available_device_types(None):
        raise InvalidArgumentError("get_device_details", f"{device.name} is not available",
                                   "use an element of tf.config.list_physical_devices()")
    return backends.get_backend(BACKEND_FOR_DEVICE[device_type]).device_details()


def set_memory_growth(device: PhysicalDevice, enable: bool) -> None:
    """Accepts only True, which is always in effect: memory is allocated on demand."""
    if not enable:
        raise InvalidArgumentError(
            "set_memory_growth", "memory is allocated on demand and cannot be preallocated",
            "remove the call")


def get_memory_growth(device: PhysicalDevice) -> bool:
    """True: memory is allocated on demand."""
    return True
