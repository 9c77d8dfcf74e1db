/** Training steps in TensorFlow.js. */

import * as tf from "@tensorflow/tfjs";
import {
  type Arrays, losses, type Options, type Ready, timed, type Workload,
} from "../../workload";
import { images, tensor } from "./common";

const RATE = 0.001;

/** What AdamW's decay makes smaller; the Adam of TensorFlow.js has none. */
export interface Decayed {
  readonly variables: readonly tf.Variable[];
  readonly decay: number;
}

/** A step of Adam after the decay; the loss. */
function decayedStep(
  optimizer: tf.Optimizer, lossOf: () => tf.Scalar, { variables, decay }: Decayed,
): tf.Scalar {
  const { value, grads } = tf.variableGrads(lossOf, [...variables]);
  tf.tidy(() => {
    for (const each of variables) each.assign(tf.mul(each, 1 - RATE * decay));
  });
  optimizer.applyGradients(grads);
  tf.dispose(grads);
  return value;
}

/** A step of an optimizer of TensorFlow.js on what the loss depends on; it owns `held`. */
export async function training(
  options: Options, lossOf: () => tf.Scalar, held: readonly tf.Tensor[], decayed?: Decayed,
): Promise<Ready> {
  const optimizer = tf.train.adam(RATE);
  const step = (): tf.Scalar => {
    const loss = decayed === undefined
      ? optimizer.minimize(lossOf, true) : decayedStep(optimizer, lossOf, decayed);
    if (loss === null) throw new Error("minimize was asked for the loss");
    return loss;
  };
  return {
    check: await losses(options, () => {
      const loss = step();
      const [value = NaN] = loss.dataSync();
      loss.dispose();
      return value;
    }),
    turn: (steps) => timed(steps, () => step().dispose()),
    dispose() {
      optimizer.dispose();
      tf.dispose([...held]);
    },
  };
}

type Layers = readonly { readonly w: tf.Variable; readonly b: tf.Variable }[];

function layers(arrays: Arrays, count: number): Layers {
  return Array.from({ length: count }, (_, i) => ({
    w: tf.variable(tensor(arrays, `w${i + 1}`)), b: tf.variable(tensor(arrays, `b${i + 1}`)),
  }));
}

function classified(
  { options }: Workload, arrays: Arrays, model: (x: tf.Tensor) => tf.Tensor, variables: Layers,
): Promise<Ready> {
  const [x, y] = [tensor(arrays, "x"), tensor(arrays, "y")];
  const hot = tf.oneHot(y.as1D(), 10);
  return training(
    options, () => tf.losses.softmaxCrossEntropy(hot, model(x)).asScalar(),
    [x, y, hot, ...variables.flatMap(({ w, b }) => [w, b])]);
}

function dense(x: tf.Tensor, variables: Layers): tf.Tensor {
  return variables.reduce((h, { w, b }, i) => {
    const z = tf.add(tf.matMul(h, w), b);
    return i < variables.length - 1 ? tf.relu(z) : z;
  }, x);
}

export function mlp(workload: Workload, arrays: Arrays): Promise<Ready> {
  const variables = layers(arrays, 3);
  return classified(workload, arrays, (x) => dense(x, variables), variables);
}

export function lenet(workload: Workload, arrays: Arrays): Promise<Ready> {
  const variables = layers(arrays, 5);
  const [one, two] = variables;
  if (!one || !two) throw new Error("LeNet has two convolutions");
  const convolved = (x: tf.Tensor, { w, b }: Layers[number]): tf.Tensor => {
    const z = tf.add(tf.conv2d(images(x), images(w), 1, "valid"), b);
    return tf.maxPool(images(tf.relu(z)), 2, 2, "valid");
  };
  return classified(workload, arrays, (x) => {
    const features = convolved(convolved(x, one), two);
    return dense(features.reshape([features.shape[0] ?? 0, -1]), variables.slice(2));
  }, variables);
}
