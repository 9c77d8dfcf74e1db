/** Products and streams in jax-js. */

import { nn, numpy as np, valueAndGrad, vjp } from "@jax-js/jax";
import { type Arrays, flag, numbers, type Ready, Unable, type Workload } from "../../workload";
import { type Array, type Program, pure, tensor } from "./common";

const all = (arrays: Arrays): Array[] => [...arrays.keys()].map((name) => tensor(arrays, name));

export function gemm({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const turned = (name: string, x: Array): Array =>
    flag(options, name) ? np.swapaxes(x, -1, -2) : x;
  return pure(
    (a: Array, b: Array) => [np.matmul(turned("transpose_a", a), turned("transpose_b", b))],
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

export function elementwise({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const f = ELEMENTWISE[String(options.operation)];
  if (f === undefined) throw new Unable(`no operation ${options.operation}`);
  return pure(f, all(arrays));
}

export const EPSILON = 1e-5;

export function norm({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const axes = numbers(options, "axes");
  const normalized = (x: Array, gamma: Array, beta: Array): Array =>
    nn.standardize(x, axes, { epsilon: EPSILON }).mul(gamma).add(beta);
  if (!flag(options, "gradients")) {
    return pure((x: Array, gamma: Array, beta: Array) => [normalized(x, gamma, beta)], all(arrays));
  }
  return pure((x: Array, gamma: Array, beta: Array, g: Array) => {
    const [out, back] = vjp(normalized, [x, gamma, beta]);
    const gradients = back(g);
    back.dispose();
    return [out, ...gradients];
  }, all(arrays));
}

/** The mean over all rows. */
export function crossEntropy(logits: Array, labels: Array): Array {
  const classes = logits.shape.at(-1) ?? 0;
  return np.negative(nn.logSoftmax(logits, -1).mul(nn.oneHot(labels, classes)).sum(-1)).mean();
}

export function crossEntropyGradient(_: Workload, arrays: Arrays): Promise<Ready> {
  return pure((logits: Array, labels: Array) => {
    const [loss, gradient] = valueAndGrad(crossEntropy)(logits, labels);
    return [loss, gradient];
  }, all(arrays));
}
