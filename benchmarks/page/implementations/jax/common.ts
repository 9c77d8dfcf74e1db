/** jax-js: arrays from the workload's, and jitted functions as its README shows them. */

import { blockUntilReady, jit, numpy as np } from "@jax-js/jax";
import { array, type Arrays, type NamedArray, type Ready, sample, timed } from "../../workload";

export type Array = np.Array;

/** A function as jax-js wants it: it owns its inputs and uses up each of them. */
export type Program = (...inputs: Array[]) => Array[];

export function arrayOf({ data, shape }: NamedArray): Array {
  return np.array(data, { shape, dtype: data instanceof Int32Array ? np.int32 : np.float32 });
}

export function tensor(arrays: Arrays, name: string): Array {
  return arrayOf(array(arrays, name));
}

/** Some elements of each result. */
async function samples(outs: readonly Array[]): Promise<number[]> {
  const data = await Promise.all(outs.map((out) => out.data()));
  return data.flatMap(sample);
}

function discard(outs: readonly Array[]): void {
  for (const out of outs) out.dispose();
}

/** A function of `inputs` alone, called again and again; `shown` lays results out for the check. */
export async function called(
  f: Program, inputs: readonly Array[], shown: Program = (...outs) => outs,
): Promise<Ready> {
  const call = (): Array[] => f(...inputs.map((x) => x.ref));
  const check = await samples(shown(...call()));
  return {
    check,
    turn: (steps) => timed(steps, async () => {
      const outs = call();
      await blockUntilReady(outs);
      discard(outs);
    }),
    dispose: () => discard(inputs),
  };
}

export function pure(
  f: Program, inputs: readonly Array[], shown?: Program,
): Promise<Ready> {
  return called(jit(f), inputs, shown);
}
