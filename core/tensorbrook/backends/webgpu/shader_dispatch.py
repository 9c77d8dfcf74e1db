"""Shader dispatch: a WGSL module and its grid, over buffers that have no locations yet."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

from ...ir import Atom


@dataclass(frozen=True, eq=False)
class TemporaryBuffer:
    """An intermediate result between the dispatches of one kernel; compared by identity."""

    size_bytes: int


@dataclass(frozen=True)
class ShaderDispatch:
    """One dispatch of a kernel. `code` is a WGSL module with entry point `main`. It declares each
    buffer on a line

        @group(0) @binding(0) var<storage, read> x: array<f32>;

    and `buffers` maps the declared names to values of the plan or temporaries. The command builder
    renumbers the bindings, merges names that share memory, and replaces `read` by `read_write` if
    the same GPUBuffer is also written. The name of a buffer must not be used for any other indexed
    variable of the module."""

    code: str
    buffers: Mapping[str, Union[Atom, TemporaryBuffer]]
    groups: tuple[int, int, int]


# Element types in device buffers. bool and uint8 take a word each, because WGSL has no smaller type
# whose neighbouring elements two invocations can write concurrently.
WGSL_TYPES = {"float32": "f32", "int32": "i32", "uint8": "u32", "bool": "u32", "float16": "f16"}


def next_power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def previous_power_of_two(n: int) -> int:
    """The largest power of two that is at most n."""
    return 1 << n.bit_length() - 1


def grid(count: int, workgroup_size: int, max_workgroups: int) -> tuple[int, int, int]:
    """Return the workgroups for `count` invocations, in two dimensions if one is too small.

    Invocation (group.y * groups.x + group.x) * workgroup_size + lane may be beyond `count`."""
    groups = max(1, -(-count // workgroup_size))
    if groups <= max_workgroups:
        return groups, 1, 1
    rows = -(-groups // max_workgroups)
    return -(-groups // rows), rows, 1
