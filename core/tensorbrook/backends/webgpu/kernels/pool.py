"""Max and average pooling, and their gradients: gather formulations without atomic adds."""
from __future__ import annotations

from collections.abc import Callable

from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..shader_dispatch import WGSL_TYPES, ShaderDispatch, TemporaryBuffer
from .elementwise_dispatch import elementwise_dispatch
from .product_outputs import zero_output

PARAMS = ("N", "H", "W", "C", "OH", "OW", "KH", "KW", "SH", "SW", "PT", "PL")
LANES = 64               # of a workgroup


def pool_dispatch(template: str, call: KernelCall, device_info: DeviceInfo, count: int,
                  buffers: dict, **flags: bool) -> ShaderDispatch:
    """Dispatch one invocation for each of `count` elements."""
    element = WGSL_TYPES[call.outs[0].spec.dtype.name]
    return elementwise_dispatch(template, buffers, count, LANES, device_info, element=element,
                                **dict(zip(PARAMS, map(int, call.params))), **flags)


def single_dispatch_pool(template: str, *names: str, **flags: bool
                         ) -> Callable[[KernelCall, DeviceInfo], list[ShaderDispatch]]:
    """Return the lowering of a kernel with one dispatch; `names` are its arguments' buffers."""
    def lower(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
        out, = call.outs
        if not all(x.spec.count for x in (*call.args, out)):
            return zero_output(call, device_info)
        buffers = dict(zip(names, call.args)) | {"out": out}
        return [pool_dispatch(template, call, device_info, out.spec.count, buffers, **flags)]

    return lower


def windows_partition_image(call: KernelCall) -> bool:
    """Whether the windows are disjoint and cover the image."""
    p = dict(zip(PARAMS, map(int, call.params)))
    return (p["KH"], p["KW"]) == (p["SH"], p["SW"]) and p["OH"] * p["SH"] - p["PT"] >= p["H"] \
        and p["OW"] * p["SW"] - p["PL"] >= p["W"]


def max_pool_scatter(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Compute the gradient of max pooling: in one dispatch over windows if they partition the
    image; otherwise the argmax of each window, and then for each pixel the sum of the windows whose
    maximum it is."""
    (g, x), (out,) = call.args, call.outs
    if not g.spec.count * out.spec.count:
        return zero_output(call, device_info)
    if windows_partition_image(call):
        return [pool_dispatch("max_pool", call, device_info, g.spec.count,
                              {"g": g, "x": x, "out": out}, SCATTER=True)]
    argmax = TemporaryBuffer(4 * g.spec.count)
    return [pool_dispatch("max_pool", call, device_info, g.spec.count, {"x": x, "out": argmax},
                          ARGMAX=True),
            pool_dispatch("max_pool_grad", call, device_info, out.spec.count,
                          {"g": g, "argmax": argmax, "out": out})]


KERNELS = {"max_pool": single_dispatch_pool("max_pool", "x", MAXIMUM=True),
           "max_pool_select": single_dispatch_pool("max_pool", "y", "x", SELECT=True),
           "max_pool_scatter": max_pool_scatter,
           "avg_pool": single_dispatch_pool("avg_pool", "x"),
           "avg_pool_grad": single_dispatch_pool("avg_pool_grad", "g")}
