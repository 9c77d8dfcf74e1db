/** jax-js: arrays of the workload, and jitted functions written as in its README. */

import { blockUntilReady, jit, numpy as np } from "@jax-js/jax";
import {
  array, type Arrays, type NamedArray, type Prepared, sample, timeSteps,
} from "../../workload";

export type Array = np.Array;

/** A function in the style of jax-js: it takes ownership of its inputs and consumes each. */
export type Program = (...inputs: Array[]) => Array[];

export function arrayOf({ data, shape }: NamedArray): Array {
  return np.array(data, { shape, dtype: data instanceof Int32Array ? np.int32 : np.float32 });
}

export function tensor(arrays: Arrays, name: string): Array {
  return arrayOf(array(arrays, name));
}

/** Samples of each result. */
async function samples(outs: readonly Array[]): Promise<number[]> {
  const data = await Promise.all(outs.map((out) => out.data()));
  return data.flatMap(sample);
}

function discard(outs: readonly Array[]): void {
  for (const out of outs) out.dispose();
}

/** A pure function; `toCheck` converts its results to the layout of the check. */
export async function repeated(
  f: Program, inputs: readonly Array[], toCheck: Program = (...outs) => outs,
): Promise<Prepared> {
  const call = (): Array[] => f(...inputs.map((x) => x.ref));
  const check = await samples(toCheck(...call()));
  return {
    check,
    runSteps: (steps) => timeSteps(steps, async () => {
      const outs = call();
      await blockUntilReady(outs);
      discard(outs);
    }),
    dispose: () => discard(inputs),
  };
}

export function pure(
  f: Program, inputs: readonly Array[], toCheck?: Program,
): Promise<Prepared> {
  return repeated(jit(f), inputs, toCheck);
}
