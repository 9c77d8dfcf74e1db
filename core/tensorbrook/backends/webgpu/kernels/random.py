"""Random bits from the Philox generator."""
from __future__ import annotations

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import ShaderDispatch
from .elementwise_dispatch import elementwise_dispatch

LANES = 256              # blocks of four words that a workgroup generates


def random_bits(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Generate the same bits as every other backend."""
    (state,), (out,) = call.args, call.outs
    if not out.spec.count:
        return []
    return [elementwise_dispatch("random_bits", {"state": state, "out": out},
                                 -(-out.spec.count // 4), LANES, device_info,
                                 COUNT=out.spec.count)]


KERNELS = {"random_bits": random_bits}
