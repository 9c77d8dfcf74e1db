/** The inputs of a workload, made from its specification: the same in every run. */

import type { Arrays, ArraySpec, NamedArray, Workload } from "./workload";

/** Uniform numbers in [0, 1): Tommy Ettinger's Mulberry32. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function filled({ shape, scale = 1, classes }: ArraySpec, seed: number): NamedArray {
  const length = shape.reduce((product, n) => product * n, 1);
  const next = uniform(seed);
  const data = classes === undefined
    ? Float32Array.from({ length }, () => (next() * 2 - 1) * scale)
    : Int32Array.from({ length }, () => Math.floor(next() * classes));
  return { shape: [...shape], data };
}

export function makeArrays({ arrays }: Workload): Arrays {
  return new Map(Object.entries(arrays).map(([name, spec], i) => [name, filled(spec, i + 1)]));
}
