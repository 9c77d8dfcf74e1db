/** ResNet-20, MobileNetV2, LSTM, GPT and BERT in jax-js. */

import { nn, numpy as np } from "@jax-js/jax";
import {
  type Arrays, number, numberList, type Options, type Prepared, type Workload,
} from "../../workload";
import { type Array, pure, tensor } from "./common";
import { crossEntropy } from "./functions";
import {
  attention, batchNorm, batchNormInference, conv, dense, images, layerNorm, of, parameters,
  type Params,
} from "./layers";
import { training } from "./training";

function residual(p: Params, name: string, x: Array): Array {
  const changesWidth = `${name}.short.w` in p;
  const strides = changesWidth ? 2 : 1;
  const unit = (part: string, h: Array, s = 1): Array =>
    batchNorm(p, `${name}.${part}`, conv(p, `${name}.${part}`, h, s));
  const shortcut = changesWidth ? unit("short", x.ref, strides) : x.ref;
  return nn.relu(unit("b", nn.relu(unit("a", x, strides))).add(shortcut));
}

export function resnet({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const depth = [...arrays.keys()].filter((name) => name.endsWith(".a.w")).length;
  const logits = (p: Params, x: Array): Array => {
    let h = nn.relu(batchNorm(p, "stem", conv(p, "stem", x)));
    for (let i = 0; i < depth; i++) h = residual(p, String(i), h);
    return dense(p, "head", np.mean(h, [2, 3]));
  };
  return training(options, (p, x, y) => crossEntropy(logits(p, x), y), parameters(arrays),
    images(arrays), tensor(arrays, "y"));
}

function invertedResidual(p: Params, name: string, x: Array, strides: number): Array {
  const convNormRelu6 = (part: string, h: Array, s = 1, groups = 1): Array =>
    nn.relu6(batchNormInference(p, part, conv(p, part, h, s, groups)));
  const expanded = `${name}.expand.w` in p ? convNormRelu6(`${name}.expand`, x.ref) : x.ref;
  const depthwise = convNormRelu6(
    `${name}.depthwise`, expanded, strides, expanded.shape[1] ?? 1);
  const out = batchNormInference(p, `${name}.project`, conv(p, `${name}.project`, depthwise));
  if (strides === 1 && out.shape[1] === x.shape[1]) return out.add(x);
  x.dispose();
  return out;
}

/** A call consumes its parameters, so they are inputs, to which each call gets new references. */
function inference(f: (p: Params, x: Array) => Array, p: Params, x: Array): Promise<Prepared> {
  const names = Object.keys(p);
  return pure((input: Array, ...values: Array[]) => {
    const named = values.map((value, i): [string, Array] => [names[i] ?? "", value]);
    return [f(Object.fromEntries(named), input)];
  }, [x, ...Object.values(p)]);
}

export function mobilenet({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const strides = numberList(options, "strides");
  return inference((p, x) => {
    let h = nn.relu6(batchNormInference(p, "stem", conv(p, "stem", x, 2)));
    strides.forEach((stride, i) => (h = invertedResidual(p, String(i), h, stride)));
    h = nn.relu6(batchNormInference(p, "last", conv(p, "last", h)));
    return dense(p, "head", np.mean(h, [2, 3]));
  }, parameters(arrays), images(arrays));
}

/** Unrolled over the steps: jax-js has no loop within a jitted function. */
export function lstm({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const logits = (p: Params, x: Array): Array => {
    const recurrent = of(p, "recurrent");
    const [batch = 0, , units = 0] = x.shape;
    const inputs = np.matmul(x, of(p, "kernel")).add(of(p, "bias"));
    let h = np.zeros([batch, units]);
    let cell = np.zeros([batch, units]);
    for (const input of np.unstack(inputs, 1)) {
      const gates = input.add(np.matmul(h, recurrent.ref));
      const [i = gates, f = gates, c = gates, o = gates] = np.split(gates, 4, -1);
      cell = nn.sigmoid(f).mul(cell).add(nn.sigmoid(i).mul(np.tanh(c)));
      h = nn.sigmoid(o).mul(np.tanh(cell.ref));
    }
    cell.dispose();
    recurrent.dispose();
    return dense(p, "head", h);
  };
  return training(options, (p, x, y) => crossEntropy(logits(p, x), y), parameters(arrays),
    tensor(arrays, "x"), tensor(arrays, "y"));
}

function block(p: Params, name: string, x: Array, options: Options): Array {
  const [q, k, v] = np.split(
    dense(p, `${name}.qkv`, layerNorm(p, `${name}.ln1`, x.ref)), 3, -1);
  if (!q || !k || !v) throw new Error("split must return three arrays");
  const h = x.add(dense(p, `${name}.out`, attention(q, k, v, options, true)));
  const hidden = nn.gelu(dense(p, `${name}.up`, layerNorm(p, `${name}.ln2`, h.ref)));
  return h.add(dense(p, `${name}.down`, hidden));
}

/** Embeds with a one-hot matrix product: jit does not support the gradient of np.take. */
export function gpt({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const logits = (p: Params, tokens: Array): Array => {
    const table = of(p, "embed");
    let h = np.matmul(nn.oneHot(tokens, table.shape[0] ?? 0), table).add(of(p, "positions"));
    for (let i = 0; i < number(options, "depth"); i++) h = block(p, String(i), h, options);
    return dense(p, "head", layerNorm(p, "ln", h));
  };
  return training(options, (p, x, y) => crossEntropy(logits(p, x), y), parameters(arrays),
    tensor(arrays, "x"), tensor(arrays, "y"), 0.004);
}

function encoder(p: Params, name: string, x: Array, options: Options): Array {
  const project = (layer: string): Array => dense(p, `${name}.${layer}`, x.ref);
  const context = attention(project("q"), project("k"), project("v"), options, false);
  const out = dense(p, `${name}.out`, context);
  const h = layerNorm(p, `${name}.ln1`, x.add(out));
  const hidden = nn.gelu(dense(p, `${name}.up`, h.ref), { approximate: false });
  return layerNorm(p, `${name}.ln2`, h.add(dense(p, `${name}.down`, hidden)));
}

export function bert({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  return inference((p, tokens) => {
    let h = layerNorm(p, "ln", np.take(of(p, "embed"), tokens, 0).add(of(p, "positions")));
    for (let i = 0; i < number(options, "depth"); i++) h = encoder(p, String(i), h, options);
    return h;
  }, parameters(arrays), tensor(arrays, "x"));
}
