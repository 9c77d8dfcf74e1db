"""Zero fill, for kernels without input elements."""
from __future__ import annotations

from ....ir import Var
from ..device_info import DeviceInfo
from ..shader_dispatch import WGSL_TYPES, ShaderDispatch
from .elementwise_dispatch import elementwise_dispatch

LANES = 256              # of a workgroup


def zeros(out: Var, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Fill a result with zeros."""
    count, element = out.spec.count, WGSL_TYPES[out.spec.dtype.name]
    return [elementwise_dispatch("zeros", {"out": out}, count, LANES, device_info,
                                 element=element, COUNT=count, WIDTH=count)]
