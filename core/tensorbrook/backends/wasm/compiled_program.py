"""A program as one piece of bytes: its module, and what its host must know to run it.

An image needs neither the plan nor the compiler. A page keeps images from one visit to the next.
"""
from __future__ import annotations

import json
from dataclasses import dataclass

from ...ir import Plan
from .module_codegen import emit_module


@dataclass(frozen=True)
class CompiledProgram:
    """`constants` go into the slots after the inputs; `sizes` are the outputs' bytes."""

    module: bytes
    constants: tuple[bytes, ...]
    inputs: int
    sizes: tuple[int, ...]
    input_output_aliases: dict[int, int]          # output -> the input whose buffer it may be handed
    arena_size: int
    kernels: int
    split: bool                      # whether any kernel is shared among the threads
    moving: int                      # slots that the program itself fills

    @property
    def slots(self) -> int:
        return self.inputs + len(self.constants) + len(self.sizes) + self.moving

    def to_bytes(self) -> bytes:
        """A line of JSON, then the module and the constants."""
        parts = self.module, *self.constants
        head = {"parts": [len(part) for part in parts], "inputs": self.inputs, "sizes": self.sizes,
                "aliases": list(self.input_output_aliases.items()), "arena_size": self.arena_size,
                "kernels": self.kernels, "split": self.split, "moving": self.moving}
        return b"".join([json.dumps(head).encode(), b"\n", *parts])

    @staticmethod
    def from_bytes(data: bytes) -> CompiledProgram:
        line, rest = data.split(b"\n", 1)
        head, parts = json.loads(line), []
        for size in head.pop("parts"):
            parts.append(rest[:size])
            rest = rest[size:]
        head |= {"sizes": tuple(head["sizes"]),
                 "input_output_aliases": dict(head.pop("aliases"))}
        return CompiledProgram(parts[0], tuple(parts[1:]), **head)


def compile_plan(plan: Plan, relaxed: bool, shared: bool, stamps: int | None = None) -> CompiledProgram:
    """The image of a plan, for engines with relaxed SIMD or not, with shared memory or not;
    with `stamps` that of a program which tells how long its steps take."""
    module = emit_module(plan, relaxed, shared, stamps) if plan.steps else b""
    return CompiledProgram(module, tuple(bytes(c.value) for c in plan.constants), len(plan.inputs),
                 tuple(o.spec.size_bytes for o in plan.outputs), dict(plan.input_output_aliases),
                 plan.arena_size, len(plan.steps), any(step.parallel for step in plan.steps),
                 plan.rotating_slots)
