/** Feature detection for the engine's builds: a tiny module is validated for each feature. */

import type { EngineBuild } from "../protocol";

export interface Features {
  readonly simd: boolean;
  readonly relaxed: boolean;
  /** Why the engine cannot use threads, or null if it can. */
  readonly threadProblem: string | null;
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

export const NOT_ISOLATED =
  "its server does not send the headers for cross-origin isolation. Stop restarts the runtime";
const NO_SHARED_MEMORY =
  "the browser provides no shared memory (SharedArrayBuffer). Stop restarts the runtime";

/** Why the page and its workers cannot share memory, or null. A browser may isolate the page and
 * provide no shared memory nevertheless. */
export function sharedMemoryProblem(isolated: boolean): string | null {
  if (!isolated) return NOT_ISOLATED;
  return typeof SharedArrayBuffer === "function" ? null : NO_SHARED_MEMORY;
}

/** The features of this browser; shared memory requires a cross-origin isolated page. */
export function probeFeatures(isolated: boolean): Features {
  if (typeof WebAssembly === "undefined") {
    throw new Error("this browser has no WebAssembly, which a lockdown or privacy mode may " +
      "disable; allow it for this page or use another browser");
  }
  const noThreads = isValid(THREADS_BODY) ? null : "the browser lacks WebAssembly threads";
  return {
    simd: isValid(SIMD_BODY),
    relaxed: isValid(RELAXED_SIMD_BODY),
    threadProblem: sharedMemoryProblem(isolated) ?? noThreads,
  };
}

/** The fastest build that the features permit. */
export function chooseBuild({ simd, relaxed, threadProblem }: Features): EngineBuild {
  if (!simd) {
    throw new Error("this browser has no WebAssembly SIMD; use a browser from 2023 or later");
  }
  if (threadProblem === null) return relaxed ? "threads" : "threads-simd";
  return relaxed ? "relaxed" : "simd";
}

export const isThreaded = (build: EngineBuild): boolean =>
  build === "threads" || build === "threads-simd";

export const isRelaxed = (build: EngineBuild): boolean =>
  build === "threads" || build === "relaxed";

/** The build with the same instructions for one thread. */
export const withoutThreads = (build: EngineBuild): EngineBuild =>
  isRelaxed(build) ? "relaxed" : "simd";

/** The requested thread count, else one per core up to eight; one without shared memory. */
export function chooseThreadCount(
  build: EngineBuild, requested: number | null, cores: number,
): number {
  if (!isThreaded(build)) return 1;
  return Math.max(1, Math.min(requested ?? Math.min(cores, 8), 64));
}
