/** TensorFlow.js on its WebAssembly backend. */

import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import threadedUrl
  from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url";
import simdUrl from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url";
import plainUrl from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url";
import {
  array, type Arrays, type Contender, losses, type Ready, sample, timed, Unable, type Workload,
} from "../workload";

function tensor(arrays: Arrays, name: string): tf.Tensor {
  const { data, shape } = array(arrays, name);
  return tf.tensor(data, shape, data instanceof Int32Array ? "int32" : "float32");
}

function pure(f: () => tf.Tensor, inputs: readonly tf.Tensor[]): Ready {
  const first = tf.tidy(f);
  const check = sample(first.dataSync());
  first.dispose();
  return {
    check,
    turn: (steps) => timed(steps, () => tf.tidy(f).dispose()),
    dispose: () => tf.dispose([...inputs]),
  };
}

function gemm({ options }: Workload, arrays: Arrays): Ready {
  const [a, b] = [tensor(arrays, "a"), tensor(arrays, "b")];
  return pure(
    () => tf.matMul(a, b, options.transpose_a === true, options.transpose_b === true), [a, b]);
}

function gelu(x: tf.Tensor): tf.Tensor {
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

function elementwise({ options }: Workload, arrays: Arrays): Ready {
  const f = ELEMENTWISE[String(options.operation)];
  if (f === undefined) throw new Unable(`no operation ${options.operation}`);
  const [x, y] = [tensor(arrays, "x"), tensor(arrays, "y")];
  return pure(() => f(x, y), [x, y]);
}

type Layers = readonly { readonly w: tf.Variable; readonly b: tf.Variable }[];

function layers(arrays: Arrays, count: number): Layers {
  return Array.from({ length: count }, (_, i) => ({
    w: tf.variable(tensor(arrays, `w${i + 1}`)), b: tf.variable(tensor(arrays, `b${i + 1}`)),
  }));
}

async function training(
  model: (x: tf.Tensor) => tf.Tensor, variables: Layers, x: tf.Tensor, y: tf.Tensor,
): Promise<Ready> {
  const optimizer = tf.train.adam(0.001);
  const labels = tf.oneHot(y.as1D(), 10);
  const step = (): tf.Scalar => {
    const loss = optimizer.minimize(
      () => tf.losses.softmaxCrossEntropy(labels, model(x)).asScalar(), true);
    if (loss === null) throw new Error("minimize was asked for the loss");
    return loss;
  };
  return {
    check: await losses(() => {
      const loss = step();
      const [value = NaN] = loss.dataSync();
      loss.dispose();
      return value;
    }),
    turn: (steps) => timed(steps, () => step().dispose()),
    dispose() {
      optimizer.dispose();
      tf.dispose([labels, x, y, ...variables.flatMap(({ w, b }) => [w, b])]);
    },
  };
}

function dense(x: tf.Tensor, variables: Layers): tf.Tensor {
  return variables.reduce((h, { w, b }, i) => {
    const z = tf.add(tf.matMul(h, w), b);
    return i < variables.length - 1 ? tf.relu(z) : z;
  }, x);
}

function mlp(_: Workload, arrays: Arrays): Promise<Ready> {
  const variables = layers(arrays, 3);
  return training((x) => dense(x, variables), variables, tensor(arrays, "x"), tensor(arrays, "y"));
}

function lenet(_: Workload, arrays: Arrays): Promise<Ready> {
  const variables = layers(arrays, 5);
  const [one, two] = variables;
  if (!one || !two) throw new Error("LeNet has two convolutions");
  const convolved = (x: tf.Tensor4D, { w, b }: Layers[number]): tf.Tensor4D => {
    const z = tf.add(tf.conv2d(x, w.as4D(5, 5, x.shape[3], b.size), 1, "valid"), b);
    return tf.maxPool(tf.relu(z).as4D(64, z.shape[1] ?? 0, z.shape[2] ?? 0, b.size), 2, 2, "valid");
  };
  const model = (x: tf.Tensor): tf.Tensor => {
    const features = convolved(convolved(x.as4D(64, 28, 28, 1), one), two);
    return dense(features.reshape([64, 256]), variables.slice(2));
  };
  return training(model, variables, tensor(arrays, "x"), tensor(arrays, "y"));
}

const FAMILIES = { gemm, elementwise, mlp, lenet };

export async function start(threads: number): Promise<Contender> {
  setWasmPaths({
    "tfjs-backend-wasm.wasm": plainUrl,
    "tfjs-backend-wasm-simd.wasm": simdUrl,
    "tfjs-backend-wasm-threaded-simd.wasm": threadedUrl,
  });
  setThreadsCount(threads);
  await tf.setBackend("wasm");
  await tf.ready();
  return {
    prepare: async (workload, arrays) => FAMILIES[workload.family](workload, arrays),
  };
}
