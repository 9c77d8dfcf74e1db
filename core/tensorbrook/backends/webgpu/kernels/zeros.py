"""The part for kernels that have nothing to read."""
from __future__ import annotations

from ....ir import Var
from ..device_info import DeviceInfo
from ..shader_dispatch import WGSL_TYPES, ShaderDispatch
from .elementwise_dispatch import invocations

LANES = 256              # of a workgroup


def zeros(out: Var, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """A result of zeros."""
    count, element = out.spec.count, WGSL_TYPES[out.spec.dtype.name]
    return [invocations("zeros", {"out": out}, count, LANES, device_info, element=element, COUNT=count,
                        WIDTH=count)]
