/** Feature detection for the engine's builds: a tiny module is validated for each feature. */

import type { EngineBuild } from "../protocol";

export interface Features {
  readonly simd: boolean;
  readonly relaxed: boolean;
  readonly threads: boolean;
}

const MODULE_HEADER = [0, 97, 115, 109, 1, 0, 0, 0];

/** The body of a module with a function `() -> v128`: splat and popcount. */
const SIMD_BODY = [
  1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];

/** The same for i8x16.relaxed_swizzle, with the final opcode 0x100. */
const RELAXED_SIMD_BODY = [
  1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2,
  11,
];

/** The same for `() -> ()`: an atomic load from a shared memory. */
const THREADS_BODY = [
  1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11,
];

const isValid = (body: readonly number[]): boolean =>
  WebAssembly.validate(new Uint8Array([...MODULE_HEADER, ...body]));

/** The features of this browser; shared memory requires a cross-origin isolated page. */
export function probeFeatures(isolated: boolean): Features {
  return {
    simd: isValid(SIMD_BODY),
    relaxed: isValid(RELAXED_SIMD_BODY),
    threads: isolated && typeof SharedArrayBuffer === "function" && isValid(THREADS_BODY),
  };
}

/** The fastest build that the features permit. */
export function chooseBuild({ simd, relaxed, threads }: Features): EngineBuild {
  if (!simd) {
    throw new Error("this browser has no WebAssembly SIMD; use a browser from 2023 or later");
  }
  if (!relaxed) return "simd";
  return threads ? "threads" : "relaxed";
}

/** The requested thread count, else one per core up to eight; one without shared memory. */
export function chooseThreadCount(
  build: EngineBuild, requested: number | null, cores: number,
): number {
  if (build !== "threads") return 1;
  return Math.max(1, Math.min(requested ?? Math.min(cores, 8), 64));
}
