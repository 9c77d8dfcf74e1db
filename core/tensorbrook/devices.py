"""`tf.device`, and the devices there are: CPU:0 is backend wasm, GPU:0 is backend webgpu."""
from __future__ import annotations

import re
from typing import Any, NamedTuple

from .base.errors import InvalidArgumentError
from .eager import EAGER
from .placement import CPU, GPU
from .tensor import context_stack
from .trace import Trace

# "GPU", "GPU:0", "/gpu:0", "/device:GPU:0", "/job:localhost/replica:0/task:0/device:GPU:0", and the
# names of the two kinds of device below.
_SPELLING = re.compile(r"(?:/job:localhost)?(?:/replica:0)?(?:/task:0)?/?(?:(?:physical_)?device:)?"
                       r"(?P<kind>[a-z]+)(?::(?P<number>\d+|\*))?", re.IGNORECASE)


class PhysicalDevice(NamedTuple):
    """A device of this machine."""

    name: str
    device_type: str


class LogicalDevice(NamedTuple):
    """A device that programs may use."""

    name: str
    device_type: str


def parse_device_type(op: str, spelling: Any) -> str:
    """CPU or GPU, from any of TensorFlow's ways to write it."""
    found = _SPELLING.fullmatch(spelling) if isinstance(spelling, str) else None
    kind = found["kind"].upper() if found else None
    if kind not in (CPU, GPU) or found is None or found["number"] not in (None, "0", "*"):
        raise InvalidArgumentError(op, f"there is no device {spelling!r}",
                                   'there are "/CPU:0" and, where a GPU is, "/GPU:0"')
    return kind


def available_device_types(device_type: str | None) -> list[str]:
    """The kinds of device that are there, of all or of that one."""
    wanted = (CPU, GPU) if device_type is None else (device_type.upper(),)
    return [kind for kind in wanted
            if kind == CPU or kind == GPU and EAGER.find_gpu() is not None]


# ── which there are ───────────────────────────────────────────────────────────────────────────


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The devices of this machine, or those of type "CPU" or "GPU".

    The first call looks for a GPU, which natively takes up to a second. A GPU that a processor
    plays is listed too; see `experimental.get_device_details`.

    >>> tf.config.list_physical_devices("CPU")
    [PhysicalDevice(name='/physical_device:CPU:0', device_type='CPU')]
    """
    return [PhysicalDevice(f"/physical_device:{kind}:0", kind) for kind in available_device_types(device_type)]


def list_logical_devices(device_type: str | None = None) -> list[LogicalDevice]:
    """The devices that programs may use: those of the machine that are visible.

    >>> tf.config.list_logical_devices("CPU")
    [LogicalDevice(name='/device:CPU:0', device_type='CPU')]
    """
    return [LogicalDevice(f"/device:{each.device_type}:0", each.device_type)
            for each in get_visible_devices(device_type)]


def get_visible_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The devices of the machine that programs may use."""
    return [each for each in list_physical_devices(device_type)
            if not (each.device_type == GPU and EAGER.gpu_hidden)]


def set_visible_devices(devices: Any, device_type: str | None = None) -> None:
    """Let programs use these devices, or, of that type, these. The CPU stays visible.

    InvalidArgumentError for a device that is not there, or without the CPU.

    >>> tf.config.set_visible_devices([], "GPU")        # everything on the CPU
    >>> tf.config.set_visible_devices(tf.config.list_physical_devices())
    """
    given = [devices] if isinstance(devices, PhysicalDevice) else list(devices)
    there = list_physical_devices(device_type)
    for each in given:
        if each not in there:
            raise InvalidArgumentError("set_visible_devices", f"{each!r} is not among {there}",
                                       "take them from tf.config.list_physical_devices()")
    shown = {each.device_type for each in given}
    if device_type in (None, CPU) and CPU not in shown:
        raise InvalidArgumentError("set_visible_devices", "the CPU cannot be hidden, as it does "
                                   "what other devices cannot", "keep it in the list")
    if device_type in (None, GPU):
        EAGER.hide_gpu(GPU not in shown)


# ── which computes ────────────────────────────────────────────────────────────────────────────


class device:
    """Compute on that device within the block; tensors go there when they are used.

    `device_name` is "/CPU:0" or "/GPU:0" in any of TensorFlow's spellings, or None for where it
    would be computed anyway. InvalidArgumentError for any other. Where there is no GPU the block
    computes on the CPU, unless tf.config.set_soft_device_placement(False) was called; then it is an
    UnavailableError, and so is a program that the GPU cannot do, as one of float64.

    A tf.function is one program and runs on one device: on the one around its call, or on the one
    that the function itself asks for; it may not ask for two.

    >>> with tf.device("/CPU:0"):
    ...     x = tf.ones((2, 2)) * 2
    >>> x.device
    '/job:localhost/replica:0/task:0/device:CPU:0'
    """

    def __init__(self, device_name: str | None):
        self.kind = None if device_name is None else parse_device_type("tf.device", device_name)
        self._entered: list[bool] = []       # of each block of it: whether EAGER was told

    def __enter__(self) -> device:
        trace = _outermost_trace()
        if trace is None:
            EAGER.push_device(self.kind)
        elif self.kind is not None:
            if trace.device not in (None, self.kind):
                raise InvalidArgumentError(
                    "tf.device", f"the tf.function has asked for {trace.device} before and asks "
                    f"for {self.kind} now, and it runs as one program",
                    "make two functions of it, or choose the device around its call")
            trace.device = self.kind
        self._entered.append(trace is None)
        return self

    def __exit__(self, *error) -> None:
        if self._entered.pop():
            EAGER.pop_device()


def _outermost_trace() -> Trace | None:
    """The trace of the tf.function that is being traced, if operations are written down now."""
    found = None
    for each in reversed(context_stack()):
        if not isinstance(each, Trace):
            break
        found = each
    return found
