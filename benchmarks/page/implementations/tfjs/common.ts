/** TensorFlow.js: tensors of the workload's arrays, and functions under tf.tidy. */

import * as tf from "@tensorflow/tfjs";
import { array, type Arrays, type Prepared, sample, timeSteps } from "../../workload";

export function tensor(arrays: Arrays, name: string): tf.Tensor {
  const { data, shape } = array(arrays, name);
  return tf.tensor(data, shape, data instanceof Int32Array ? "int32" : "float32");
}

export const all = (arrays: Arrays): tf.Tensor[] =>
  [...arrays.keys()].map((name) => tensor(arrays, name));

/** Narrow the static type of a tensor of rank 4. */
export function images(x: tf.Tensor): tf.Tensor4D {
  const [n = 0, h = 0, w = 0, c = 0] = x.shape;
  return x.as4D(n, h, w, c);
}

/** A pure function. */
export function pure(f: () => tf.Tensor[], inputs: readonly tf.Tensor[]): Prepared {
  const first = tf.tidy(f);
  const check = first.flatMap((out) => sample(out.dataSync()));
  tf.dispose(first);
  return {
    check,
    runSteps: (steps) => timeSteps(steps, () => tf.dispose(tf.tidy(f))),
    dispose: () => tf.dispose([...inputs]),
  };
}
