"""Device information: the limits and features that determine fusion, templates and dispatches."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceInfo:
    """Limits, with the defaults of the WebGPU standard (w3.org/TR/webgpu, limits), in bytes."""

    name: str = "WebGPU"                 # a readable name
    is_software: bool = False            # a software adapter (SwiftShader, lavapipe)
    offset_alignment: int = 256          # minStorageBufferOffsetAlignment
    storage_buffers: int = 8             # maxStorageBuffersPerShaderStage
    max_workgroups: int = 65535          # maxComputeWorkgroupsPerDimension
    max_invocations: int = 256           # maxComputeInvocationsPerWorkgroup
    workgroup_bytes: int = 16384         # maxComputeWorkgroupStorageSize
    binding_bytes: int = 1 << 27         # maxStorageBufferBindingSize
    buffer_bytes: int = 1 << 28          # maxBufferSize
    min_subgroup_size: int = 0           # subgroupMinSize with feature `subgroups`, else 0
    f16: bool = False                    # feature `shader-f16`
    timestamp_period_ns: float = 0.0     # of a tick with feature `timestamp-query`, else 0
