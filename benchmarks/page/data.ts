/** The inputs of a workload, generated from its specification: the same in every run. */

import type { Arrays, ArraySpec, NamedArray, Workload } from "./workload";

/** A generator of uniform numbers in [0, 1): Mulberry32 (Tommy Ettinger). */
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

function randomArray(
  { shape, scale = 1, offset = 0, classes }: ArraySpec, seed: number,
): NamedArray {
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
  return new Map(Object.entries(arrays).map(([name, spec], i) => [name, randomArray(spec, i + 1)]));
}

/** The offset of every element of an array of this shape and strides, in row-major order. */
function offsets(shape: readonly number[], strides: readonly number[]): number[] {
  return shape.reduce<number[]>(
    (result, size, axis) => result.flatMap((offset) =>
      Array.from({ length: size }, (_, i) => offset + i * (strides[axis] ?? 0))), [0]);
}

/** Transpose: the array with its axes in another order. */
export function transpose({ shape, data }: NamedArray, order: readonly number[]): NamedArray {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const permutedShape = order.map((axis) => shape[axis] ?? 0);
  const sources = offsets(permutedShape, order.map((axis) => strides[axis] ?? 0));
  const result = data instanceof Int32Array
    ? new Int32Array(data.length) : new Float32Array(data.length);
  sources.forEach((offset, i) => (result[i] = data[offset] ?? NaN));
  return { shape: permutedShape, data: result };
}

/** Images from NHWC to NCHW, and back. */
export const toNchw = (images: NamedArray): NamedArray => transpose(images, [0, 3, 1, 2]);
export const toNhwc = (images: NamedArray): NamedArray => transpose(images, [0, 2, 3, 1]);

/** A filter from HWIO to OIHW. */
export const filterOihw = (filter: NamedArray): NamedArray => transpose(filter, [3, 2, 0, 1]);
/** A depthwise filter from (height, width, channels, 1) to (channels, 1, height, width). */
export const depthwiseOihw = (filter: NamedArray): NamedArray => transpose(filter, [2, 3, 0, 1]);
