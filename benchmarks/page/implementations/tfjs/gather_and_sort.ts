/** Gather, scatter and sort in TensorFlow.js. */

import * as tf from "@tensorflow/tfjs";
import { type Arrays, number, type Prepared, type Workload } from "../../workload";
import { pure, tensor } from "./common";

export function embedding(_: Workload, arrays: Arrays): Prepared {
  const [table, ids] = [tensor(arrays, "table"), tensor(arrays, "ids")];
  return pure(() => [tf.gather(table, ids)], [table, ids]);
}

/** With tf.scatterND: the gradient of tf.gather has no kernel in WebAssembly. */
export function scatterAdd({ options }: Workload, arrays: Arrays): Prepared {
  const [updates, ids] = [tensor(arrays, "updates"), tensor(arrays, "ids")];
  const indices = tf.expandDims(ids, 1);
  const shape = [number(options, "rows"), updates.shape[1] ?? 0];
  return pure(() => [tf.scatterND(indices, updates, shape)], [updates, ids, indices]);
}

/** Sorts with tf.topk of all elements, which is descending; TensorFlow.js has no sort. */
export function sort(_: Workload, arrays: Arrays): Prepared {
  const x = tensor(arrays, "x");
  return pure(() => [tf.reverse(tf.topk(x, x.size, true).values)], [x]);
}

export function topK({ options }: Workload, arrays: Arrays): Prepared {
  const x = tensor(arrays, "x");
  return pure(() => {
    const { values, indices } = tf.topk(x, number(options, "k"), true);
    return [values, indices];
  }, [x]);
}
