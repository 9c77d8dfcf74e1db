"""The kernels that templates carry out, by the names and numbers that wasm/engine.h gives them.

`CALLS[name](call, device_info)` gives the parts of a Call, which run one after the other.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch
from . import attention, conv, gemm, sort, gather_scatter, pool, random, cumsum

KERNELS: Mapping[str, Callable[[KernelCall, DeviceInfo], list[ShaderDispatch]]] = {
    **gemm.KERNELS, **conv.KERNELS, **pool.KERNELS, **attention.KERNELS, **gather_scatter.KERNELS, **sort.KERNELS,
    **random.KERNELS, **cumsum.KERNELS}
