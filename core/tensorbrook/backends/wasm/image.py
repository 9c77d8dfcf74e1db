"""A program as one piece of bytes: its module, and what its host must know to run it.

An image needs neither the plan nor the compiler. A page keeps images from one visit to the next.
"""
from __future__ import annotations

import json
from dataclasses import dataclass

from ...ir import Plan
from .program import render


@dataclass(frozen=True)
class Image:
    """`constants` go into the slots after the inputs; `sizes` are the outputs' bytes."""

    module: bytes
    constants: tuple[bytes, ...]
    inputs: int
    sizes: tuple[int, ...]
    updates: dict[int, int]          # output -> the input whose buffer it may be handed
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
                "updates": list(self.updates.items()), "arena_size": self.arena_size,
                "kernels": self.kernels, "split": self.split, "moving": self.moving}
        return b"".join([json.dumps(head).encode(), b"\n", *parts])

    @staticmethod
    def from_bytes(data: bytes) -> Image:
        line, rest = data.split(b"\n", 1)
        head, parts = json.loads(line), []
        for size in head.pop("parts"):
            parts.append(rest[:size])
            rest = rest[size:]
        head |= {"sizes": tuple(head["sizes"]), "updates": dict(head["updates"])}
        return Image(parts[0], tuple(parts[1:]), **head)


def image_of(plan: Plan, relaxed: bool, shared: bool, stamps: int | None = None) -> Image:
    """The image of a plan, for engines with relaxed SIMD or not, with shared memory or not;
    with `stamps` that of a program which tells how long its steps take."""
    module = render(plan, relaxed, shared, stamps) if plan.steps else b""
    return Image(module, tuple(bytes(c.value) for c in plan.constants), len(plan.inputs),
                 tuple(o.spec.size_bytes for o in plan.outputs), dict(plan.updates),
                 plan.arena_size, len(plan.steps), any(step.split for step in plan.steps),
                 plan.moving)
