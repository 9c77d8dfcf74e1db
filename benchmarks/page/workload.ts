/** What is measured (the table is benchmarks/workloads.py), and what every contender offers. */

/** An input that all contenders get alike: floats in [-scale, scale) or labels below `classes`. */
export interface ArraySpec {
  readonly shape: readonly number[];
  readonly scale?: number;
  readonly classes?: number;
}

export interface Workload {
  readonly name: string;
  readonly family: "gemm" | "elementwise" | "mlp" | "lenet";
  /** What tells workloads of one family apart: "transpose_a", an operation's name. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
  readonly arrays: Readonly<Record<string, ArraySpec>>;
}

export interface NamedArray {
  readonly shape: number[];
  readonly data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
}

export type Arrays = ReadonlyMap<string, NamedArray>;

/** A workload made ready by one contender. */
export interface Ready {
  /** Figures that must agree with those of the other contenders. */
  readonly check: readonly number[];
  /** Milliseconds that this many steps take, the last of them finished. */
  turn(steps: number): Promise<number>;
  dispose(): void | Promise<void>;
}

export interface Contender {
  /** Rejects with a reason where the contender cannot do this. */
  prepare(workload: Workload, arrays: Arrays): Promise<Ready>;
}

export class Unable extends Error {}

export function array(arrays: Arrays, name: string): NamedArray {
  const found = arrays.get(name);
  if (found === undefined) throw new Error(`the workload has no array ${name}`);
  return found;
}

/** Times steps one by one, waiting for each as a training loop that looks at its loss does. */
export async function timed(steps: number, step: () => void | Promise<void>): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    const pending = step();
    if (pending !== undefined) await pending;
  }
  return performance.now() - start;
}

const SAMPLES = 61;

/** Some elements from everywhere in a large result. */
export function sample(data: ArrayLike<number>): number[] {
  const stride = Math.max(1, Math.floor(data.length / SAMPLES));
  const length = Math.floor(data.length / stride);
  return Array.from({ length }, (_, i) => data[i * stride] ?? NaN);
}

/** The losses of some first steps: the figures of a training workload that must agree. */
export const CHECKED_STEPS = 4;
export async function losses(step: () => number | Promise<number>): Promise<number[]> {
  const values: number[] = [];
  for (let i = 0; i < CHECKED_STEPS; i++) values.push(await step());
  return values;
}
