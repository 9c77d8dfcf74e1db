/** What a GPU can do, as data: the fields of backends/webgpu/facts.py. */

export interface GpuFacts {
  readonly name: string;
  readonly software: boolean;
  readonly alignment: number;
  readonly storage_buffers: number;
  readonly workgroups: number;
  readonly invocations: number;
  readonly workgroup_bytes: number;
  readonly binding_bytes: number;
  readonly buffer_bytes: number;
  readonly subgroups: number;
  readonly f16: boolean;
  readonly tick_ns: number;
}

/** The limits that a device is asked for, as high as the adapter has them. */
const LIMITS = [
  "maxStorageBuffersPerShaderStage", "maxComputeWorkgroupsPerDimension",
  "maxComputeInvocationsPerWorkgroup", "maxComputeWorkgroupSizeX", "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ", "maxComputeWorkgroupStorageSize", "maxStorageBufferBindingSize",
  "maxBufferSize", "minStorageBufferOffsetAlignment",
] as const;

export type Limits = Readonly<Record<(typeof LIMITS)[number], number>>;

const FEATURES = ["subgroups", "shader-f16", "timestamp-query"] as const;

/** What is asked of an adapter: a GPUAdapter is one. */
export interface Adapter {
  readonly info: Pick<GPUAdapterInfo,
    "vendor" | "architecture" | "device" | "description" | "isFallbackAdapter" | "subgroupMinSize">;
  readonly limits: Limits;
  readonly features: { has(name: string): boolean };
}

function nameOf({ description, vendor, architecture, device }: Adapter["info"]): string {
  if (description !== "") return description;
  return [vendor, architecture, device].filter((word) => word !== "").join(" ") || "a GPU";
}

export function factsOf({ info, limits, features }: Adapter): GpuFacts {
  return {
    name: nameOf(info),
    software: info.isFallbackAdapter,
    alignment: limits.minStorageBufferOffsetAlignment,
    storage_buffers: limits.maxStorageBuffersPerShaderStage,
    workgroups: limits.maxComputeWorkgroupsPerDimension,
    invocations: Math.min(
      limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
    workgroup_bytes: limits.maxComputeWorkgroupStorageSize,
    binding_bytes: limits.maxStorageBufferBindingSize,
    buffer_bytes: limits.maxBufferSize,
    subgroups: features.has("subgroups") ? info.subgroupMinSize : 0,
    f16: features.has("shader-f16"),
    tick_ns: features.has("timestamp-query") ? 1 : 0,
  };
}

/** The request for a device that can do all that its adapter can. */
export function fullDevice({ limits, features }: Adapter): GPUDeviceDescriptor {
  return {
    requiredLimits: Object.fromEntries(LIMITS.map((name) => [name, limits[name]])),
    requiredFeatures: FEATURES.filter((name) => features.has(name)),
  };
}
