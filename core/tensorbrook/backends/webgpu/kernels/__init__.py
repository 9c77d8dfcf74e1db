"""GPU kernels from templates, by the kernel names and parameters of wasm/engine.h.

`KERNELS[name](call, device_info)` lowers a KernelCall to the dispatches that run in order.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch
from . import attention, conv, cumsum, gather_scatter, gemm, pool, random, sort

KERNELS: Mapping[str, Callable[[KernelCall, DeviceInfo], list[ShaderDispatch]]] = {
    **gemm.KERNELS, **conv.KERNELS, **pool.KERNELS, **attention.KERNELS, **gather_scatter.KERNELS,
    **sort.KERNELS, **random.KERNELS, **cumsum.KERNELS}
