/** ResNet-20, MobileNetV2, an LSTM, a GPT and a BERT in jax-js. */

import { nn, numpy as np } from "@jax-js/jax";
import {
  type Arrays, number, numbers, type Options, type Ready, type Workload,
} from "../../workload";
import { type Array, pure, tensor } from "./common";
import { crossEntropy } from "./functions";
import {
  attention, batchNorm, convolved, dense, images, layerNorm, of, parameters, type Params,
  trainedNorm,
} from "./layers";
import { training } from "./training";

function residual(p: Params, name: string, x: Array): Array {
  const changes = `${name}.short.w` in p;
  const strides = changes ? 2 : 1;
  const unit = (part: string, h: Array, s = 1): Array =>
    batchNorm(p, `${name}.${part}`, convolved(p, `${name}.${part}`, h, s));
  const beside = changes ? unit("short", x.ref, strides) : x.ref;
  return nn.relu(unit("b", nn.relu(unit("a", x, strides))).add(beside));
}

export function resnet({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const depth = [...arrays.keys()].filter((name) => name.endsWith(".a.w")).length;
  const logits = (p: Params, x: Array): Array => {
    let h = nn.relu(batchNorm(p, "stem", convolved(p, "stem", x)));
    for (let i = 0; i < depth; i++) h = residual(p, String(i), h);
    return dense(p, "head", np.mean(h, [2, 3]));
  };
  return training(options, (p, x, y) => crossEntropy(logits(p, x), y), parameters(arrays),
    images(arrays), tensor(arrays, "y"));
}

function inverted(p: Params, name: string, x: Array, strides: number): Array {
  const relu6Unit = (part: string, h: Array, s = 1, groups = 1): Array =>
    nn.relu6(trainedNorm(p, part, convolved(p, part, h, s, groups)));
  const wide = `${name}.expand.w` in p ? relu6Unit(`${name}.expand`, x.ref) : x.ref;
  const deep = relu6Unit(`${name}.depthwise`, wide, strides, wide.shape[1] ?? 1);
  const out = trainedNorm(p, `${name}.project`, convolved(p, `${name}.project`, deep));
  if (strides === 1 && out.shape[1] === x.shape[1]) return out.add(x);
  x.dispose();
  return out;
}

/** Every call uses its parameters up, so it is given new references to them. */
function inference(f: (p: Params, x: Array) => Array, p: Params, x: Array): Promise<Ready> {
  const names = Object.keys(p);
  return pure((input: Array, ...values: Array[]) => {
    const given = values.map((value, i): [string, Array] => [names[i] ?? "", value]);
    return [f(Object.fromEntries(given), input)];
  }, [x, ...Object.values(p)]);
}

export function mobilenet({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const strides = numbers(options, "strides");
  return inference((p, x) => {
    let h = nn.relu6(trainedNorm(p, "stem", convolved(p, "stem", x, 2)));
    strides.forEach((stride, i) => (h = inverted(p, String(i), h, stride)));
    h = nn.relu6(trainedNorm(p, "last", convolved(p, "last", h)));
    return dense(p, "head", np.mean(h, [2, 3]));
  }, parameters(arrays), images(arrays));
}

/** jax-js has no loop within a jitted function, so the steps are written out. */
export function lstm({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const logits = (p: Params, x: Array): Array => {
    const recurrent = of(p, "recurrent");
    const [batch = 0, , units = 0] = x.shape;
    const inputs = np.matmul(x, of(p, "kernel")).add(of(p, "bias"));
    let h = np.zeros([batch, units]);
    let cell = np.zeros([batch, units]);
    for (const input of np.unstack(inputs, 1)) {
      const gates = input.add(np.matmul(h, recurrent.ref));
      const [enter = gates, forget = gates, fresh = gates, leave = gates] = np.split(gates, 4, -1);
      cell = nn.sigmoid(forget).mul(cell).add(nn.sigmoid(enter).mul(np.tanh(fresh)));
      h = nn.sigmoid(leave).mul(np.tanh(cell.ref));
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
  if (!q || !k || !v) throw new Error("queries, keys and values are three");
  const h = x.add(dense(p, `${name}.out`, attention(q, k, v, options, true)));
  const wide = nn.gelu(dense(p, `${name}.up`, layerNorm(p, `${name}.ln2`, h.ref)));
  return h.add(dense(p, `${name}.down`, wide));
}

/** The table by a product: the gradient of np.take does not go into a jitted function. */
export function gpt({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const logits = (p: Params, words: Array): Array => {
    const table = of(p, "embed");
    let h = np.matmul(nn.oneHot(words, table.shape[0] ?? 0), table).add(of(p, "positions"));
    for (let i = 0; i < number(options, "depth"); i++) h = block(p, String(i), h, options);
    return dense(p, "head", layerNorm(p, "ln", h));
  };
  return training(options, (p, x, y) => crossEntropy(logits(p, x), y), parameters(arrays),
    tensor(arrays, "x"), tensor(arrays, "y"), 0.004);
}

function encoder(p: Params, name: string, x: Array, options: Options): Array {
  const of = (part: string): Array => dense(p, `${name}.${part}`, x.ref);
  const mixed = dense(p, `${name}.out`, attention(of("q"), of("k"), of("v"), options, false));
  const h = layerNorm(p, `${name}.ln1`, x.add(mixed));
  const wide = nn.gelu(dense(p, `${name}.up`, h.ref), { approximate: false });
  return layerNorm(p, `${name}.ln2`, h.add(dense(p, `${name}.down`, wide)));
}

export function bert({ options }: Workload, arrays: Arrays): Promise<Ready> {
  return inference((p, words) => {
    let h = layerNorm(p, "ln", np.take(of(p, "embed"), words, 0).add(of(p, "positions")));
    for (let i = 0; i < number(options, "depth"); i++) h = encoder(p, String(i), h, options);
    return h;
  }, parameters(arrays), tensor(arrays, "x"));
}
