"""Subgroup probe: verify that a device's subgroups consist of neighbouring invocations.

WGSL does not specify which invocations of a workgroup share a subgroup (w3.org/TR/WGSL,
"Subgroups"); for one-dimensional workgroups, all known GPUs put neighbours together. Shaders with
shuffles rely on it, so each device is tested once, before it computes anything.
"""
from __future__ import annotations

from dataclasses import replace

from ...base.errors import InternalError
from .compiled_program import Binding, Commands, Dispatch
from .device_info import DeviceInfo
from .host import Host
from .shader_templates import instantiate

WORKGROUP_SIZES = 32, 256            # of a small workgroup and a large one
ANSWER_STRIDE = 1024                 # bytes per workgroup size; no offset alignment is larger


def verify_subgroups(host: Host) -> DeviceInfo:
    """Return the device information of a host, without subgroups if they are not made of
    neighbours, are smaller than the device reports, or if the device rejects the probe."""
    device_info = host.device_info
    if not device_info.min_subgroup_size:
        return device_info
    try:
        sizes = _probe(host)
    except InternalError:
        return replace(device_info, min_subgroup_size=0)
    return device_info if min(sizes) >= device_info.min_subgroup_size \
        else replace(device_info, min_subgroup_size=0)


def probe_shaders() -> tuple[str, ...]:
    """Return the probe's shaders, one per workgroup size."""
    return tuple(instantiate("subgroup_probe", LANES=lanes) for lanes in WORKGROUP_SIZES)


def _probe(host: Host) -> list[int]:
    """Return the subgroup size of each invocation, for each workgroup size: 0 if the subgroup is
    not made of neighbours."""
    shaders = probe_shaders()
    steps = tuple(Dispatch(n, (Binding(0, n * ANSWER_STRIDE, 4 * lanes, True),), (1, 1, 1))
                  for n, lanes in enumerate(WORKGROUP_SIZES))
    size = ANSWER_STRIDE * len(WORKGROUP_SIZES)
    answers = host.new(size)
    program = host.load(Commands(shaders, ("subgroups",) * len(shaders), steps).to_bytes())
    host.run(program, (answers,))
    data = memoryview(host.read_many([(answers, size)])[0]).cast("I")
    host.unload(program)
    host.free(answers)
    stride = ANSWER_STRIDE // 4
    return [subgroup_size for n, lanes in enumerate(WORKGROUP_SIZES)
            for subgroup_size in data[n * stride:n * stride + lanes]]
