/** Matrix products and memory-bound operations in TensorFlow.js. */

import * as tf from "@tensorflow/tfjs";
import {
  type Arrays, flag, numberList, type Prepared, Unsupported, type Workload,
} from "../../workload";
import { all, pure, tensor } from "./common";

export function gemm({ options }: Workload, arrays: Arrays): Prepared {
  const [a, b] = [tensor(arrays, "a"), tensor(arrays, "b")];
  const transposes = [flag(options, "transpose_a"), flag(options, "transpose_b")];
  return pure(() => [tf.matMul(a, b, ...transposes)], [a, b]);
}

export function gelu(x: tf.Tensor): tf.Tensor {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.mul(x, x), x), 0.044715)), 0.7978845608028654);
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

const ELEMENTWISE: Readonly<Record<string, (x: tf.Tensor, y: tf.Tensor) => tf.Tensor>> = {
  softmax: (x) => tf.softmax(x),
  gelu,
  tanh: (x) => tf.tanh(x),
  exp: (x) => tf.exp(x),
  add: (x, y) => tf.add(x, y),
  chain: (x, y) => tf.add(gelu(x), tf.tanh(tf.exp(y))),
};

export function elementwise({ options }: Workload, arrays: Arrays): Prepared {
  const f = ELEMENTWISE[String(options.operation)];
  if (f === undefined) throw new Unsupported(`no operation ${options.operation}`);
  const inputs = all(arrays);
  const [x = tf.scalar(0), y = x] = inputs;
  return pure(() => [f(x, y)], inputs);
}

export const EPSILON = 1e-5;

/** Mean 0 and variance 1 over `axes`, then a scale and an offset. */
export function normalize(
  x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, axes: number[],
): tf.Tensor {
  const { mean, variance } = tf.moments(x, axes, true);
  const inverse = tf.rsqrt(tf.add(variance, EPSILON));
  return tf.add(tf.mul(tf.mul(tf.sub(x, mean), inverse), gamma), beta);
}

export function norm({ options }: Workload, arrays: Arrays): Prepared {
  const axes = numberList(options, "axes");
  const [x, gamma, beta] = [tensor(arrays, "x"), tensor(arrays, "gamma"), tensor(arrays, "beta")];
  if (!flag(options, "gradients")) {
    return pure(() => [normalize(x, gamma, beta, axes)], [x, gamma, beta]);
  }
  const g = tensor(arrays, "g");
  const gradients = tf.valueAndGrads((...args: tf.Tensor[]) => {
    const [u = x, scale = gamma, offset = beta] = args;
    return normalize(u, scale, offset, axes);
  });
  return pure(() => {
    const { value, grads } = gradients([x, gamma, beta], g);
    return [value, ...grads];
  }, [x, gamma, beta, g]);
}

export function crossEntropyGradient(_: Workload, arrays: Arrays): Prepared {
  const [logits, labels] = [tensor(arrays, "logits"), tensor(arrays, "labels")];
  const hot = tf.oneHot(labels.as1D(), logits.shape[1] ?? 0);
  const gradient = tf.valueAndGrad(
    (x: tf.Tensor) => tf.losses.softmaxCrossEntropy(hot, x).asScalar());
  return pure(() => {
    const { value, grad } = gradient(logits);
    return [value, grad];
  }, [logits, labels, hot]);
}
