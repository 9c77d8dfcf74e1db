"""Whether a device's subgroups are what shaders take them for.

WGSL leaves open which invocations of a workgroup share a subgroup (w3.org/TR/WGSL, "Subgroups");
where the workgroup is a row, all GPUs known put neighbours together. Shaders that shuffle rely on
it, so each device is asked once, before it computes anything.
"""
from __future__ import annotations

from dataclasses import replace

from ...base.errors import InternalError
from .facts import Facts
from .host import Host
from .image import Binding, Commands, Dispatch
from .templates import template

LANES = 32, 256              # of a small workgroup, and of a large one
PLACE = 1024                 # bytes for the answers of each: no device aligns more coarsely


def checked(host: Host) -> Facts:
    """The facts of a host's device; it has no subgroups if they hold no neighbours, or fewer than
    the device says, or if it refuses the question."""
    facts = host.facts
    if not facts.subgroups:
        return facts
    try:
        found = _asked(host)
    except InternalError:
        return replace(facts, subgroups=0)
    return facts if min(found) >= facts.subgroups else replace(facts, subgroups=0)


def shaders() -> tuple[str, ...]:
    """What is asked, in small and in large workgroups."""
    return tuple(template("neighbours", LANES=lanes) for lanes in LANES)


def _asked(host: Host) -> list[int]:
    """For each invocation of a workgroup of each size the size of its subgroup, or 0."""
    codes = shaders()
    steps = tuple(Dispatch(n, (Binding(0, n * PLACE, 4 * lanes, True),), (1, 1, 1))
                  for n, lanes in enumerate(LANES))
    size = PLACE * len(LANES)
    answers = host.new(size)
    program = host.load(Commands(codes, ("subgroups",) * len(codes), steps).to_bytes())
    host.run(program, (answers,))
    data = memoryview(host.read_many([(answers, size)])[0]).cast("I")
    host.unload(program)
    host.free(answers)
    return [place for n, lanes in enumerate(LANES)
            for place in data[n * PLACE // 4:n * PLACE // 4 + lanes]]
