"""`tf.config.experimental`: what else is known of devices, by TensorFlow's names."""
from __future__ import annotations

from typing import Any

from .. import backends
from ..base.errors import InvalidArgumentError
from ..devices import (
    PhysicalDevice, get_visible_devices, parse_device_type, available_device_types, list_logical_devices,
    list_physical_devices, set_visible_devices)
from ..eager import EAGER
from ..placement import GPU, BACKEND_FOR_DEVICE

__all__ = [
    "get_device_details", "get_memory_growth", "get_memory_info", "get_visible_devices",
    "list_logical_devices", "list_physical_devices", "reset_memory_stats", "set_memory_growth",
    "set_visible_devices"]


def get_memory_info(device: str) -> dict[str, int]:
    """Bytes that tensors and programs hold on a device now, and the most that they ever held since
    the beginning or `reset_memory_stats`: `{"current": ..., "peak": ...}`.

    >>> sorted(tf.config.experimental.get_memory_info("CPU:0"))
    ['current', 'peak']
    """
    memory = _memory("get_memory_info", device)
    return {"current": memory.in_use, "peak": memory.peak}


def reset_memory_stats(device: str) -> None:
    """Count the peak from now on."""
    memory = _memory("reset_memory_stats", device)
    memory.peak = memory.in_use


def _memory(op: str, device: str) -> Any:
    kind = parse_device_type(op, device)
    if kind == GPU and EAGER.find_gpu() is None:
        raise InvalidArgumentError(op, f"there is no {device}: {EAGER.gpu_missing_reason}", 'use "CPU:0"')
    backend: Any = backends.get_backend(BACKEND_FOR_DEVICE[kind])
    return backend.memory


def get_device_details(device: PhysicalDevice) -> dict[str, Any]:
    """What is known of a device: of a GPU its `device_name`, whether it is `software`, which is a
    processor that plays one, and whether it has `float16` and `subgroups`; of the CPU nothing."""
    kind = parse_device_type("get_device_details", device.name)
    if kind not in available_device_types(None):
        raise InvalidArgumentError("get_device_details", f"there is no {device.name}",
                                   "take it from tf.config.list_physical_devices()")
    return backends.get_backend(BACKEND_FOR_DEVICE[kind]).device_details()


def set_memory_growth(device: PhysicalDevice, enable: bool) -> None:
    """Nothing if enabled: memory is taken as it is needed, always."""
    if not enable:
        raise InvalidArgumentError("set_memory_growth", "memory is taken as it is needed, and "
                                   "cannot be taken beforehand", "leave the call out")


def get_memory_growth(device: PhysicalDevice) -> bool:
    """True: memory is taken as it is needed."""
    return True
