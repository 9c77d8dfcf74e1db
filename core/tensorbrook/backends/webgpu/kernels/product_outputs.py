"""Outputs of matrix products and convolutions: split-k partial sums, epilogues, element types."""
from __future__ import annotations

from ....base.dtypes import float16
from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..loop_codegen import inline_epilogue
from ..shader_dispatch import WGSL_TYPES, ShaderDispatch, TemporaryBuffer, grid
from ..shader_templates import instantiate
from .zeros import LANES

# Heuristics; not tuned on hardware: invocations that keep a GPU busy, and the maximum of lanes that
# sum one element, so that neighbours still read 64 contiguous bytes.
TARGET_INVOCATIONS = 1 << 15
MAX_LANES_PER_ELEMENT = 16
SECTOR = 8               # elements of a memory sector of 32 bytes


def element_type(call: KernelCall) -> str:
    """The element type of the result's buffer."""
    return WGSL_TYPES[call.outs[0].spec.dtype.name]


def operand_types(call: KernelCall, first: int = 0) -> dict[str, str | bool]:
    """Return the settings of include/operand_load.wgsl: the element types of the two arguments, and
    which are rounded to float16 when they are loaded. `first` is the template's first operand."""
    args = call.args[first], call.args[1 - first]
    loads = call.operand_dtypes or tuple(a.spec.dtype for a in call.args)
    rounds = [loaded is float16 and a.spec.dtype is not float16
              for a, loaded in zip(args, (loads[first], loads[1 - first]))]
    types = [WGSL_TYPES[a.spec.dtype.name] for a in args]
    settings = {"first_type": types[0], "second_type": types[1], "ROUND": any(rounds),
                "ROUND_FIRST": rounds[0], "ROUND_SECOND": rounds[1]}
    return settings | ({"half_type": "f16"} if any(rounds) else {})


def final_dispatch(call: KernelCall, template: str, buffers: dict, groups,
                   **settings) -> ShaderDispatch:
    """Dispatch a template that stores the result and computes the epilogue."""
    code, epilogue_buffers = inline_epilogue(instantiate(template, **settings), call)
    out = {"out": call.outs[0]} if call.result_escapes else {}
    return ShaderDispatch(code, buffers | out | epilogue_buffers, groups)


def split_k_dispatches(call: KernelCall, device_info: DeviceInfo, splits: int, template: str,
                       names, groups, **settings) -> list[ShaderDispatch]:
    """Dispatch a template over the call's arguments, which it names `names`; with several splits of
    k, it stores float32 partial sums, which a second dispatch adds up."""
    out, = call.outs
    args = dict(zip(names, call.args))
    if splits == 1:
        return [final_dispatch(call, template, args, groups, sum_type=element_type(call),
                               SPLIT_K=1, **settings)]
    count = out.spec.count
    partials, lanes = TemporaryBuffer(4 * splits * count), lanes_per_element(count, splits)
    columns = min(256, device_info.max_invocations) // lanes
    shuffles = device_info.min_subgroup_size > 0 and lanes > 1
    code = instantiate(template, sum_type="f32", SPLIT_K=splits, **settings)
    return [ShaderDispatch(code, args | {"out": partials}, groups),
            final_dispatch(call, "split_k_sum", {"partials": partials},
                           grid(count, columns, device_info.max_workgroups),
                           element=element_type(call), SPLIT_K=splits, COUNT=count,
                           WIDTH=call.result_matrix_shape[1], COLUMNS=columns,
                           LANES_PER_ELEMENT=lanes, CONTIGUOUS=SECTOR if shuffles else columns,
                           SUBGROUPS=shuffles)]


def lanes_per_element(count: int, splits: int) -> int:
    """Return the number of lanes that add up the partial sums of an element."""
    lanes = 1
    while count * lanes < TARGET_INVOCATIONS and 2 * lanes <= min(MAX_LANES_PER_ELEMENT, splits):
        lanes *= 2
    return lanes


def zero_output(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Compute the result of an empty sum, and its epilogue."""
    count, width = call.outs[0].spec.count, call.result_matrix_shape[1]
    groups = grid(count, LANES, device_info.max_workgroups)
    return [final_dispatch(call, "zeros", {}, groups, element=element_type(call), COUNT=count,
                           WIDTH=width, LANES=LANES)] if count else []
