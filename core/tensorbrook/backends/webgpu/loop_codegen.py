"""A Loop as dispatches of generated WGSL, and the epilogues of templates.

A loop that folds nothing is a map: each invocation takes one index or, where rows are whole vec4,
four neighbours; where something lies across, workgroups take tiles. Folds are in rows.py. How many
invocations take what are estimates: no GPU was measured.
"""
from __future__ import annotations

import re

from ...base.shapes import num_elements
from ...ir import Atom, KernelCall, LoopKernel
from .device_info import DeviceInfo
from .axis_order import reorder_axes, transposed_axis, varying_values, vec4_buffers
from .shader_dispatch import ShaderDispatch, grid
from .reduction_codegen import reduction_dispatches
from .wgsl_emitter import VEC4, LoopIndex, WgslEmitter

WORKGROUP_SIZE = 256                              # invocations of a map's workgroup
TILE = 8, 32                             # sides of a tile: a sector of 32 bytes, a line of 128


def loop_dispatches(loop: LoopKernel, device_info: DeviceInfo) -> list[ShaderDispatch]:
    """The dispatches that carry out `loop`, one after the other."""
    if 0 in loop.reduced_space:
        return []
    loop = reorder_axes(loop)                     # has folded axes if it folds
    return reduction_dispatches(loop, device_info) if loop.reduction_axes else [_elementwise(loop, device_info)]


def _elementwise(loop: LoopKernel, device_info: DeviceInfo) -> ShaderDispatch:
    across = transposed_axis(loop)
    return _linear(loop, device_info) if across is None else _transposing_tiles(loop, across, device_info)


def _linear(loop: LoopKernel, device_info: DeviceInfo) -> ShaderDispatch:
    """Neighbouring invocations along the last axis."""
    copies = VEC4 if loop.iteration_space[-1] % VEC4 == 0 else 1
    writer = WgslEmitter(loop, copies, vec4_buffers(loop) if copies > 1 else frozenset())
    sizes = [*loop.iteration_space[:-1], loop.iteration_space[-1] // copies]
    count = num_elements(tuple(sizes))
    groups = grid(count, WORKGROUP_SIZE, device_info.max_workgroups)
    writer.line(f"let at = (group.y * {groups[0]}u + group.x) * {WORKGROUP_SIZE}u + lane;")
    writer.line(f"if (at >= {count}u) {{ return; }}")
    names = writer.split_index("at", sizes, "i")
    writer.counters = [LoopIndex(name) for name in names[:-1]]
    writer.counters.append(LoopIndex(names[-1], copies, copied=True))
    return _finish(writer, groups)


def _transposing_tiles(loop: LoopKernel, across: int, device_info: DeviceInfo) -> ShaderDispatch:
    """A workgroup takes a tile of the last axis and of that along which something else lies side by
    side: what comes from memory in one piece is used up while it is in cache."""
    writer = WgslEmitter(loop)
    tile = {len(loop.iteration_space) - 1: TILE[1], across: TILE[0]}
    sizes = [-(-n // tile.get(axis, 1)) for axis, n in enumerate(loop.iteration_space)]
    groups = grid(num_elements(tuple(sizes)), 1, device_info.max_workgroups)
    writer.line(f"let tile = group.y * {groups[0]}u + group.x;")
    writer.line(f"if (tile >= {num_elements(tuple(sizes))}u) {{ return; }}")
    names = writer.split_index("tile", sizes, "i")
    for axis, side in ((across, f"lane / {TILE[1]}u"), (len(sizes) - 1, f"lane % {TILE[1]}u")):
        name = f"j{axis}"
        writer.line(f"let {name} = {names[axis]} * {tile[axis]}u + {side};")
        writer.line(f"if ({name} >= {loop.iteration_space[axis]}u) {{ return; }}")
        names[axis] = name
    writer.counters = [LoopIndex(name) for name in names]
    return _finish(writer, groups)


def _finish(writer: WgslEmitter, groups: tuple[int, int, int]) -> ShaderDispatch:
    emit_body(writer, varying_values(writer.loop, {len(writer.loop.iteration_space) - 1}))
    arguments = "@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32"
    return ShaderDispatch(writer.module("", arguments, WORKGROUP_SIZE), writer.buffers(), groups)


def emit_body(writer: WgslEmitter, varies: list[bool]) -> None:
    """All values of a loop without folds, and its stores: everything is read before it is
    written, for a result may lie where an argument does."""
    for i in range(len(writer.loop.values)):
        writer.compute(i, varies[i])
    for store in writer.loop.stores:
        writer.store(store)


# ── epilogues ─────────────────────────────────────────────────────────────────────────────────

_PUT = re.compile(r"^fn put(_four)?\(row: u32, column: u32, (?:value: f32|four: vec4f)\) "
                  r"\{(?:[^\n]*\}\n|\n.*?^\}\n)", re.M | re.S)
_BINDING = re.compile(r"^@group\(0\) @binding\((\d+)\)[^\n]*\n", re.M)
_OUT = re.compile(r"^@group\(0\) @binding\(\d+\)[^\n]* out: [^\n]*\n", re.M)


def epilogue_takes_vec4(call: KernelCall) -> bool:
    """Whether the epilogue goes with four columns at a time, on a result that is vec4."""
    return call.epilogue is None or call.outs[0] in vec4_buffers(call.epilogue)


def inline_epilogue(code: str, call: KernelCall) -> tuple[str, dict[str, Atom]]:
    """A template's text with the call's epilogue in its function `put`, after what that does, or in
    place of it where nobody else reads the result, which then is not bound; and what stands behind
    the names of the buffers this adds. Rows and columns are those of `call.rectangle`. The text is
    a module's before its bindings are placed; without an epilogue it stays as it is. The function
    is one of these, in a line or up to a brace at the margin; a template that has both calls the
    first in the second:

        fn put(row: u32, column: u32, value: f32) { out[row * COLUMNS + column] = value; }
        fn put_four(row: u32, column: u32, four: vec4f) { ... }"""
    if call.epilogue is None or 0 in call.epilogue.iteration_space:
        return code, {}
    put = min(_PUT.finditer(code), key=lambda found: bool(found[1]))
    writer = _epilogue(call, bool(put[1]))
    head, body = put[0].rstrip()[:-1].rstrip().split("{", 1)
    ended = "\n".join([f"{head}{{{body if call.result_escapes else ''}", *writer.lines, "}\n"])
    bindings = list(_BINDING.finditer(code))
    first = 1 + max(int(found[1]) for found in bindings)
    declared = "".join(writer.declaration_of(first + n, atom) + "\n"
                       for n, atom in enumerate(writer.names))
    end = bindings[-1].end()
    assert end <= put.start(), "a module's bindings stand before its functions"
    whole = code[:end] + declared + code[end:put.start()] + ended + code[put.end():]
    whole = whole if call.result_escapes else _OUT.sub("", whole)
    half = writer.uses_float16 and "enable f16;" not in code
    return ("enable f16;\n" if half else "") + whole + writer.library(), writer.buffers()


def _epilogue(call: KernelCall, four: bool) -> WgslEmitter:
    """The lines that carry out an epilogue on an element, or on four neighbours."""
    loop, (out,) = call.epilogue, call.outs
    assert loop is not None
    # What the template reads, too, has the type that it has there.
    wide = vec4_buffers(loop) - {*call.args} if four else frozenset()
    writer = WgslEmitter(loop, VEC4 if four else 1, wide, name="epilogue_{}")
    writer.names.pop(out, None)
    writer.provided = {out: [f"four.{part}" for part in "xyzw"] if four else ["value"]}
    writer.counters = [LoopIndex("row"), LoopIndex("column")]
    if four:
        writer.line(f"if (column >= {loop.iteration_space[1]}u) {{ return; }}")
        writer.line(f"let fourth = column / {VEC4}u;")
        writer.counters[1] = LoopIndex("fourth", VEC4, copied=True)
    emit_body(writer, varying_values(loop, {1}))
    return writer
