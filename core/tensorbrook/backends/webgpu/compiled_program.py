"""Compiled program: shaders, dispatches and metadata of a plan, serializable as bytes.

A compiled program needs neither the plan nor the compiler. Its bytes are a line of JSON for Python,
a line of JSON for the host, and the constants. Each line is parsed once, by its reader.
"""
from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar, Union

TIMESTAMP_BYTES = 8
COPY = -1                            # the first number of a serialized copy
T = TypeVar("T")


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
        """Serialize as JSON. Bindings and steps are tables of distinct entries, and `order` lists
        the index of each step: a loop repeats most of its steps in every iteration.

        A binding is [buffer, offset, size, writes], a dispatch [shader, x, y, z, *bindings], and a
        copy [-1, source, target]."""
        steps: dict[Dispatch | Copy, int] = {}
        order = _indices(self.steps, steps)
        bindings: dict[Binding, int] = {}
        rows = [[COPY, *_indices((step.source, step.target), bindings)]
                if isinstance(step, Copy) else
                [step.shader, *step.groups, *_indices(step.bindings, bindings)] for step in steps]
        fields = {"shaders": self.shaders, "names": self.names,
                  "bindings": [[b.buffer, b.offset, b.size, int(b.writes)] for b in bindings],
                  "steps": rows, "order": order,
                  "timestamp_buffer_bytes": self.timestamp_buffer_bytes}
        return json.dumps(fields, separators=(",", ":")).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Commands:
        """Parse the commands; equal steps are one object."""
        fields = json.loads(data)
        bindings = [Binding(buffer, offset, size, bool(writes))
                    for buffer, offset, size, writes in fields["bindings"]]
        steps = [_step(row, bindings) for row in fields["steps"]]
        return Commands(tuple(fields["shaders"]), tuple(fields["names"]),
                        tuple(steps[i] for i in fields["order"]), fields["timestamp_buffer_bytes"])

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


def _indices(entries: Iterable[T], table: dict[T, int]) -> list[int]:
    """The index of each entry in a table of distinct entries, to which new ones are added."""
    return [table.setdefault(entry, len(table)) for entry in entries]


def _step(row: list[int], bindings: list[Binding]) -> Dispatch | Copy:
    if row[0] == COPY:
        return Copy(bindings[row[1]], bindings[row[2]])
    shader, x, y, z, *indices = row
    return Dispatch(shader, tuple(bindings[i] for i in indices), (x, y, z))
