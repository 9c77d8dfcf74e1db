/** MobileNetV2, LSTM, GPT and BERT in TensorFlow.js. */

import * as tf from "@tensorflow/tfjs";
import {
  array, type Arrays, number, numberList, type Options, type Prepared, type Workload,
} from "../../workload";
import { images, pure, tensor } from "./common";
import { EPSILON, gelu, normalize } from "./functions";
import { training } from "./training";

/** The parameters of a network, by name. */
export class Params<T extends tf.Tensor> {
  constructor(private readonly values: ReadonlyMap<string, T>) {}

  of(name: string): T {
    const found = this.values.get(name);
    if (found === undefined) throw new Error(`the network has no ${name}`);
    return found;
  }

  has(name: string): boolean {
    return this.values.has(name);
  }

  all(): T[] {
    return [...this.values.values()];
  }
}

const names = (arrays: Arrays): string[] =>
  [...arrays.keys()].filter((name) => name !== "x" && name !== "y");

const tensors = (arrays: Arrays): Params<tf.Tensor> =>
  new Params(new Map(names(arrays).map((name) => [name, tensor(arrays, name)])));

const variables = (arrays: Arrays): Params<tf.Variable> =>
  new Params(new Map(names(arrays).map((name) => [name, tf.variable(tensor(arrays, name))])));

type P = Params<tf.Tensor>;

/** Flattens the batch axes: TensorFlow.js cannot multiply a batch by one matrix. */
function dense(p: P, name: string, x: tf.Tensor): tf.Tensor {
  const w = p.of(`${name}.w`);
  const rows = x.reshape([-1, w.shape[0] ?? 0]);
  const out = tf.add(tf.matMul(rows, w), p.of(`${name}.b`));
  return out.reshape([...x.shape.slice(0, -1), w.shape[1] ?? 0]);
}

const layerNorm = (p: P, name: string, x: tf.Tensor): tf.Tensor =>
  normalize(x, p.of(`${name}.gamma`), p.of(`${name}.beta`), [-1]);

function batchNormInference(p: P, name: string, x: tf.Tensor): tf.Tensor {
  const param = (part: string): tf.Tensor1D => p.of(`${name}.${part}`).as1D();
  return tf.batchNorm(x, param("mean"), param("variance"), param("beta"), param("gamma"), EPSILON);
}

function invertedResidual(p: P, name: string, x: tf.Tensor, strides: number): tf.Tensor {
  const filter = (layer: string): tf.Tensor4D => images(p.of(`${name}.${layer}.w`));
  let h = images(x);
  if (p.has(`${name}.expand.w`)) {
    const expanded = tf.conv2d(h, filter("expand"), 1, "same");
    h = images(tf.relu6(batchNormInference(p, `${name}.expand`, expanded)));
  }
  const depthwise = tf.depthwiseConv2d(h, filter("depthwise"), strides, "same");
  h = images(tf.relu6(batchNormInference(p, `${name}.depthwise`, depthwise)));
  const out = batchNormInference(p, `${name}.project`, tf.conv2d(h, filter("project"), 1, "same"));
  return strides === 1 && out.shape[3] === x.shape[3] ? tf.add(out, x) : out;
}

export function mobilenet({ options }: Workload, arrays: Arrays): Prepared {
  const [p, x] = [tensors(arrays), tensor(arrays, "x")];
  const strides = numberList(options, "strides");
  const convNormRelu6 = (name: string, h: tf.Tensor, s: number): tf.Tensor =>
    tf.relu6(batchNormInference(
      p, name, tf.conv2d(images(h), images(p.of(`${name}.w`)), s, "same")));
  return pure(() => {
    const features = strides.reduce(
      (h, stride, i) => invertedResidual(p, String(i), h, stride), convNormRelu6("stem", x, 2));
    return [dense(p, "head", tf.mean(convNormRelu6("last", features, 1), [1, 2]))];
  }, [x, ...p.all()]);
}

function classificationLoss(y: tf.Tensor, logits: tf.Tensor): tf.Scalar {
  const classes = logits.shape.at(-1) ?? 0;
  const hot = tf.oneHot(y.reshape([-1]).as1D(), classes);
  return tf.losses.softmaxCrossEntropy(hot, logits.reshape([-1, classes])).asScalar();
}

/** An LSTM of TensorFlow.js's layers, whose gates are in Keras's order. */
export function lstm({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const [x, y] = [tensor(arrays, "x"), tensor(arrays, "y")];
  const [, steps = 0, features = 0] = x.shape;
  const units = (array(arrays, "recurrent").shape[1] ?? 0) / 4;
  const recurrent = tf.layers.lstm({
    units, recurrentActivation: "sigmoid", inputShape: [steps, features] });
  const head = tf.layers.dense({ units: 10 });
  const model = tf.sequential({ layers: [recurrent, head] });
  recurrent.setWeights(["kernel", "recurrent", "bias"].map((name) => tensor(arrays, name)));
  head.setWeights(["head.w", "head.b"].map((name) => tensor(arrays, name)));
  const logits = (): tf.Tensor => {
    const out = model.apply(x, { training: true });
    if (!(out instanceof tf.Tensor)) throw new Error("the model must have one output");
    return out;
  };
  return training(options, () => classificationLoss(y, logits()), [x, y]);
}

/** Multi-head attention of (batch, tokens, width) tensors; a head has width / heads columns. */
function attention(
  q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, options: Options, mask: tf.Tensor | null,
): tf.Tensor {
  const [batch = 0, tokens = 0, width = 0] = q.shape;
  const heads = number(options, "heads");
  const perHead = (x: tf.Tensor): tf.Tensor =>
    tf.transpose(x.reshape([batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
  const scores = tf.mul(
    tf.matMul(perHead(q), perHead(k), false, true), 1 / Math.sqrt(width / heads));
  const weights = tf.softmax(mask === null ? scores : tf.add(scores, mask));
  const context = tf.matMul(weights, perHead(v));
  return tf.transpose(context, [0, 2, 1, 3]).reshape([batch, tokens, width]);
}

function block(p: P, name: string, x: tf.Tensor, options: Options, mask: tf.Tensor): tf.Tensor {
  const [q, k, v] = tf.split(dense(p, `${name}.qkv`, layerNorm(p, `${name}.ln1`, x)), 3, -1);
  if (!q || !k || !v) throw new Error("split must return three tensors");
  const h = tf.add(x, dense(p, `${name}.out`, attention(q, k, v, options, mask)));
  const hidden = gelu(dense(p, `${name}.up`, layerNorm(p, `${name}.ln2`, h)));
  return tf.add(h, dense(p, `${name}.down`, hidden));
}

/** Embeds with a one-hot matrix product: the gradient of tf.gather has no WebAssembly kernel. */
export function gpt({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const [p, x, y] = [variables(arrays), tensor(arrays, "x"), tensor(arrays, "y")];
  const tokens = x.shape[1] ?? 0;
  const future = tf.sub(1, tf.linalg.bandPart(tf.ones([tokens, tokens]), -1, 0));
  const mask = tf.mul(future, -1e9);
  const table = p.of("embed");
  const hot = tf.cast(
    tf.oneHot(x.reshape([-1]).as1D(), table.shape[0] ?? 0), "float32");
  const logits = (): tf.Tensor => {
    const embedded = tf.matMul(hot, table).reshape([...x.shape, table.shape[1] ?? 0]);
    let h = tf.add(embedded, p.of("positions"));
    for (let i = 0; i < number(options, "depth"); i++) h = block(p, String(i), h, options, mask);
    return dense(p, "head", layerNorm(p, "ln", h));
  };
  return training(
    options, () => classificationLoss(y, logits()), [x, y, future, mask, hot, ...p.all()],
    { variables: p.all(), decay: 0.004 });
}

function encoder(p: P, name: string, x: tf.Tensor, options: Options): tf.Tensor {
  const project = (layer: string): tf.Tensor => dense(p, `${name}.${layer}`, x);
  const context = attention(project("q"), project("k"), project("v"), options, null);
  const h = layerNorm(p, `${name}.ln1`, tf.add(x, dense(p, `${name}.out`, context)));
  const up = dense(p, `${name}.up`, h);
  const hidden = tf.mul(tf.mul(up, 0.5), tf.add(tf.erf(tf.mul(up, Math.SQRT1_2)), 1));
  return layerNorm(p, `${name}.ln2`, tf.add(h, dense(p, `${name}.down`, hidden)));
}

export function bert({ options }: Workload, arrays: Arrays): Prepared {
  const [p, x] = [tensors(arrays), tensor(arrays, "x")];
  return pure(() => {
    let h = layerNorm(p, "ln", tf.add(tf.gather(p.of("embed"), x), p.of("positions")));
    for (let i = 0; i < number(options, "depth"); i++) h = encoder(p, String(i), h, options);
    return [h];
  }, [x, ...p.all()]);
}
