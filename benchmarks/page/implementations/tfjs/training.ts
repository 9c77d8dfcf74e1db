/** Training steps in TensorFlow.js. */

import * as tf from "@tensorflow/tfjs";
import {
  type Arrays, losses, type Options, type Prepared, timeSteps, type Workload,
} from "../../workload";
import { images, tensor } from "./common";

const RATE = 0.001;

/** The weight decay of AdamW, which the Adam of TensorFlow.js lacks. */
export interface WeightDecay {
  readonly variables: readonly tf.Variable[];
  readonly decay: number;
}

/** A step of Adam, after the weight decay; returns the loss. */
function stepWithDecay(
  optimizer: tf.Optimizer, lossOf: () => tf.Scalar, { variables, decay }: WeightDecay,
): tf.Scalar {
  const { value, grads } = tf.variableGrads(lossOf, [...variables]);
  tf.tidy(() => {
    for (const each of variables) each.assign(tf.mul(each, 1 - RATE * decay));
  });
  optimizer.applyGradients(grads);
  tf.dispose(grads);
  return value;
}

/** Training steps that minimize `lossOf()`; disposes the tensors `owned` at the end. */
export async function training(
  options: Options, lossOf: () => tf.Scalar, owned: readonly tf.Tensor[], decay?: WeightDecay,
): Promise<Prepared> {
  const optimizer = tf.train.adam(RATE);
  const step = (): tf.Scalar => {
    const loss = decay === undefined
      ? optimizer.minimize(lossOf, true) : stepWithDecay(optimizer, lossOf, decay);
    if (loss === null) throw new Error("minimize returned no loss");
    return loss;
  };
  return {
    check: await losses(options, () => {
      const loss = step();
      const [value = NaN] = loss.dataSync();
      loss.dispose();
      return value;
    }),
    runSteps: (steps) => timeSteps(steps, () => step().dispose()),
    dispose() {
      optimizer.dispose();
      tf.dispose([...owned]);
    },
  };
}

type Layers = readonly { readonly w: tf.Variable; readonly b: tf.Variable }[];

function layers(arrays: Arrays, count: number): Layers {
  return Array.from({ length: count }, (_, i) => ({
    w: tf.variable(tensor(arrays, `w${i + 1}`)), b: tf.variable(tensor(arrays, `b${i + 1}`)),
  }));
}

function classifierTraining(
  { options }: Workload, arrays: Arrays, model: (x: tf.Tensor) => tf.Tensor, variables: Layers,
): Promise<Prepared> {
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

export function mlp(workload: Workload, arrays: Arrays): Promise<Prepared> {
  const variables = layers(arrays, 3);
  return classifierTraining(workload, arrays, (x) => dense(x, variables), variables);
}

export function lenet(workload: Workload, arrays: Arrays): Promise<Prepared> {
  const variables = layers(arrays, 5);
  const [first, second] = variables;
  if (!first || !second) throw new Error("LeNet has two convolutions");
  const convPool = (x: tf.Tensor, { w, b }: Layers[number]): tf.Tensor => {
    const z = tf.add(tf.conv2d(images(x), images(w), 1, "valid"), b);
    return tf.maxPool(images(tf.relu(z)), 2, 2, "valid");
  };
  return classifierTraining(workload, arrays, (x) => {
    const features = convPool(convPool(x, first), second);
    return dense(features.reshape([features.shape[0] ?? 0, -1]), variables.slice(2));
  }, variables);
}
