"""Maximum and average over windows, and their gradients: no invocation adds to what another one
writes."""
from __future__ import annotations

from collections.abc import Callable

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import WGSL_TYPES, ShaderDispatch, TemporaryBuffer
from .product_outputs import zero_output
from .elementwise_dispatch import invocations

NAMES = ("N", "H", "W", "C", "OH", "OW", "KH", "KW", "SH", "SW", "PT", "PL")
LANES = 64               # of a workgroup


def pool_dispatch(name: str, call: KernelCall, device_info: DeviceInfo, count: int, buffers: dict, **flags: bool) -> ShaderDispatch:
    """One invocation for each of `count` elements."""
    element = WGSL_TYPES[call.outs[0].spec.dtype.name]
    return invocations(name, buffers, count, LANES, device_info, element=element,
                       **dict(zip(NAMES, map(int, call.params))), **flags)


def single_dispatch_pool(name: str, *names: str, **flags: bool) -> Callable[[KernelCall, DeviceInfo], list[ShaderDispatch]]:
    """A pool of one part, which reads its arguments by these names."""
    def parts(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
        out, = call.outs
        if not all(x.spec.count for x in (*call.args, out)):
            return zero_output(call, device_info)
        buffers = dict(zip(names, call.args)) | {"out": out}
        return [pool_dispatch(name, call, device_info, out.spec.count, buffers, **flags)]

    return parts


def windows_partition_image(call: KernelCall) -> bool:
    """Whether the windows lie side by side and cover the image."""
    p = dict(zip(NAMES, map(int, call.params)))
    return (p["KH"], p["KW"]) == (p["SH"], p["SW"]) and p["OH"] * p["SH"] - p["PT"] >= p["H"] \
        and p["OW"] * p["SW"] - p["PL"] >= p["W"]


def max_pool_scatter(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Each window writes its cells, or, where they are not its alone, first the cell that wins each
    window, then what each cell gathers from those that it has won."""
    (g, x), (out,) = call.args, call.outs
    if not g.spec.count * out.spec.count:
        return zero_output(call, device_info)
    if windows_partition_image(call):
        return [pool_dispatch("max_pool", call, device_info, g.spec.count, {"g": g, "x": x, "out": out},
                     SPREAD=True)]
    winners = TemporaryBuffer(4 * g.spec.count)
    return [pool_dispatch("max_pool", call, device_info, g.spec.count, {"x": x, "out": winners}, WINNER=True),
            pool_dispatch("max_pool_grad", call, device_info, out.spec.count,
                 {"g": g, "winners": winners, "out": out})]


KERNELS = {"max_pool": single_dispatch_pool("max_pool", "x", MAXIMUM=True),
         "max_pool_select": single_dispatch_pool("max_pool", "y", "x", SELECT=True),
         "max_pool_scatter": max_pool_scatter,
         "avg_pool": single_dispatch_pool("avg_pool", "x"),
         "avg_pool_grad": single_dispatch_pool("avg_pool_grad", "g")}
