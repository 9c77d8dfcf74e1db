"""Compiled program: shaders, dispatches and metadata of a plan, serializable as bytes.

A compiled program needs neither the plan nor the compiler. Its bytes are a line of JSON for Python,
a line of JSON for the host, and the constants. Each line is parsed once, by its reader.
"""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Union

TIMESTAMP_BYTES = 8


@dataclass(frozen=True)
class Binding:
    """A byte range of a buffer: buffer 0 is the arena, buffer 1 + n is slot n."""

    buffer: int
    offset: int
    size: int
    writes: bool                     # whether it is bound as read_write


@dataclass(frozen=True)
class Dispatch:
    """Workgroups of a shader; its bindings are in the order of their binding numbers."""

    shader: int
    bindings: tuple[Binding, ...]
    groups: tuple[int, int, int]


@dataclass(frozen=True)
class Copy:
    """A copy between two buffers; its offsets and size are multiples of 4."""

    source: Binding
    target: Binding


@dataclass(frozen=True)
class Commands:
    """The commands of a program for its host. `names` are readable names of the shaders.

    If `timestamp_buffer_bytes` is not 0, the last slot is a buffer of that size, and each dispatch
    is a separate pass: dispatch n begins at timestamp 2 n of the buffer and ends at timestamp
    2 n + 1. A timestamp is 8 bytes, in ticks of the GPU's clock."""

    shaders: tuple[str, ...]
    names: tuple[str, ...]
    steps: tuple[Union[Dispatch, Copy], ...]
    timestamp_buffer_bytes: int = 0

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Commands:
        fields = json.loads(data)
        return Commands(tuple(fields["shaders"]), tuple(fields["names"]),
                        tuple(map(_step, fields["steps"])), fields["timestamp_buffer_bytes"])

    def written_slots(self, slots: int) -> tuple[int, ...]:
        """Return which of the first `slots` slots the steps write."""
        bindings = [b for step in self.steps
                    for b in ((step.target,) if isinstance(step, Copy) else step.bindings)]
        return tuple(sorted({b.buffer - 1 for b in bindings
                             if b.writes and 0 < b.buffer <= slots}))


@dataclass(frozen=True)
class CompiledProgram:
    """Slots are the inputs, the constants, the outputs, then a staging buffer and a timestamp
    buffer where their sizes are not 0."""

    commands: bytes                  # serialized Commands
    constants: tuple[tuple[str, bytes], ...]         # dtype, elements in the host's layout
    inputs: int
    outputs: tuple[tuple[str, int], ...]             # dtype, number of elements
    input_output_aliases: dict[int, int]     # output -> the input whose buffer it may be handed
    written_slots: tuple[int, ...]           # without the staging buffer and the timestamps
    arena_size: int
    staging_bytes: int
    bytes_moved: int                 # bytes of all bindings, and twice the bytes of copies
    # For each dispatch the index of its kernel in the plan; inside a scan, followed by the index in
    # the scan's body.
    kernel_paths: tuple[tuple[int, ...], ...] = ()
    timestamp_buffer_bytes: int = 0

    # For inspection: the host parses the commands once, for itself.
    @property
    def shaders(self) -> tuple[str, ...]:
        return Commands.from_bytes(self.commands).shaders

    @property
    def steps(self) -> tuple[Union[Dispatch, Copy], ...]:
        return Commands.from_bytes(self.commands).steps

    @property
    def first_output_slot(self) -> int:
        return self.inputs + len(self.constants)

    def to_bytes(self) -> bytes:
        plain = ("inputs", "outputs", "written_slots", "arena_size", "staging_bytes",
                 "bytes_moved", "kernel_paths", "timestamp_buffer_bytes")
        header = {name: getattr(self, name) for name in plain}
        header["constants"] = [(dtype, len(data)) for dtype, data in self.constants]
        header["input_output_aliases"] = list(self.input_output_aliases.items())
        return b"".join([json.dumps(header).encode(), b"\n", self.commands, b"\n",
                         *(data for _, data in self.constants)])

    @staticmethod
    def from_bytes(data: bytes) -> CompiledProgram:
        line, commands, constant_data = data.split(b"\n", 2)
        header, constants, begin = json.loads(line), [], 0
        for dtype, size in header.pop("constants"):
            constants.append((dtype, constant_data[begin:begin + size]))
            begin += size
        header |= {"input_output_aliases": dict(header["input_output_aliases"]),
                   "written_slots": tuple(header["written_slots"]),
                   "kernel_paths": tuple(map(tuple, header["kernel_paths"])),
                   "outputs": tuple((dtype, count) for dtype, count in header["outputs"])}
        return CompiledProgram(commands, tuple(constants), **header)


def _step(fields: dict) -> Dispatch | Copy:
    if "shader" not in fields:
        return Copy(Binding(**fields["source"]), Binding(**fields["target"]))
    bindings = tuple(Binding(**b) for b in fields["bindings"])
    return Dispatch(fields["shader"], bindings, tuple(fields["groups"]))
