"""What a device can do, as data: fusion, templates and shapes of dispatches are chosen by it."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceInfo:
    """Names and defaults as in the WebGPU standard (w3.org/TR/webgpu, limits); sizes in bytes."""

    name: str = "WebGPU"                 # for people
    is_software: bool = False               # a processor plays the GPU: right, but slow
    offset_alignment: int = 256                 # minStorageBufferOffsetAlignment
    storage_buffers: int = 8             # maxStorageBuffersPerShaderStage
    max_workgroups: int = 65535              # maxComputeWorkgroupsPerDimension
    max_invocations: int = 256               # maxComputeInvocationsPerWorkgroup
    workgroup_bytes: int = 16384         # maxComputeWorkgroupStorageSize
    binding_bytes: int = 1 << 27         # maxStorageBufferBindingSize
    buffer_bytes: int = 1 << 28          # maxBufferSize
    min_subgroup_size: int = 0                   # subgroupMinSize with feature `subgroups`, else 0
    f16: bool = False                    # feature `shader-f16`
    timestamp_period_ns: float = 0.0                 # of a stamp (`timestamp-query`); 0: it has none
