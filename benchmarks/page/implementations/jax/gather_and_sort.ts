/** Gather, scatter and sort in jax-js. */

import { lax, numpy as np, vjp } from "@jax-js/jax";
import { type Arrays, number, type Prepared, type Workload } from "../../workload";
import { type Array, pure, repeated, tensor } from "./common";

export function embedding(_: Workload, arrays: Arrays): Promise<Prepared> {
  return pure((table: Array, ids: Array) => [np.take(table, ids, 0)],
    [tensor(arrays, "table"), tensor(arrays, "ids")]);
}

/** The gradient of an embedding, not jitted: jit supports neither its scatter nor sort. */
export function scatterAdd({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const updates = tensor(arrays, "updates");
  const table = np.zeros([number(options, "rows"), updates.shape[1] ?? 0]);
  return repeated((table: Array, ids: Array, g: Array) => {
    const [out, back] = vjp((rows: Array) => np.take(rows, ids, 0), [table]);
    const [gradient] = back(g);
    out.dispose();
    back.dispose();
    return [gradient];
  }, [table, tensor(arrays, "ids"), updates]);
}

export function sort(_: Workload, arrays: Arrays): Promise<Prepared> {
  return repeated((x: Array) => [np.sort(x)], [tensor(arrays, "x")]);
}

export function topK({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  return repeated((x: Array) => lax.topK(x, number(options, "k")), [tensor(arrays, "x")]);
}
