"""How products end: in pieces that are summed up, or whole, and then in what follows them."""
from __future__ import annotations

from ....base.dtypes import float16
from ....ir import KernelCall
from ..device_info import DeviceInfo
from ..loop_codegen import inline_epilogue
from ..shader_dispatch import WGSL_TYPES, ShaderDispatch, TemporaryBuffer, grid
from ..shader_templates import instantiate
from .zeros import LANES

# Untuned estimates: invocations that keep a GPU busy, and how many at most share an element, so
# that neighbours still read 64 bytes that follow each other.
BUSY = 1 << 15
SHARING = 16
SECTOR = 8               # elements of 32 bytes, which memory gives at least


def element_type(call: KernelCall) -> str:
    """The type of the result's elements."""
    return WGSL_TYPES[call.outs[0].spec.dtype.name]


def operand_types(call: KernelCall, first: int = 0) -> dict[str, str | bool]:
    """What the two arguments are in memory and what they are taken as, for templates that include
    include/operand_load.wgsl: argument `first`, and then the other."""
    args = call.args[first], call.args[1 - first]
    loads = call.operand_dtypes or tuple(a.spec.dtype for a in call.args)
    rounds = [loaded is float16 and a.spec.dtype is not float16
              for a, loaded in zip(args, (loads[first], loads[1 - first]))]
    types = [WGSL_TYPES[a.spec.dtype.name] for a in args]
    found = {"first_type": types[0], "second_type": types[1], "ROUND": any(rounds),
             "ROUND_FIRST": rounds[0], "ROUND_SECOND": rounds[1]}
    return found | ({"half_type": "f16"} if any(rounds) else {})


def final_dispatch(call: KernelCall, name: str, buffers: dict, groups, **constants) -> ShaderDispatch:
    """The part that writes the result, and carries out what follows it."""
    code, more = inline_epilogue(instantiate(name, **constants), call)
    own = {"out": call.outs[0]} if call.result_escapes else {}
    return ShaderDispatch(code, buffers | own | more, groups)


def split_k_dispatches(call: KernelCall, device_info: DeviceInfo, pieces: int, name: str, names, groups,
           **constants) -> list[ShaderDispatch]:
    """A part that reads the call's arguments by these names; if it makes several pieces, which are
    float32, then their sum."""
    out, = call.outs
    args = dict(zip(names, call.args))
    if pieces == 1:
        return [final_dispatch(call, name, args, groups, sum_type=element_type(call), PARTS=1, **constants)]
    count = out.spec.count
    between, lines = TemporaryBuffer(4 * pieces * count), lanes_per_element(count, pieces)
    columns = min(256, device_info.max_invocations) // lines
    shuffles = device_info.min_subgroup_size > 0 and lines > 1
    code = instantiate(name, sum_type="f32", PARTS=pieces, **constants)
    return [ShaderDispatch(code, args | {"out": between}, groups),
            final_dispatch(call, "split_k_sum", {"pieces": between}, grid(count, columns, device_info.max_workgroups),
                 element=element_type(call), PARTS=pieces, COUNT=count, WIDTH=call.result_matrix_shape[1],
                 COLUMNS=columns, LINES=lines, BESIDE=SECTOR if shuffles else columns,
                 SUBGROUPS=shuffles)]


def lanes_per_element(count: int, pieces: int) -> int:
    """How many invocations add up the pieces of an element."""
    lines = 1
    while count * lines < BUSY and 2 * lines <= min(SHARING, pieces):
        lines *= 2
    return lines


def zero_output(call: KernelCall, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """There is nothing to add up."""
    count, width = call.outs[0].spec.count, call.result_matrix_shape[1]
    groups = grid(count, LANES, device_info.max_workgroups)
    return [final_dispatch(call, "zeros", {}, groups, element=element_type(call), COUNT=count,
                 WIDTH=width, LANES=LANES)] if count else []
