/** Matrix products and memory-bound operations in jax-js. */

import { nn, numpy as np, valueAndGrad, vjp } from "@jax-js/jax";
import {
  type Arrays, flag, numberList, type Prepared, Unsupported, type Workload,
} from "../../workload";
import { type Array, type Program, pure, tensor } from "./common";

const all = (arrays: Arrays): Array[] => [...arrays.keys()].map((name) => tensor(arrays, name));

export function gemm({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const transposed = (name: string, x: Array): Array =>
    flag(options, name) ? np.swapaxes(x, -1, -2) : x;
  return pure(
    (a: Array, b: Array) => [np.matmul(transposed("transpose_a", a), transposed("transpose_b", b))],
    all(arrays));
}

const ELEMENTWISE: Readonly<Record<string, Program>> = {
  softmax: (x: Array) => [nn.softmax(x, -1)],
  gelu: (x: Array) => [nn.gelu(x)],
  tanh: (x: Array) => [np.tanh(x)],
  exp: (x: Array) => [np.exp(x)],
  add: (x: Array, y: Array) => [x.add(y)],
  chain: (x: Array, y: Array) => [nn.gelu(x).add(np.tanh(np.exp(y)))],
};

export function elementwise({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const f = ELEMENTWISE[String(options.operation)];
  if (f === undefined) throw new Unsupported(`no operation ${options.operation}`);
  return pure(f, all(arrays));
}

export const EPSILON = 1e-5;

export function norm({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const axes = numberList(options, "axes");
  const normalize = (x: Array, gamma: Array, beta: Array): Array =>
    nn.standardize(x, axes, { epsilon: EPSILON }).mul(gamma).add(beta);
  if (!flag(options, "gradients")) {
    return pure((x: Array, gamma: Array, beta: Array) => [normalize(x, gamma, beta)], all(arrays));
  }
  return pure((x: Array, gamma: Array, beta: Array, g: Array) => {
    const [out, pullback] = vjp(normalize, [x, gamma, beta]);
    const gradients = pullback(g);
    pullback.dispose();
    return [out, ...gradients];
  }, all(arrays));
}

/** The mean cross entropy over all rows. */
export function crossEntropy(logits: Array, labels: Array): Array {
  const classes = logits.shape.at(-1) ?? 0;
  return np.negative(nn.logSoftmax(logits, -1).mul(nn.oneHot(labels, classes)).sum(-1)).mean();
}

export function crossEntropyGradient(_: Workload, arrays: Arrays): Promise<Prepared> {
  return pure((logits: Array, labels: Array) => {
    const [loss, gradient] = valueAndGrad(crossEntropy)(logits, labels);
    return [loss, gradient];
  }, all(arrays));
}
