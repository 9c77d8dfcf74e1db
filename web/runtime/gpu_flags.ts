/** Flags of the WebGPU standard (w3.org/TR/webgpu) that TypeScript's library does not declare. */

export const MAP_READ = 0x1;
export const COPY_SRC = 0x4;
export const COPY_DST = 0x8;
export const STORAGE = 0x80;
export const QUERY_RESOLVE = 0x200;

/** GPUMapMode.READ */
export const MAP_MODE_READ = 0x1;

/** GPUShaderStage.COMPUTE */
export const SHADER_STAGE_COMPUTE = 0x4;
