"""Elementwise dispatches of templates: one invocation per element."""
from __future__ import annotations

from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch, grid
from ..shader_templates import instantiate


def elementwise_dispatch(template: str, buffers: dict, count: int, lanes: int,
                         device_info: DeviceInfo, **settings) -> ShaderDispatch:
    """Dispatch a template with `count` invocations, in workgroups of `lanes`."""
    code = instantiate(template, LANES=lanes, **settings)
    return ShaderDispatch(code, buffers, grid(count, lanes, device_info.max_workgroups))
