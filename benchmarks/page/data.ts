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

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

function filled({ shape, scale = 1, offset = 0, classes }: ArraySpec, seed: number): NamedArray {
  const length = sizeOf(shape);
  const next = uniform(seed);
  const data = classes === undefined ? new Float32Array(length) : new Int32Array(length);
  for (let i = 0; i < length; i++) {
    data[i] = classes === undefined
      ? (next() * 2 - 1) * scale + offset : Math.floor(next() * classes);
  }
  return { shape: [...shape], data };
}

export function makeArrays({ arrays }: Workload): Arrays {
  return new Map(Object.entries(arrays).map(([name, spec], i) => [name, filled(spec, i + 1)]));
}

/** Some offsets of elements for each index along axes of these sizes and strides, in order. */
function offsets(shape: readonly number[], strides: readonly number[]): number[] {
  return shape.reduce<number[]>(
    (found, size, axis) => found.flatMap((offset) =>
      Array.from({ length: size }, (_, i) => offset + i * (strides[axis] ?? 0))), [0]);
}

/** The same elements with the axes in another order, as `transpose` gives them. */
export function permuted({ shape, data }: NamedArray, order: readonly number[]): NamedArray {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const turned = order.map((axis) => shape[axis] ?? 0);
  const from = offsets(turned, order.map((axis) => strides[axis] ?? 0));
  const result = data instanceof Int32Array
    ? new Int32Array(data.length) : new Float32Array(data.length);
  from.forEach((offset, i) => (result[i] = data[offset] ?? NaN));
  return { shape: turned, data: result };
}

/** Images, from (batch, height, width, channels) to (batch, channels, height, width). */
export const channelsFirst = (images: NamedArray): NamedArray => permuted(images, [0, 3, 1, 2]);
export const channelsLast = (images: NamedArray): NamedArray => permuted(images, [0, 2, 3, 1]);

/** A filter, from (height, width, in, out) to (out, in, height, width). */
export const outFirst = (filter: NamedArray): NamedArray => permuted(filter, [3, 2, 0, 1]);
/** A depthwise filter, from (height, width, channels, 1) to (channels, 1, height, width). */
export const eachFirst = (filter: NamedArray): NamedArray => permuted(filter, [2, 3, 0, 1]);
