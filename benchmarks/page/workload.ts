/** Workloads (specified in benchmarks/workloads) and the interface of an implementation. */

/** An input: floats in [offset - scale, offset + scale), or labels below `classes`. */
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

/** The options of a workload within its family, such as "transpose_a" or "operation". */
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

/** A workload prepared by one implementation. */
export interface Prepared {
  /** Samples of the results, which must agree between all implementations. */
  readonly check: readonly number[];
  /** Milliseconds until this many steps are finished. */
  runSteps(steps: number): Promise<number>;
  dispose(): void | Promise<void>;
}

/** Prepares a workload of one family; throws `Unsupported` where it is not supported. */
export type Prepare = (workload: Workload, arrays: Arrays) => Prepared | Promise<Prepared>;
export type Families = Readonly<Record<Family, Prepare>>;

export interface Implementation {
  /** Rejects with the reason where the workload is not supported. */
  prepare(workload: Workload, arrays: Arrays): Promise<Prepared>;
}

export class Unsupported extends Error {}

/** The `Prepare` of a family that an implementation does not support. */
export function unsupported(reason: string): Prepare {
  return () => {
    throw new Unsupported(reason);
  };
}

export function array(arrays: Arrays, name: string): NamedArray {
  const found = arrays.get(name);
  if (found === undefined) throw new Error(`the workload has no array ${name}`);
  return found;
}

const optionError = (name: string, kind: string): Error =>
  new Error(`the workload's option ${name} is not ${kind}`);

export function flag(options: Options, name: string): boolean {
  const value = options[name];
  if (typeof value !== "boolean") throw optionError(name, "true or false");
  return value;
}

export function number(options: Options, name: string): number {
  const value = options[name];
  if (typeof value !== "number") throw optionError(name, "a number");
  return value;
}

export function numberList(options: Options, name: string): number[] {
  const value = options[name];
  if (typeof value !== "object") throw optionError(name, "a list");
  return [...value];
}

/** Time steps, awaiting each one as a training loop that reads its loss does. */
export async function timeSteps(steps: number, step: () => void | Promise<void>): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < steps; i++) {
    const pending = step();
    if (pending !== undefined) await pending;
  }
  return performance.now() - start;
}

const SAMPLES = 61;

/** Elements at a constant stride over the flat result. */
export function sample(data: ArrayLike<number>): number[] {
  const stride = Math.max(1, Math.floor(data.length / SAMPLES));
  const length = Math.floor(data.length / stride);
  return Array.from({ length }, (_, i) => data[i * stride] ?? NaN);
}

/** The losses of the first steps: the samples of a training workload. */
export async function losses(
  options: Options, step: () => number | Promise<number>,
): Promise<number[]> {
  const values: number[] = [];
  for (let i = 0; i < number(options, "checked_steps"); i++) values.push(await step());
  return values;
}
