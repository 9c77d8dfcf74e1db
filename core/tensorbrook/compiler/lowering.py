"""The state of a program while it is lowered from equations to a plan."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..ir import Atom, BufferLocation, Const, Graph, ScheduledKernel, Var
from .memory.liveness import LiveInterval


@dataclass(frozen=True)
class Lowering:
    """Every pass of the pipeline returns a new Lowering; a field is set from the pass on that its
    comment names.

    `aliases[i] = j`: output i is assumed to be written over input j, which saves the kernel that
    writes it a buffer. `captured` maps an input of a scan's body to the buffer outside of the loop
    that it reads.
    """

    graph: Graph
    aliases: Mapping[int, int] = field(default_factory=dict)
    captured: Mapping[Var, Atom] = field(default_factory=dict)
    kernels: tuple[Any, ...] = ()      # from fuse_loops on groups and calls; finally Kernels
    outputs: tuple[Var, ...] = ()            # fuse_loops: the variable that holds each output
    # fuse_loops: the outputs that were counted as written over an input
    bindings_aliases: Mapping[Atom, Var] = field(default_factory=dict)
    builder: Any = None                      # fuse_loops to finalize_groups: a GroupBuilder
    constants: tuple[Const, ...] = ()        # assign_slots
    locations: Mapping[Atom, BufferLocation] = field(default_factory=dict)    # assign_slots
    rotating_slots: int = 0                  # assign_slots
    intervals: tuple[LiveInterval, ...] = () # coalesce_in_place
    steps: tuple[ScheduledKernel, ...] = ()  # insert_barriers
    arena_size: int = 0                      # assign_arena
    peak_live_bytes: int = 0                 # assign_arena
