"""Buffer addresses: how a generated function finds the buffers of its loop.

A function that several kernels share receives one address per buffer. The function of a single
kernel receives one address for all its buffers in the arena, at constant offsets from each other:
buffers that are traversed alike then share one pointer register.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.graph import Atom
from ...ir.plan import BufferLocation


@dataclass(frozen=True)
class BufferAddresses:
    """`params` are the atoms whose addresses the function receives, in order; `of[atom]` is the
    index of a parameter and a byte offset from it. Functions of equal `key`s are interchangeable.
    """

    params: tuple[Atom, ...]
    of: Mapping[Atom, tuple[int, int]]

    @property
    def key(self) -> tuple:
        return tuple(self.of.values())


def separate_addresses(buffers: tuple[Atom, ...]) -> BufferAddresses:
    """One address per buffer."""
    return BufferAddresses(buffers, {atom: (n, 0) for n, atom in enumerate(buffers)})


def arena_relative_addresses(buffers: tuple[Atom, ...],
                             locations: Mapping[Atom, BufferLocation]) -> BufferAddresses:
    """One address per buffer outside of the arena, and that of the first buffer in the arena."""
    in_arena = [a for a in buffers if locations[a].space == "arena"]
    first = min(in_arena, key=lambda a: locations[a].offset, default=None)
    params = tuple(a for a in buffers if a is first or locations[a].space != "arena")
    of = {atom: (params.index(atom), 0) if atom in params else
          (params.index(first), locations[atom].offset - locations[first].offset)
          for atom in buffers}
    return BufferAddresses(params, of)
