/** What is measured (the tables are benchmarks/workloads), and what every contender offers. */

/** An input that all contenders get alike: floats around `offset`, or labels below `classes`. */
export interface ArraySpec {
  readonly shape: readonly number[];
  readonly scale?: number;
  readonly offset?: number;
  readonly classes?: number;
}

export const FAMILIES = [
  "gemm", "elementwise", "norm", "cross_entropy", "adamw", "convolution", "pool", "embedding",
  "scatter_add", "sort", "top_k", "mlp", "lenet", "resnet", "lstm", "gpt", "mobilenet", "bert",
] as const;
export type Family = (typeof FAMILIES)[number];

/** What tells workloads of one family apart: "transpose_a", an operation's name. */
export type Options = Readonly<Record<string, string | number | boolean | readonly number[]>>;

export interface Workload {
  readonly name: string;
  readonly family: Family;
  readonly options: Options;
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

/** How one contender makes a workload of one family ready; throws where it cannot. */
export type Prepare = (workload: Workload, arrays: Arrays) => Ready | Promise<Ready>;
export type Families = Readonly<Record<Family, Prepare>>;

export interface Contender {
  /** Rejects with a reason where the contender cannot do this. */
  prepare(workload: Workload, arrays: Arrays): Promise<Ready>;
}

export class Unable extends Error {}

/** For a family that a contender has no means for. */
export function unable(reason: string): Prepare {
  return () => {
    throw new Unable(reason);
  };
}

export function array(arrays: Arrays, name: string): NamedArray {
  const found = arrays.get(name);
  if (found === undefined) throw new Error(`the workload has no array ${name}`);
  return found;
}

const wrong = (name: string, kind: string): Error =>
  new Error(`the workload's option ${name} is not ${kind}`);

export function flag(options: Options, name: string): boolean {
  const value = options[name];
  if (typeof value !== "boolean") throw wrong(name, "true or false");
  return value;
}

export function number(options: Options, name: string): number {
  const value = options[name];
  if (typeof value !== "number") throw wrong(name, "a number");
  return value;
}

export function numbers(options: Options, name: string): number[] {
  const value = options[name];
  if (typeof value !== "object") throw wrong(name, "a list");
  return [...value];
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
export async function losses(
  options: Options, step: () => number | Promise<number>,
): Promise<number[]> {
  const values: number[] = [];
  for (let i = 0; i < number(options, "checked_steps"); i++) values.push(await step());
  return values;
}
