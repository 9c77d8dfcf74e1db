/** Device information: a GPU's limits and features, in the fields of backends/webgpu/device_info.py. */

export interface GpuInfo {
  readonly name: string;
  readonly is_software: boolean;
  readonly offset_alignment: number;
  readonly storage_buffers: number;
  readonly max_workgroups: number;
  readonly max_invocations: number;
  readonly workgroup_bytes: number;
  readonly binding_bytes: number;
  readonly buffer_bytes: number;
  readonly min_subgroup_size: number;
  readonly f16: boolean;
  readonly timestamp_period_ns: number;
}

/** The limits that a device is requested with, at the adapter's maximum. */
const REQUESTED_LIMITS = [
  "maxStorageBuffersPerShaderStage", "maxComputeWorkgroupsPerDimension",
  "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX", "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ", "maxComputeWorkgroupStorageSize", "maxStorageBufferBindingSize",
  "maxBufferSize", "minStorageBufferOffsetAlignment",
] as const;

export type Limits = Readonly<Record<(typeof REQUESTED_LIMITS)[number], number>>;

const REQUESTED_FEATURES = ["subgroups", "shader-f16", "timestamp-query"] as const;

/** The part of GPUAdapter that this module reads. */
export interface Adapter {
  readonly info: Pick<GPUAdapterInfo,
    "vendor" | "architecture" | "device" | "description" | "isFallbackAdapter" | "subgroupMinSize">;
  readonly limits: Limits;
  readonly features: { has(name: string): boolean };
}

function adapterName({ description, vendor, architecture, device }: Adapter["info"]): string {
  if (description !== "") return description;
  return [vendor, architecture, device].filter((word) => word !== "").join(" ") || "a GPU";
}

export function gpuInfo({ info, limits, features }: Adapter): GpuInfo {
  return {
    name: adapterName(info),
    is_software: info.isFallbackAdapter,
    offset_alignment: limits.minStorageBufferOffsetAlignment,
    storage_buffers: limits.maxStorageBuffersPerShaderStage,
    max_workgroups: limits.maxComputeWorkgroupsPerDimension,
    max_invocations: Math.min(
      limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
    workgroup_bytes: limits.maxComputeWorkgroupStorageSize,
    binding_bytes: limits.maxStorageBufferBindingSize,
    buffer_bytes: limits.maxBufferSize,
    min_subgroup_size: features.has("subgroups") ? info.subgroupMinSize : 0,
    f16: features.has("shader-f16"),
    timestamp_period_ns: features.has("timestamp-query") ? 1 : 0,
  };
}

/** The descriptor of a device with all limits and features of its adapter. */
export function maxDeviceDescriptor({ limits, features }: Adapter): GPUDeviceDescriptor {
  return {
    requiredLimits: Object.fromEntries(REQUESTED_LIMITS.map((name) => [name, limits[name]])),
    requiredFeatures: REQUESTED_FEATURES.filter((name) => features.has(name)),
  };
}
