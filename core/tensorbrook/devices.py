"""Devices: `tf.device`, and the list of devices. CPU:0 is backend wasm, GPU:0 is backend webgpu."""
from __future__ import annotations

import re
from typing import Any, NamedTuple

from .base.errors import InvalidArgumentError
from .eager import EAGER
from .placement import CPU, GPU
from .tensor import context_stack
from .trace import Trace

# "GPU", "GPU:0", "/gpu:0", "/device:GPU:0", "/job:localhost/replica:0/task:0/device:GPU:0", and the
# names of PhysicalDevice and LogicalDevice.
_DEVICE_NAME = re.compile(r"(?:/job:localhost)?(?:/replica:0)?(?:/task:0)?/?"
                          r"(?:(?:physical_)?device:)?(?P<type>[a-z]+)(?::(?P<index>\d+|\*))?",
                          re.IGNORECASE)


class PhysicalDevice(NamedTuple):
    """A device of this machine."""

    name: str
    device_type: str


class LogicalDevice(NamedTuple):
    """A device that programs may use."""

    name: str
    device_type: str


def parse_device_type(op: str, name: Any) -> str:
    """The device type, CPU or GPU, of a device name in any of TensorFlow's forms."""
    match = _DEVICE_NAME.fullmatch(name) if isinstance(name, str) else None
    device_type = match["type"].upper() if match else None
    if device_type not in (CPU, GPU) or match is None or match["index"] not in (None, "0", "*"):
        raise InvalidArgumentError(op, f"unknown device {name!r}",
                                   'use "/CPU:0" or, on a machine with a GPU, "/GPU:0"')
    return device_type


def available_device_types(device_type: str | None) -> list[str]:
    """The available device types, optionally restricted to one type."""
    types = (CPU, GPU) if device_type is None else (device_type.upper(),)
    return [t for t in types if t == CPU or t == GPU and EAGER.find_gpu() is not None]


# ── available devices ─────────────────────────────────────────────────────────────────────────


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The devices of this machine, optionally of one type, "CPU" or "GPU".

    The first call searches for a GPU, which takes up to a second natively. A software adapter is
    listed as a GPU too; see `experimental.get_device_details`.

    >>> tf.config.list_physical_devices("CPU")
    [PhysicalDevice(name='/physical_device:CPU:0', device_type='CPU')]
    """
    return [PhysicalDevice(f"/physical_device:{t}:0", t)
            for t in available_device_types(device_type)]


def list_logical_devices(device_type: str | None = None) -> list[LogicalDevice]:
    """The visible devices, optionally of one type, as logical devices.

    >>> tf.config.list_logical_devices("CPU")
    [LogicalDevice(name='/device:CPU:0', device_type='CPU')]
    """
    return [LogicalDevice(f"/device:{d.device_type}:0", d.device_type)
            for d in get_visible_devices(device_type)]


def get_visible_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The devices that programs may use, optionally of one type."""
    return [d for d in list_physical_devices(device_type)
            if not (d.device_type == GPU and EAGER.gpu_hidden)]


def set_visible_devices(devices: Any, device_type: str | None = None) -> None:
    """Restrict programs to these devices; with `device_type`, only among the devices of that type.

    The CPU must remain visible. Raises InvalidArgumentError if it does not, or if a device does not
    exist.

    >>> tf.config.set_visible_devices([], "GPU")        # everything on the CPU
    >>> tf.config.set_visible_devices(tf.config.list_physical_devices())
    """
    given = [devices] if isinstance(devices, PhysicalDevice) else list(devices)
    available = list_physical_devices(device_type)
    for d in given:
        if d not in available:
            raise InvalidArgumentError("set_visible_devices", f"{d!r} is not among {available}",
                                       "use elements of tf.config.list_physical_devices()")
    visible_types = {d.device_type for d in given}
    if device_type in (None, CPU) and CPU not in visible_types:
        raise InvalidArgumentError(
            "set_visible_devices", "the CPU cannot be hidden, because it runs what other devices "
            "do not support", "keep it in the list")
    if device_type in (None, GPU):
        EAGER.hide_gpu(GPU not in visible_types)


# ── the current device ────────────────────────────────────────────────────────────────────────


class device:
    """A context manager that runs operations on a device; operands are transferred when used.

    `device_name` is "/CPU:0" or "/GPU:0" in any of TensorFlow's forms, or None for the automatic
    choice. Raises InvalidArgumentError for another name. Without a GPU, and for a program that the
    GPU does not support, such as one with float64, the block runs on the CPU; after
    tf.config.set_soft_device_placement(False) that is an UnavailableError.

    A tf.function is one program, which runs on one device: the device of the block around its call,
    or the device that the function itself requests. It cannot request two devices.

    >>> with tf.device("/CPU:0"):
    ...     x = tf.ones((2, 2)) * 2
    >>> x.device
    '/job:localhost/replica:0/task:0/device:CPU:0'
    """

    def __init__(self, device_name: str | None):
        self.device_type = \
            None if device_name is None else parse_device_type("tf.device", device_name)
        self._pushed: list[bool] = []        # for each open block: whether it is on EAGER's stack

    def __enter__(self) -> device:
        trace = _outermost_trace()
        if trace is None:
            EAGER.push_device(self.device_type)
        elif self.device_type is not None:
            if trace.device not in (None, self.device_type):
                raise InvalidArgumentError(
                    "tf.device", f"the tf.function requests {trace.device} and then "
                    f"{self.device_type}, but it runs as one program on one device",
                    "split it into two functions, or set the device around its call")
            trace.device = self.device_type
        self._pushed.append(trace is None)
        return self

    def __exit__(self, *error) -> None:
        if self._pushed.pop():
            EAGER.pop_device()


def _outermost_trace() -> Trace | None:
    """The trace of the tf.function that is being traced, or None if operations run eagerly."""
    outermost = None
    for context in reversed(context_stack()):
        if not isinstance(context, Trace):
            break
        outermost = context
    return outermost
