/** MobileNetV2, an LSTM, a GPT and a BERT in TensorFlow.js. */

import * as tf from "@tensorflow/tfjs";
import {
  array, type Arrays, number, numbers, type Options, type Ready, type Workload,
} from "../../workload";
import { images, pure, tensor } from "./common";
import { EPSILON, gelu, normalized } from "./functions";
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

/** By a plain product: TensorFlow.js multiplies a batch by one matrix in no other way. */
function dense(p: P, name: string, x: tf.Tensor): tf.Tensor {
  const w = p.of(`${name}.w`);
  const rows = x.reshape([-1, w.shape[0] ?? 0]);
  const out = tf.add(tf.matMul(rows, w), p.of(`${name}.b`));
  return out.reshape([...x.shape.slice(0, -1), w.shape[1] ?? 0]);
}

const layerNorm = (p: P, name: string, x: tf.Tensor): tf.Tensor =>
  normalized(x, p.of(`${name}.gamma`), p.of(`${name}.beta`), [-1]);

function trainedNorm(p: P, name: string, x: tf.Tensor): tf.Tensor {
  const of = (part: string): tf.Tensor1D => p.of(`${name}.${part}`).as1D();
  return tf.batchNorm(x, of("mean"), of("variance"), of("beta"), of("gamma"), EPSILON);
}

function inverted(p: P, name: string, x: tf.Tensor, strides: number): tf.Tensor {
  const filter = (part: string): tf.Tensor4D => images(p.of(`${name}.${part}.w`));
  let h = images(x);
  if (p.has(`${name}.expand.w`)) {
    const wide = tf.conv2d(h, filter("expand"), 1, "same");
    h = images(tf.relu6(trainedNorm(p, `${name}.expand`, wide)));
  }
  const deep = tf.depthwiseConv2d(h, filter("depthwise"), strides, "same");
  h = images(tf.relu6(trainedNorm(p, `${name}.depthwise`, deep)));
  const out = trainedNorm(p, `${name}.project`, tf.conv2d(h, filter("project"), 1, "same"));
  return strides === 1 && out.shape[3] === x.shape[3] ? tf.add(out, x) : out;
}

export function mobilenet({ options }: Workload, arrays: Arrays): Ready {
  const [p, x] = [tensors(arrays), tensor(arrays, "x")];
  const strides = numbers(options, "strides");
  const unit = (name: string, h: tf.Tensor, s: number): tf.Tensor =>
    tf.relu6(trainedNorm(p, name, tf.conv2d(images(h), images(p.of(`${name}.w`)), s, "same")));
  return pure(() => {
    const features = strides.reduce(
      (h, stride, i) => inverted(p, String(i), h, stride), unit("stem", x, 2));
    return [dense(p, "head", tf.mean(unit("last", features, 1), [1, 2]))];
  }, [x, ...p.all()]);
}

function labelled(y: tf.Tensor, logits: tf.Tensor): tf.Scalar {
  const classes = logits.shape.at(-1) ?? 0;
  const hot = tf.oneHot(y.reshape([-1]).as1D(), classes);
  return tf.losses.softmaxCrossEntropy(hot, logits.reshape([-1, classes])).asScalar();
}

/** Of its layers, whose gates stand in Keras's order. */
export function lstm({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const [x, y] = [tensor(arrays, "x"), tensor(arrays, "y")];
  const [, steps = 0, features = 0] = x.shape;
  const units = (array(arrays, "recurrent").shape[1] ?? 0) / 4;
  const read = tf.layers.lstm({
    units, recurrentActivation: "sigmoid", inputShape: [steps, features] });
  const head = tf.layers.dense({ units: 10 });
  const model = tf.sequential({ layers: [read, head] });
  read.setWeights(["kernel", "recurrent", "bias"].map((name) => tensor(arrays, name)));
  head.setWeights(["head.w", "head.b"].map((name) => tensor(arrays, name)));
  const logits = (): tf.Tensor => {
    const out = model.apply(x, { training: true });
    if (!(out instanceof tf.Tensor)) throw new Error("the model has one output");
    return out;
  };
  return training(options, () => labelled(y, logits()), [x, y]);
}

/** Of (batch, words, width), each head its share of the width. */
function attention(
  q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, options: Options, mask: tf.Tensor | null,
): tf.Tensor {
  const [batch = 0, words = 0, width = 0] = q.shape;
  const heads = number(options, "heads");
  const parted = (x: tf.Tensor): tf.Tensor =>
    tf.transpose(x.reshape([batch, words, heads, width / heads]), [0, 2, 1, 3]);
  const scores = tf.mul(
    tf.matMul(parted(q), parted(k), false, true), 1 / Math.sqrt(width / heads));
  const shares = tf.softmax(mask === null ? scores : tf.add(scores, mask));
  const mixed = tf.matMul(shares, parted(v));
  return tf.transpose(mixed, [0, 2, 1, 3]).reshape([batch, words, width]);
}

function block(p: P, name: string, x: tf.Tensor, options: Options, mask: tf.Tensor): tf.Tensor {
  const [q, k, v] = tf.split(dense(p, `${name}.qkv`, layerNorm(p, `${name}.ln1`, x)), 3, -1);
  if (!q || !k || !v) throw new Error("queries, keys and values are three");
  const h = tf.add(x, dense(p, `${name}.out`, attention(q, k, v, options, mask)));
  const wide = gelu(dense(p, `${name}.up`, layerNorm(p, `${name}.ln2`, h)));
  return tf.add(h, dense(p, `${name}.down`, wide));
}

/** The table by a product: the gradient of tf.gather has no kernel in WebAssembly. */
export function gpt({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const [p, x, y] = [variables(arrays), tensor(arrays, "x"), tensor(arrays, "y")];
  const words = x.shape[1] ?? 0;
  const later = tf.sub(1, tf.linalg.bandPart(tf.ones([words, words]), -1, 0));
  const mask = tf.mul(later, -1e9);
  const table = p.of("embed");
  const hot = tf.cast(
    tf.oneHot(x.reshape([-1]).as1D(), table.shape[0] ?? 0), "float32");
  const logits = (): tf.Tensor => {
    const embedded = tf.matMul(hot, table).reshape([...x.shape, table.shape[1] ?? 0]);
    let h = tf.add(embedded, p.of("positions"));
    for (let i = 0; i < number(options, "depth"); i++) h = block(p, String(i), h, options, mask);
    return dense(p, "head", layerNorm(p, "ln", h));
  };
  return training(options, () => labelled(y, logits()), [x, y, later, mask, hot, ...p.all()],
    { variables: p.all(), decay: 0.004 });
}

function encoder(p: P, name: string, x: tf.Tensor, options: Options): tf.Tensor {
  const of = (part: string): tf.Tensor => dense(p, `${name}.${part}`, x);
  const mixed = attention(of("q"), of("k"), of("v"), options, null);
  const h = layerNorm(p, `${name}.ln1`, tf.add(x, dense(p, `${name}.out`, mixed)));
  const up = dense(p, `${name}.up`, h);
  const wide = tf.mul(tf.mul(up, 0.5), tf.add(tf.erf(tf.mul(up, Math.SQRT1_2)), 1));
  return layerNorm(p, `${name}.ln2`, tf.add(h, dense(p, `${name}.down`, wide)));
}

export function bert({ options }: Workload, arrays: Arrays): Ready {
  const [p, x] = [tensors(arrays), tensor(arrays, "x")];
  return pure(() => {
    let h = layerNorm(p, "ln", tf.add(tf.gather(p.of("embed"), x), p.of("positions")));
    for (let i = 0; i < number(options, "depth"); i++) h = encoder(p, String(i), h, options);
    return [h];
  }, [x, ...p.all()]);
}
