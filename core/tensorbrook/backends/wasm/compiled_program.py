"""A compiled program as bytes: its WebAssembly module and the metadata needed to run it.

Running a CompiledProgram needs neither the plan nor the compiler. A page keeps compiled programs in
its program cache between visits.
"""
from __future__ import annotations

import json
from dataclasses import dataclass

from ...ir import Plan
from .module_codegen import emit_module, table_words


@dataclass(frozen=True)
class CompiledProgram:
    """A module and its slots: the inputs, then the constants, then the outputs, then the rotating
    slots, which the program itself fills."""

    module: bytes
    constants: tuple[bytes, ...]
    input_count: int
    output_sizes: tuple[int, ...]                 # bytes
    input_output_aliases: dict[int, int]          # output -> the input whose buffer it may reuse
    arena_size: int                               # bytes
    kernel_count: int
    is_parallel: bool                             # whether any kernel runs on all threads
    rotating_slots: int
    table_words: int                              # of the address tables after the slots

    @property
    def slots(self) -> int:
        fixed = self.input_count + len(self.constants) + len(self.output_sizes)
        return fixed + self.rotating_slots

    def to_bytes(self) -> bytes:
        """Serialize as a line of JSON, then the module and the constants."""
        blobs = self.module, *self.constants
        header = {"blob_sizes": [len(blob) for blob in blobs], "input_count": self.input_count,
                  "output_sizes": self.output_sizes,
                  "input_output_aliases": list(self.input_output_aliases.items()),
                  "arena_size": self.arena_size, "kernel_count": self.kernel_count,
                  "is_parallel": self.is_parallel, "rotating_slots": self.rotating_slots,
                  "table_words": self.table_words}
        return b"".join([json.dumps(header).encode(), b"\n", *blobs])

    @staticmethod
    def from_bytes(data: bytes) -> CompiledProgram:
        line, contents = data.split(b"\n", 1)
        header, blobs, begin = json.loads(line), [], 0
        for size in header.pop("blob_sizes"):
            blobs.append(contents[begin:begin + size])
            begin += size
        header |= {"output_sizes": tuple(header["output_sizes"]),
                   "input_output_aliases": dict(header["input_output_aliases"])}
        return CompiledProgram(blobs[0], tuple(blobs[1:]), **header)


def compile_plan(
    plan: Plan, relaxed: bool, shared: bool, timestamps: int | None = None
) -> CompiledProgram:
    """Compile a plan; the parameters are those of emit_module."""
    return CompiledProgram(
        module=emit_module(plan, relaxed, shared, timestamps) if plan.steps else b"",
        constants=tuple(bytes(c.value) for c in plan.constants),
        input_count=len(plan.inputs),
        output_sizes=tuple(o.spec.size_bytes for o in plan.outputs),
        input_output_aliases=dict(plan.input_output_aliases),
        arena_size=plan.arena_size,
        kernel_count=len(plan.steps),
        is_parallel=any(step.parallel for step in plan.steps),
        rotating_slots=plan.rotating_slots,
        table_words=table_words(plan),
    )
