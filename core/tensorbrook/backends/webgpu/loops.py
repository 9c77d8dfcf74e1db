"""A Loop as dispatches of generated WGSL, and the epilogues of templates.

A loop that folds nothing is a map: each invocation takes one index or, where rows are whole vec4,
four neighbours; where something lies across, workgroups take tiles. Folds are in rows.py. How many
invocations take what are estimates: no GPU was measured.
"""
from __future__ import annotations

import re

from ...base.shapes import size
from ...ir import Atom, Call, Loop
from .facts import Facts
from .order import ordered, turned, varying, wide_buffers
from .part import Part, over
from .rows import folds
from .writer import WIDE, Counter, Writer

GROUP = 256                              # invocations of a map's workgroup
TILE = 8, 32                             # sides of a tile: a sector of 32 bytes, a line of 128


def parts(loop: Loop, facts: Facts) -> list[Part]:
    """The dispatches that carry out `loop`, one after the other."""
    if 0 in loop.outer:
        return []
    loop = ordered(loop)                     # has folded axes if it folds
    return folds(loop, facts) if loop.axes else [_map(loop, facts)]


def _map(loop: Loop, facts: Facts) -> Part:
    across = turned(loop)
    return _in_rows(loop, facts) if across is None else _in_tiles(loop, across, facts)


def _in_rows(loop: Loop, facts: Facts) -> Part:
    """Neighbouring invocations along the last axis."""
    copies = WIDE if loop.space[-1] % WIDE == 0 else 1
    writer = Writer(loop, copies, wide_buffers(loop) if copies > 1 else frozenset())
    sizes = [*loop.space[:-1], loop.space[-1] // copies]
    count = size(tuple(sizes))
    groups = over(count, GROUP, facts.workgroups)
    writer.line(f"let at = (group.y * {groups[0]}u + group.x) * {GROUP}u + lane;")
    writer.line(f"if (at >= {count}u) {{ return; }}")
    names = writer.apart("at", sizes, "i")
    writer.counters = [Counter(name) for name in names[:-1]]
    writer.counters.append(Counter(names[-1], copies, copied=True))
    return _whole(writer, groups)


def _in_tiles(loop: Loop, across: int, facts: Facts) -> Part:
    """A workgroup takes a tile of the last axis and of that along which something else lies side by
    side: what comes from memory in one piece is used up while it is in cache."""
    writer = Writer(loop)
    tile = {len(loop.space) - 1: TILE[1], across: TILE[0]}
    sizes = [-(-n // tile.get(axis, 1)) for axis, n in enumerate(loop.space)]
    groups = over(size(tuple(sizes)), 1, facts.workgroups)
    writer.line(f"let tile = group.y * {groups[0]}u + group.x;")
    writer.line(f"if (tile >= {size(tuple(sizes))}u) {{ return; }}")
    names = writer.apart("tile", sizes, "i")
    for axis, side in ((across, f"lane / {TILE[1]}u"), (len(sizes) - 1, f"lane % {TILE[1]}u")):
        name = f"j{axis}"
        writer.line(f"let {name} = {names[axis]} * {tile[axis]}u + {side};")
        writer.line(f"if ({name} >= {loop.space[axis]}u) {{ return; }}")
        names[axis] = name
    writer.counters = [Counter(name) for name in names]
    return _whole(writer, groups)


def _whole(writer: Writer, groups: tuple[int, int, int]) -> Part:
    body(writer, varying(writer.loop, {len(writer.loop.space) - 1}))
    arguments = "@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32"
    return Part(writer.module("", arguments, GROUP), writer.buffers(), groups)


def body(writer: Writer, varies: list[bool]) -> None:
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


def takes_four(call: Call) -> bool:
    """Whether the epilogue goes with four columns at a time, on a result that is vec4."""
    return call.epilogue is None or call.outs[0] in wide_buffers(call.epilogue)


def with_epilogue(code: str, call: Call) -> tuple[str, dict[str, Atom]]:
    """A template's text with the call's epilogue in its function `put`, after what that does, or in
    place of it where nobody else reads the result, which then is not bound; and what stands behind
    the names of the buffers this adds. Rows and columns are those of `call.rectangle`. The text is
    a module's before its bindings are placed; without an epilogue it stays as it is. The function
    is one of these, in a line or up to a brace at the margin; a template that has both calls the
    first in the second:

        fn put(row: u32, column: u32, value: f32) { out[row * COLUMNS + column] = value; }
        fn put_four(row: u32, column: u32, four: vec4f) { ... }"""
    if call.epilogue is None or 0 in call.epilogue.space:
        return code, {}
    put = min(_PUT.finditer(code), key=lambda found: bool(found[1]))
    writer = _epilogue(call, bool(put[1]))
    head, body = put[0].rstrip()[:-1].rstrip().split("{", 1)
    ended = "\n".join([f"{head}{{{body if call.kept else ''}", *writer.lines, "}\n"])
    bindings = list(_BINDING.finditer(code))
    first = 1 + max(int(found[1]) for found in bindings)
    declared = "".join(writer.declared(first + n, atom) + "\n"
                       for n, atom in enumerate(writer.names))
    end = bindings[-1].end()
    assert end <= put.start(), "a module's bindings stand before its functions"
    whole = code[:end] + declared + code[end:put.start()] + ended + code[put.end():]
    whole = whole if call.kept else _OUT.sub("", whole)
    half = writer.half and "enable f16;" not in code
    return ("enable f16;\n" if half else "") + whole + writer.library(), writer.buffers()


def _epilogue(call: Call, four: bool) -> Writer:
    """The lines that carry out an epilogue on an element, or on four neighbours."""
    loop, (out,) = call.epilogue, call.outs
    assert loop is not None
    # What the template reads, too, has the type that it has there.
    wide = wide_buffers(loop) - {*call.args} if four else frozenset()
    writer = Writer(loop, WIDE if four else 1, wide, name="epilogue_{}")
    writer.names.pop(out, None)
    writer.given = {out: [f"four.{part}" for part in "xyzw"] if four else ["value"]}
    writer.counters = [Counter("row"), Counter("column")]
    if four:
        writer.line(f"if (column >= {loop.space[1]}u) {{ return; }}")
        writer.line(f"let fourth = column / {WIDE}u;")
        writer.counters[1] = Counter("fourth", WIDE, copied=True)
    body(writer, varying(loop, {1}))
    return writer
