/** Which build of the engine this browser can run: one tiny module is validated for each feature. */

import type { EngineBuild } from "../protocol";

export interface Features {
  readonly simd: boolean;
  readonly relaxed: boolean;
  readonly threads: boolean;
}

const HEADER = [0, 97, 115, 109, 1, 0, 0, 0];

/** `() -> v128`: splat and popcount. */
const SIMD = [1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** `() -> v128`: i8x16.relaxed_swizzle, with the final opcode 0x100. */
const RELAXED = [
  1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2,
  11,
];

/** `() -> ()`: an atomic load from a shared memory. */
const THREADS = [
  1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11,
];

const accepts = (body: readonly number[]): boolean =>
  WebAssembly.validate(new Uint8Array([...HEADER, ...body]));

/** What this browser has; shared memory needs a cross-origin isolated page. */
export function probe(isolated: boolean): Features {
  return {
    simd: accepts(SIMD),
    relaxed: accepts(RELAXED),
    threads: isolated && typeof SharedArrayBuffer === "function" && accepts(THREADS),
  };
}

/** The fastest build that the features allow. */
export function chooseBuild({ simd, relaxed, threads }: Features): EngineBuild {
  if (!simd) throw new Error("this browser has no WebAssembly SIMD; take one from 2023 or later");
  if (!relaxed) return "simd";
  return threads ? "threads" : "relaxed";
}

/** Threads to start: what was asked for, else one a core up to eight; one without shared memory. */
export function chooseThreads(build: EngineBuild, asked: number | null, cores: number): number {
  if (build !== "threads") return 1;
  return Math.max(1, Math.min(asked ?? Math.min(cores, 8), 64));
}
