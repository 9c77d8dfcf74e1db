"""A part of a kernel: one dispatch of a shader over buffers that have no place yet."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

from ...ir import Atom


@dataclass(frozen=True, eq=False)
class TemporaryBuffer:
    """Memory that the parts of one kernel hand to each other; compared by identity."""

    size_bytes: int


@dataclass(frozen=True)
class ShaderDispatch:
    """`code` is a whole WGSL module with entry point `main`. It declares each buffer on a line

        @group(0) @binding(0) var<storage, read> x: array<f32>;

    and `buffers` tells what stands behind the names. Whoever places the part numbers the bindings
    anew, makes one of two names that share memory, and turns `read` to `read_write` where the same
    GPUBuffer is also written; so a buffer's name must be used for nothing else in the module."""

    code: str
    buffers: Mapping[str, Union[Atom, TemporaryBuffer]]
    groups: tuple[int, int, int]


# How elements lie in a buffer of the device. bool and uint8 take a word each: WGSL has no narrower
# element that invocations can write side by side.
WGSL_TYPES = {"float32": "f32", "int32": "i32", "uint8": "u32", "bool": "u32", "float16": "f16"}


def next_power_of_two(n: int) -> int:
    """The smallest power of two from n on."""
    return 1 << (n - 1).bit_length()


def previous_power_of_two(n: int) -> int:
    """The greatest power of two up to n."""
    return 1 << n.bit_length() - 1


def grid(count: int, size: int, limit: int) -> tuple[int, int, int]:
    """Workgroups of `size` invocations for `count` of them, in two dimensions where one is too
    small: invocation (group.y * groups.x + group.x) * size + lane may lie beyond `count`."""
    groups = max(1, -(-count // size))
    if groups <= limit:
        return groups, 1, 1
    rows = -(-groups // limit)
    return -(-groups // rows), rows, 1
