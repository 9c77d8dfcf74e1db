"""A program as one piece of bytes: its shaders, its dispatches, and what the host must know.

An image needs neither the plan nor the compiler. It is a line of JSON, which both hosts read, and
then the constants.
"""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Union

STAMP = 8                            # bytes

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
    """Slots are inputs, `constants`, outputs, and one more of `staging` bytes if there are any.
    `names` tells people what each shader is for, `kernels` which kernel of the plan each dispatch
    carries out: its number, and below that of a Repeat the number within.

    With `stamps`, a number of bytes, there is a last slot of that size, and each dispatch is a pass
    of its own: dispatch n begins at stamp 2 n there and ends at stamp 2 n + 1, which are ticks of
    the GPU's clock, 8 bytes each."""

    shaders: tuple[str, ...]
    names: tuple[str, ...]
    steps: tuple[Union[Dispatch, Copy], ...]
    constants: tuple[tuple[str, bytes], ...]         # dtype, elements as the host has them
    inputs: int
    outputs: tuple[tuple[str, int], ...]             # dtype, count of elements
    updates: dict[int, int]          # output -> the input whose buffer it may be handed
    arena_size: int
    staging: int
    bytes_moved: int                 # of all that its dispatches bind, and twice of what is copied
    kernels: tuple[tuple[int, ...], ...] = ()
    stamps: int = 0

    def to_bytes(self) -> bytes:
        plain = ("shaders", "names", "inputs", "outputs", "arena_size", "staging", "bytes_moved",
                 "kernels", "stamps")
        head = {name: getattr(self, name) for name in plain}
        head["steps"] = [asdict(step) for step in self.steps]
        head["parts"] = [(dtype, len(data)) for dtype, data in self.constants]
        head["updates"] = list(self.updates.items())
        return b"".join([json.dumps(head).encode(), b"\n", *(data for _, data in self.constants)])

    @staticmethod
    def from_bytes(data: bytes) -> Image:
        line, rest = data.split(b"\n", 1)
        head, constants, begin = json.loads(line), [], 0
        for dtype, size in head.pop("parts"):
            constants.append((dtype, rest[begin:begin + size]))
            begin += size
        head["steps"] = tuple(map(_step, head["steps"]))
        head |= {"shaders": tuple(head["shaders"]), "names": tuple(head["names"]),
                 "updates": dict(head["updates"]), "kernels": tuple(map(tuple, head["kernels"])),
                 "outputs": tuple((dtype, count) for dtype, count in head["outputs"])}
        return Image(constants=tuple(constants), **head)


def _step(step: dict) -> Dispatch | Copy:
    if "shader" not in step:
        return Copy(Binding(**step["source"]), Binding(**step["target"]))
    bindings = tuple(Binding(**b) for b in step["bindings"])
    return Dispatch(step["shader"], bindings, tuple(step["groups"]))
