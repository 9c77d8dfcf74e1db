"""A program as one piece of bytes: its shaders, its dispatches, and what the host must know.

An image needs neither the plan nor the compiler. It is a line of JSON, which both hosts read, and
then the constants.
"""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Union


@dataclass(frozen=True)
class Binding:
    """Bytes of a buffer: 0 is the arena, 1 + n is slot n."""

    buffer: int
    offset: int
    size: int
    writes: bool                     # whether it is bound as read_write


@dataclass(frozen=True)
class Dispatch:
    """Workgroups of a shader, its bindings in the order of their numbers."""

    shader: int
    bindings: tuple[Binding, ...]
    groups: tuple[int, int, int]


@dataclass(frozen=True)
class Copy:
    """Bytes that move from one buffer to another; multiples of 4."""

    source: Binding
    target: Binding


@dataclass(frozen=True)
class Image:
    """`constants` go into the slots after the inputs; `sizes` are the outputs' bytes."""

    shaders: tuple[str, ...]
    steps: tuple[Union[Dispatch, Copy], ...]
    constants: tuple[bytes, ...]
    inputs: int
    sizes: tuple[int, ...]
    updates: dict[int, int]          # output -> the input whose buffer it may be handed
    arena_size: int

    @property
    def slots(self) -> int:
        return self.inputs + len(self.constants) + len(self.sizes)

    def to_bytes(self) -> bytes:
        head = {"shaders": self.shaders, "steps": [asdict(step) for step in self.steps],
                "parts": [len(c) for c in self.constants], "inputs": self.inputs,
                "sizes": self.sizes, "updates": list(self.updates.items()),
                "arena_size": self.arena_size}
        return b"".join([json.dumps(head).encode(), b"\n", *self.constants])

    @staticmethod
    def from_bytes(data: bytes) -> Image:
        line, rest = data.split(b"\n", 1)
        head, constants = json.loads(line), []
        for size in head.pop("parts"):
            constants.append(rest[:size])
            rest = rest[size:]
        head["steps"] = tuple(map(_step, head["steps"]))
        head |= {"shaders": tuple(head["shaders"]), "sizes": tuple(head["sizes"]),
                 "updates": dict(head["updates"])}
        return Image(constants=tuple(constants), **head)


def _step(step: dict) -> Dispatch | Copy:
    if "shader" not in step:
        return Copy(Binding(**step["source"]), Binding(**step["target"]))
    bindings = tuple(Binding(**b) for b in step["bindings"])
    return Dispatch(step["shader"], bindings, tuple(step["groups"]))
