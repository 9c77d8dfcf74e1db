"""A program as one piece of bytes: its shaders, its dispatches, and what the host must know.

An image needs neither the plan nor the compiler. It is a line of JSON for Python, another one for
the host, and then the constants. Each line is read by the one whom it is for, once.
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
class Commands:
    """What a host carries out. `names` tells people what each shader is for.

    With `stamps`, a number of bytes, there is a last slot of that size, and each dispatch is a pass
    of its own: dispatch n begins at stamp 2 n there and ends at stamp 2 n + 1, which are ticks of
    the GPU's clock, 8 bytes each."""

    shaders: tuple[str, ...]
    names: tuple[str, ...]
    steps: tuple[Union[Dispatch, Copy], ...]
    stamps: int = 0

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Commands:
        told = json.loads(data)
        return Commands(tuple(told["shaders"]), tuple(told["names"]),
                        tuple(map(_step, told["steps"])), told["stamps"])

    def written(self, slots: int) -> tuple[int, ...]:
        """Which of so many slots it writes."""
        bound = [b for step in self.steps
                 for b in ((step.target,) if isinstance(step, Copy) else step.bindings)]
        return tuple(sorted({b.buffer - 1 for b in bound if b.writes and 0 < b.buffer <= slots}))


@dataclass(frozen=True)
class Image:
    """What Python must know of a program. Slots are inputs, `constants`, outputs, one more of
    `staging` bytes if there are any, and one of `stamps` bytes if it has stamps."""

    commands: bytes                  # those of Commands
    constants: tuple[tuple[str, bytes], ...]         # dtype, elements as the host has them
    inputs: int
    outputs: tuple[tuple[str, int], ...]             # dtype, count of elements
    updates: dict[int, int]          # output -> the input whose buffer it may be handed
    writes: tuple[int, ...]          # the slots that it writes, but for the last two
    arena_size: int
    staging: int
    bytes_moved: int                 # of all that its dispatches bind, and twice of what is copied
    # Which kernel of the plan each dispatch carries out: its number, and below that of a Repeat the
    # number within.
    kernels: tuple[tuple[int, ...], ...] = ()
    stamps: int = 0

    # For who looks at a program; its host reads the commands once.
    @property
    def shaders(self) -> tuple[str, ...]:
        return Commands.from_bytes(self.commands).shaders

    @property
    def steps(self) -> tuple[Union[Dispatch, Copy], ...]:
        return Commands.from_bytes(self.commands).steps

    @property
    def first_output(self) -> int:
        """The slot of it."""
        return self.inputs + len(self.constants)

    def to_bytes(self) -> bytes:
        plain = ("inputs", "outputs", "writes", "arena_size", "staging", "bytes_moved", "kernels",
                 "stamps")
        head = {name: getattr(self, name) for name in plain}
        head["parts"] = [(dtype, len(data)) for dtype, data in self.constants]
        head["updates"] = list(self.updates.items())
        return b"".join([json.dumps(head).encode(), b"\n", self.commands, b"\n",
                         *(data for _, data in self.constants)])

    @staticmethod
    def from_bytes(data: bytes) -> Image:
        line, commands, rest = data.split(b"\n", 2)
        head, constants, begin = json.loads(line), [], 0
        for dtype, size in head.pop("parts"):
            constants.append((dtype, rest[begin:begin + size]))
            begin += size
        head |= {"updates": dict(head["updates"]), "writes": tuple(head["writes"]),
                 "kernels": tuple(map(tuple, head["kernels"])),
                 "outputs": tuple((dtype, count) for dtype, count in head["outputs"])}
        return Image(commands, tuple(constants), **head)


def _step(step: dict) -> Dispatch | Copy:
    if "shader" not in step:
        return Copy(Binding(**step["source"]), Binding(**step["target"]))
    bindings = tuple(Binding(**b) for b in step["bindings"])
    return Dispatch(step["shader"], bindings, tuple(step["groups"]))
