"""The parts of templates in which an invocation makes one element."""
from __future__ import annotations

from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch, grid
from ..shader_templates import instantiate


def invocations(name: str, buffers: dict, count: int, lanes: int, device_info: DeviceInfo,
                **constants) -> ShaderDispatch:
    """A template's part with an invocation for each of `count`, in workgroups of `lanes`."""
    return ShaderDispatch(instantiate(name, LANES=lanes, **constants), buffers,
                grid(count, lanes, device_info.max_workgroups))
