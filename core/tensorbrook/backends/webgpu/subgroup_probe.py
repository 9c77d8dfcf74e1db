"""Whether a device's subgroups are what shaders take them for.

WGSL leaves open which invocations of a workgroup share a subgroup (w3.org/TR/WGSL, "Subgroups");
where the workgroup is a row, all GPUs known put neighbours together. Shaders that shuffle rely on
it, so each device is asked once, before it computes anything.
"""
from __future__ import annotations

from dataclasses import replace

from ...base.errors import InternalError
from .device_info import DeviceInfo
from .host import Host
from .compiled_program import Binding, Commands, Dispatch
from .shader_templates import instantiate

WORKGROUP_SIZES = 32, 256              # of a small workgroup, and of a large one
ANSWER_STRIDE = 1024                 # bytes for the answers of each: no device aligns more coarsely


def verify_subgroups(host: Host) -> DeviceInfo:
    """The device_info of a host's device; it has no subgroups if they hold no neighbours, or fewer than
    the device says, or if it refuses the question."""
    device_info = host.device_info
    if not device_info.min_subgroup_size:
        return device_info
    try:
        found = _probe(host)
    except InternalError:
        return replace(device_info, min_subgroup_size=0)
    return device_info if min(found) >= device_info.min_subgroup_size else replace(device_info, min_subgroup_size=0)


def probe_shaders() -> tuple[str, ...]:
    """What is asked, in small and in large workgroups."""
    return tuple(instantiate("subgroup_probe", LANES=lanes) for lanes in WORKGROUP_SIZES)


def _probe(host: Host) -> list[int]:
    """For each invocation of a workgroup of each size the size of its subgroup, or 0."""
    codes = probe_shaders()
    steps = tuple(Dispatch(n, (Binding(0, n * ANSWER_STRIDE, 4 * lanes, True),), (1, 1, 1))
                  for n, lanes in enumerate(WORKGROUP_SIZES))
    size = ANSWER_STRIDE * len(WORKGROUP_SIZES)
    answers = host.new(size)
    program = host.load(Commands(codes, ("subgroups",) * len(codes), steps).to_bytes())
    host.run(program, (answers,))
    data = memoryview(host.read_many([(answers, size)])[0]).cast("I")
    host.unload(program)
    host.free(answers)
    return [place for n, lanes in enumerate(WORKGROUP_SIZES)
            for place in data[n * ANSWER_STRIDE // 4:n * ANSWER_STRIDE // 4 + lanes]]
