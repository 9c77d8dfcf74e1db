"""Loop code generation: a LoopKernel as dispatches of generated WGSL, and epilogues of templates.

In a loop without reductions, each invocation computes one element or, if rows are whole vec4s, four
consecutive elements; if an operand is transposed, workgroups compute tiles. Reductions are in
reduction_codegen.py. Workgroup shapes are heuristics; not tuned on hardware.
"""
from __future__ import annotations

import re

from ...base.shapes import num_elements
from ...ir import Atom, KernelCall, LoopKernel
from ...ir.loop_axes import order_axes
from .axis_order import transposed_axis, varying_values, vec4_buffers
from .device_info import DeviceInfo
from .reduction_codegen import reduction_dispatches
from .shader_dispatch import ShaderDispatch, grid
from .wgsl_emitter import VEC4, LoopIndex, WgslEmitter

WORKGROUP_SIZE = 256                     # invocations of a workgroup without reductions
TILE = 8, 32                             # sides of a tile: a 32-byte sector, a 128-byte cache line


def loop_dispatches(loop: LoopKernel, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """Lower a loop to dispatches, in the order in which they run."""
    if 0 in loop.reduced_space:
        return []
    loop = order_axes(loop)                       # gives a loop with reductions a reduction axis
    return reduction_dispatches(loop, device_info) if loop.reduction_axes \
        else [_elementwise(loop, device_info)]


def _elementwise(loop: LoopKernel, device_info: DeviceInfo) -> ShaderDispatch:
    axis = transposed_axis(loop)
    return _linear(loop, device_info) if axis is None \
        else _transposing_tiles(loop, axis, device_info)


def _linear(loop: LoopKernel, device_info: DeviceInfo) -> ShaderDispatch:
    """Neighbouring invocations compute neighbouring elements along the last axis."""
    unroll = VEC4 if loop.iteration_space[-1] % VEC4 == 0 else 1
    emitter = WgslEmitter(loop, unroll, vec4_buffers(loop) if unroll > 1 else frozenset())
    sizes = [*loop.iteration_space[:-1], loop.iteration_space[-1] // unroll]
    count = num_elements(tuple(sizes))
    groups = grid(count, WORKGROUP_SIZE, device_info.max_workgroups)
    emitter.line(f"let index = (group.y * {groups[0]}u + group.x) * {WORKGROUP_SIZE}u + lane;")
    emitter.line(f"if (index >= {count}u) {{ return; }}")
    names = emitter.split_index("index", sizes, "i")
    emitter.indices = [LoopIndex(name) for name in names[:-1]]
    emitter.indices.append(LoopIndex(names[-1], unroll, unrolled=True))
    return _finish(emitter, groups)


def _transposing_tiles(loop: LoopKernel, across: int, device_info: DeviceInfo) -> ShaderDispatch:
    """Tile the last axis and `across`, the axis along which a transposed operand is contiguous, so
    that cache lines of both are used completely while they are in cache."""
    emitter = WgslEmitter(loop)
    tile = {len(loop.iteration_space) - 1: TILE[1], across: TILE[0]}
    sizes = [-(-n // tile.get(axis, 1)) for axis, n in enumerate(loop.iteration_space)]
    groups = grid(num_elements(tuple(sizes)), 1, device_info.max_workgroups)
    emitter.line(f"let tile = group.y * {groups[0]}u + group.x;")
    emitter.line(f"if (tile >= {num_elements(tuple(sizes))}u) {{ return; }}")
    names = emitter.split_index("tile", sizes, "i")
    for axis, in_tile in ((across, f"lane / {TILE[1]}u"), (len(sizes) - 1, f"lane % {TILE[1]}u")):
        name = f"j{axis}"
        emitter.line(f"let {name} = {names[axis]} * {tile[axis]}u + {in_tile};")
        emitter.line(f"if ({name} >= {loop.iteration_space[axis]}u) {{ return; }}")
        names[axis] = name
    emitter.indices = [LoopIndex(name) for name in names]
    return _finish(emitter, groups)


def _finish(emitter: WgslEmitter, groups: tuple[int, int, int]) -> ShaderDispatch:
    emit_body(emitter, varying_values(emitter.loop, {len(emitter.loop.iteration_space) - 1}))
    parameters = "@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32"
    code = emitter.module("", parameters, WORKGROUP_SIZE)
    return ShaderDispatch(code, emitter.buffers(), groups)


def emit_body(emitter: WgslEmitter, varies: list[bool]) -> None:
    """Emit all values of a loop without reductions, then its stores: a result may alias an operand,
    so all loads come first."""
    for i in range(len(emitter.loop.values)):
        emitter.compute(i, varies[i])
    for store in emitter.loop.stores:
        emitter.store(store)


# ── epilogues ─────────────────────────────────────────────────────────────────────────────────

_STORE = re.compile(r"^fn store(_vec4)?\(row: u32, column: u32, (?:value: f32|values: vec4f)\) "
                    r"\{(?:[^\n]*\}\n|\n.*?^\}\n)", re.M | re.S)
_BINDING = re.compile(r"^@group\(0\) @binding\((\d+)\)[^\n]*\n", re.M)
_OUT = re.compile(r"^@group\(0\) @binding\(\d+\)[^\n]* out: [^\n]*\n", re.M)


def epilogue_takes_vec4(call: KernelCall) -> bool:
    """Whether the kernel's result may be stored as vec4: it has no epilogue, or one that computes
    four columns at a time."""
    return call.epilogue is None or call.outs[0] in vec4_buffers(call.epilogue)


def inline_epilogue(code: str, call: KernelCall) -> tuple[str, dict[str, Atom]]:
    """Inline the epilogue of a call into the store function of its template.

    Returns the code and the buffers that the epilogue adds. The epilogue follows the template's own
    store of the result; if the result has no other consumers, the epilogue replaces the store and
    `out` is not bound. Rows and columns are as in `call.result_matrix_shape`. The store function
    is one of the following, on one line or up to a brace in the first column; a template with both
    calls `store` from `store_vec4`:

        fn store(row: u32, column: u32, value: f32) { out[row * COLUMNS + column] = value; }
        fn store_vec4(row: u32, column: u32, values: vec4f) { ... }"""
    if call.epilogue is None or 0 in call.epilogue.iteration_space:
        return code, {}
    store = min(_STORE.finditer(code), key=lambda match: bool(match[1]))
    emitter = _epilogue(call, bool(store[1]))
    signature, own_store = store[0].rstrip()[:-1].rstrip().split("{", 1)
    function = "\n".join([f"{signature}{{{own_store if call.result_escapes else ''}",
                          *emitter.lines, "}\n"])
    bindings = list(_BINDING.finditer(code))
    first = 1 + max(int(match[1]) for match in bindings)
    declarations = "".join(emitter.declaration_of(first + n, atom) + "\n"
                           for n, atom in enumerate(emitter.names))
    end = bindings[-1].end()
    assert end <= store.start(), "a template declares its bindings before its functions"
    module = code[:end] + declarations + code[end:store.start()] + function + code[store.end():]
    module = module if call.result_escapes else _OUT.sub("", module)
    enable = "enable f16;\n" if emitter.uses_float16 and "enable f16;" not in code else ""
    return enable + module + emitter.library(), emitter.buffers()


def _epilogue(call: KernelCall, is_vec4: bool) -> WgslEmitter:
    """Emit an epilogue of one element, or of four consecutive elements of a row."""
    loop, (out,) = call.epilogue, call.outs
    assert loop is not None
    # Buffers of the arguments have the element type that the template declares.
    wide = vec4_buffers(loop) - {*call.args} if is_vec4 else frozenset()
    emitter = WgslEmitter(loop, VEC4 if is_vec4 else 1, wide, name="epilogue_{}")
    emitter.names.pop(out, None)
    emitter.provided = {out: [f"values.{c}" for c in "xyzw"] if is_vec4 else ["value"]}
    emitter.indices = [LoopIndex("row"), LoopIndex("column")]
    if is_vec4:
        emitter.line(f"if (column >= {loop.iteration_space[1]}u) {{ return; }}")
        emitter.line(f"let column_vec4 = column / {VEC4}u;")
        emitter.indices[1] = LoopIndex("column_vec4", VEC4, unrolled=True)
    emit_body(emitter, varying_values(loop, {1}))
    return emitter
