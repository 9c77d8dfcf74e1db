"""Slots: the buffers that a program's caller provides, and those that rotate in a scan."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import prod

from ...ir import Atom, BufferLocation, Const, Kernel, LoopKernel, ScanKernel
from ..context import PassContext
from ..lowering import Lowering


def assign_slots(lowering: Lowering, context: PassContext) -> Lowering:
    """Give inputs, constants and outputs their slots, and the moving buffers of scans theirs.

    Loops over no elements are dropped here.
    """
    kernels = tuple(k for k in lowering.kernels
                    if not isinstance(k, LoopKernel) or prod(k.reduced_space) > 0)
    constants = tuple(dict.fromkeys(a for k in kernels for a in k.reads if isinstance(a, Const)))
    atoms = (*lowering.graph.inputs, *constants, *lowering.outputs)
    locations: dict[Atom, BufferLocation] = {
        atom: BufferLocation("slot", n) for n, atom in enumerate(atoms)}
    rotating = _assign_rotating_slots(kernels, locations, len(locations))
    return replace(lowering, kernels=kernels, constants=constants, locations=locations,
                   rotating_slots=rotating)


def _assign_rotating_slots(kernels: Iterable[Kernel], locations: dict[Atom, BufferLocation],
                           first: int) -> int:
    """Assign slots from `first` on to the carries and slices of all scans; returns their number.

    A carry has three: of the buffer that it is read from, of the one that it is written to, and of
    the next one to write.
    """
    slot = first
    for k in kernels:
        if isinstance(k, ScanKernel):
            for c in k.carries:
                locations[c.input] = BufferLocation("slot", slot)
                locations[c.output] = BufferLocation("slot", slot + 1)
                slot += 3
            for s in k.slices:
                locations[s.element] = BufferLocation("slot", slot)
                slot += 1
            slot += _assign_rotating_slots(k.kernels, locations, slot)
    return slot - first


def memory_of_slots(lowering: Lowering) -> dict[Atom, int]:
    """The slot whose memory each atom with a slot has: an output that is written over an input has
    that of the input."""
    slots = {atom: location.offset for atom, location in lowering.locations.items()
             if location.space == "slot"}
    graph = lowering.graph
    for i, j in graph.input_output_aliases.items():
        slots[lowering.outputs[i]] = slots[graph.inputs[j]]
    return slots
