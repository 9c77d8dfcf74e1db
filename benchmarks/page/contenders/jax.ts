/** jax-js on its WebAssembly device: jitted functions, as its README shows them. */

import {
  blockUntilReady, defaultDevice, init, jit, lax, nn, numpy as np, tree, valueAndGrad,
} from "@jax-js/jax";
import {
  array, type Arrays, type Contender, losses, type Ready, sample, timed, Unable, type Workload,
} from "../workload";

type Array = np.Array;

/** A function of `inputs` alone, called again and again. */
async function pure(f: (...inputs: Array[]) => Array, inputs: readonly Array[]): Promise<Ready> {
  const compiled = jit(f);
  const call = (): Array => compiled(...inputs.map((x) => x.ref));
  const first = call();
  const check = sample(await first.data());
  return {
    check,
    turn: (steps) => timed(steps, async () => {
      const out = call();
      await blockUntilReady(out);
      out.dispose();
    }),
    dispose() {
      for (const x of inputs) x.dispose();
    },
  };
}

function tensor(arrays: Arrays, name: string): Array {
  const { data, shape } = array(arrays, name);
  return np.array(data, { shape, dtype: data instanceof Int32Array ? np.int32 : np.float32 });
}

function gemm({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const { transpose_a, transpose_b } = options;
  return pure(
    (a, b) => np.matmul(transpose_a ? np.transpose(a) : a, transpose_b ? np.transpose(b) : b),
    [tensor(arrays, "a"), tensor(arrays, "b")]);
}

const ELEMENTWISE: Readonly<Record<string, (x: Array, y: Array) => Array>> = {
  softmax: (x, y) => (y.dispose(), nn.softmax(x, -1)),
  gelu: (x, y) => (y.dispose(), nn.gelu(x)),
  tanh: (x, y) => (y.dispose(), np.tanh(x)),
  exp: (x, y) => (y.dispose(), np.exp(x)),
  add: (x, y) => x.add(y),
  chain: (x, y) => nn.gelu(x).add(np.tanh(np.exp(y))),
};

function elementwise({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const f = ELEMENTWISE[String(options.operation)];
  if (f === undefined) throw new Unable(`no operation ${options.operation}`);
  return pure(f, [tensor(arrays, "x"), tensor(arrays, "y")]);
}

type Params = { weights: Array[]; biases: Array[] };
type Model = (params: Params, x: Array) => Array;
type State = { params: Params; m: Params; v: Params; t: Array };

function crossEntropy(model: Model, params: Params, x: Array, y: Array): Array {
  const logits = model(params, x);
  const classes = logits.shape.at(-1) ?? 0;
  return np.negative(nn.logSoftmax(logits, -1).mul(nn.oneHot(y, classes)).sum(-1)).mean();
}

/** Adam (Kingma and Ba, 2015). jax-js keeps its optimizers in another package. */
function adam(params: Params, grads: Params, { m, v, t }: State): State {
  const step = t.add(1);
  const scale = np.sqrt(np.subtract(1, np.power(0.999, step.ref)))
    .div(np.subtract(1, np.power(0.9, step.ref))).mul(0.001);
  const mean = tree.map((a: Array, g: Array) => a.mul(0.9).add(g.mul(0.1)), m, tree.ref(grads));
  const square = tree.map(
    (a: Array, g: Array) => a.mul(0.999).add(np.square(g).mul(0.001)), v, grads);
  const moved = tree.map(
    (p: Array, a: Array, b: Array) => p.sub(a.mul(scale.ref).div(np.sqrt(b).add(1e-7))),
    params, tree.ref(mean), tree.ref(square));
  scale.dispose();
  return { params: moved, m: mean, v: square, t: step };
}

async function training(model: Model, params: Params, x: Array, y: Array): Promise<Ready> {
  const step = jit((state: State, images: Array, labels: Array): [Array, State] => {
    const [loss, grads] = valueAndGrad(
      (p: Params) => crossEntropy(model, p, images, labels))(tree.ref(state.params));
    return [loss, adam(state.params, grads, state)];
  });
  const zeros = (): Params => tree.map((p: Array) => np.zeros(p.shape), params);
  let state: State = { params, m: tree.map((p: Array) => np.zerosLike(p.ref), params),
    v: zeros(), t: np.array(0) };
  const advance = async (): Promise<Array> => {
    const [loss, next] = step(state, x.ref, y.ref);
    state = next;
    await blockUntilReady([loss, next]);
    return loss;
  };
  return {
    check: await losses(async () => (await (await advance()).data())[0] ?? NaN),
    turn: (steps) => timed(steps, async () => (await advance()).dispose()),
    dispose: () => void tree.dispose([state, x, y]),
  };
}

function params(arrays: Arrays, layers: number): Params {
  const numbers = Array.from({ length: layers }, (_, i) => i + 1);
  return {
    weights: numbers.map((i) => tensor(arrays, `w${i}`)),
    biases: numbers.map((i) => tensor(arrays, `b${i}`)),
  };
}

/** Dense layers with ReLU between them. */
function dense(x: Array, weights: readonly Array[], biases: readonly Array[]): Array {
  return weights.reduce((h, w, i) => {
    const z = np.matmul(h, w).add(biases[i] ?? 0);
    return i < weights.length - 1 ? nn.relu(z) : z;
  }, x);
}

function mlp(_: Workload, arrays: Arrays): Promise<Ready> {
  return training((p, x) => dense(x, p.weights, p.biases), params(arrays, 3),
    tensor(arrays, "x"), tensor(arrays, "y"));
}

/** By a reshape, which is faster here than lax.reduceWindow. */
function maxPool(x: Array): Array {
  const [n = 0, c = 0, h = 0, w = 0] = x.shape;
  return np.max(x.reshape([n, c, h / 2, 2, w / 2, 2]), [3, 5]);
}

function lenetModel({ weights: [w1, w2, ...w], biases: [b1, b2, ...b] }: Params, x: Array): Array {
  if (!w1 || !w2 || !b1 || !b2) throw new Error("LeNet has two convolutions");
  const plane = (bias: Array): Array => bias.reshape([1, -1, 1, 1]);
  const one = maxPool(nn.relu(lax.conv(x, w1, [1, 1], "VALID").add(plane(b1))));
  const two = maxPool(nn.relu(lax.conv(one, w2, [1, 1], "VALID").add(plane(b2))));
  return dense(two.reshape([two.shape[0] ?? 0, -1]), w, b);
}

/** jax-js convolves NCHW with OIHW: the same network, its data and weights laid out for that. */
function lenet(_: Workload, arrays: Arrays): Promise<Ready> {
  const p = params(arrays, 5);
  const turned = (axes: number[], w: Array | undefined): Array => {
    if (w === undefined) throw new Error("LeNet has five layers");
    return np.transpose(w, axes);
  };
  const [w1, w2, w3, ...rest] = p.weights;
  const flat = turned([2, 0, 1, 3], w3?.reshape([4, 4, 16, 120])).reshape([256, 120]);
  p.weights = [turned([3, 2, 0, 1], w1), turned([3, 2, 0, 1], w2), flat, ...rest];
  const x = np.transpose(tensor(arrays, "x"), [0, 3, 1, 2]);
  return training(lenetModel, p, x, tensor(arrays, "y"));
}

const FAMILIES = { gemm, elementwise, mlp, lenet };

/** jax-js takes as many threads as navigator says the machine has; browser.py has it say so. */
export async function start(): Promise<Contender> {
  await init("wasm");
  defaultDevice("wasm");
  return {
    prepare: async (workload, arrays) => FAMILIES[workload.family](workload, arrays),
  };
}
