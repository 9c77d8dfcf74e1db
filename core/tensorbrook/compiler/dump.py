"""Dumps of the pipeline: with TENSORBROOK_DUMP=folder, the program as text after every pass."""
from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from ..ir import Graph
from ..ir.printer import ValueNames, format_graph, format_kernel
from .fusion.epilogue_fusion import CallWithEpilogue
from .fusion.fusion_group import FusionGroup
from .lowering import Lowering

FOLDER = os.environ.get("TENSORBROOK_DUMP", "")
_numbers = count(1)


def write(pass_name: str, program: Graph | Lowering) -> None:
    """Write the program to a file that is numbered in the order of all passes of the process."""
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    text = format_graph(program) if isinstance(program, Graph) else format_lowering(program)
    path = folder / f"{next(_numbers):04d}-{pass_name}.txt"
    path.write_text(text + "\n", encoding="utf-8")


def format_lowering(lowering: Lowering) -> str:
    """The kernels in order, with the locations and barriers that are known."""
    names = ValueNames()
    lines = [f"inputs {', '.join(map(names.typed, lowering.graph.inputs))}"]
    if lowering.arena_size:
        lines.append(f"arena {lowering.arena_size} bytes, {lowering.peak_live_bytes} live at most")
    lines += _kernel_lines(lowering, names)
    lines.append(f"outputs {', '.join(map(names.typed, lowering.outputs))}")
    return "\n".join(lines)


def _kernel_lines(lowering: Lowering, names: ValueNames) -> Iterator[str]:
    steps = {id(step.kernel): step for step in lowering.steps}
    for n, kernel in enumerate(lowering.kernels):
        step = steps.get(id(kernel))
        if step is not None and step.barrier_before:
            yield "  ---- barrier"
        threads = "" if step is None else "all threads, " if step.parallel else "one thread, "
        yield f"  {n}: {threads}{_format(kernel, names, lowering)}"


def _format(kernel: Any, names: ValueNames, lowering: Lowering) -> str:
    if isinstance(kernel, FusionGroup):
        return _format_group(kernel, names)
    if isinstance(kernel, CallWithEpilogue):
        call = format_kernel(kernel.call, names, lowering.locations)
        return f"{call}\n      then {_format_group(kernel.group, names)}"
    return format_kernel(kernel, names, lowering.locations)


def _format_group(group: FusionGroup, names: ValueNames) -> str:
    """A group by the equations that have joined it."""
    space = "x".join(map(str, group.space)) or "scalar"
    reduced = f", reduced over axes {','.join(map(str, group.axes))}" if group.axes else ""
    lines = [f"group over {space}{reduced}"]
    for e in group.eqns:
        args = ", ".join(map(names.of, e.args))
        lines.append(f"       {', '.join(map(names.typed, e.outs))} = {e.prim.name}({args})")
    return "\n".join(lines)
