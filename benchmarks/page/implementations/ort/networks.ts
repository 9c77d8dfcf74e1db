/** MobileNetV2 and BERT as ONNX models, node by node as exporters write them. */

import { channelsFirst, eachFirst, outFirst } from "../../data";
import {
  array, type Arrays, type NamedArray, number, numbers, type Ready, type Workload,
} from "../../workload";
import { EPSILON, padding } from "./functions";
import { type Attribute, type Constant, int64, type OnnxNode } from "./onnx";
import { nodeOf, session } from "./session";

/** Nodes and constants of a model, as they are added; each value has a name of its own. */
class Graph {
  readonly nodes: OnnxNode[] = [];
  readonly constants = new Map<string, Constant>();
  constructor(private readonly arrays: Arrays) {}

  has(name: string): boolean {
    return this.arrays.has(name);
  }

  array(name: string): NamedArray {
    return array(this.arrays, name);
  }

  /** An array of the workload as a constant, laid out as ONNX wants it. */
  weight(name: string, laidOut = (x: NamedArray) => x): string {
    this.constants.set(name, laidOut(this.array(name)));
    return name;
  }

  constant(name: string, value: Constant): string {
    this.constants.set(name, value);
    return name;
  }

  node(
    operation: string, inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
  ): string {
    const out = `${operation}${this.nodes.length}`;
    this.nodes.push(nodeOf(operation, inputs, out, attributes));
    return out;
  }

  dense(name: string, x: string): string {
    const product = this.node("MatMul", [x, this.weight(`${name}.w`)]);
    return this.node("Add", [product, this.weight(`${name}.b`)]);
  }

  /** Make `out` the result. */
  finish(out: string): void {
    this.nodes.push(nodeOf("Identity", [out]));
  }
}

/** A convolution of an image of that side, and its batch norm. */
function unit(g: Graph, name: string, x: string, side: number, stride = 1): string {
  const [size = 1, , ins = 1, multiplier] = g.array(`${name}.w`).shape;
  const depthwise = multiplier === 1;
  const [before, after] = padding(side, size, stride);
  const convolved = g.node("Conv", [x, g.weight(`${name}.w`, depthwise ? eachFirst : outFirst)], {
    pads: [before, before, after, after], strides: [stride, stride], group: depthwise ? ins : 1,
  });
  const parts = ["gamma", "beta", "mean", "variance"].map((part) => g.weight(`${name}.${part}`));
  return g.node("BatchNormalization", [convolved, ...parts], { epsilon: EPSILON });
}

export function mobilenet({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const g = new Graph(arrays);
  const image = channelsFirst(array(arrays, "x"));
  const [zero, six] = [[0, "zero"], [6, "six"]].map(([value, name]) =>
    g.constant(String(name), { shape: [], data: Float32Array.of(Number(value)) }));
  const relu6 = (x: string): string => g.node("Clip", [x, zero ?? "", six ?? ""]);
  let side = image.shape[2] ?? 0;
  let h = relu6(unit(g, "stem", "x", side, 2));
  side /= 2;
  numbers(options, "strides").forEach((stride, i) => {
    const wide = g.has(`${i}.expand.w`) ? relu6(unit(g, `${i}.expand`, h, side)) : h;
    const deep = relu6(unit(g, `${i}.depthwise`, wide, side, stride));
    const ins = g.array(wide === h ? `${i}.depthwise.w` : `${i}.expand.w`).shape[2];
    const outs = g.array(`${i}.project.w`).shape[3];
    side /= stride;
    const out = unit(g, `${i}.project`, deep, side);
    h = stride === 1 && ins === outs ? g.node("Add", [out, h]) : out;
  });
  h = g.node("GlobalAveragePool", [relu6(unit(g, "last", h, side))]);
  g.finish(g.dense("head", g.node("Flatten", [h])));
  return session(new Map([["x", image]]), g);
}

function layerNorm(g: Graph, name: string, x: string): string {
  const parts = [g.weight(`${name}.gamma`), g.weight(`${name}.beta`)];
  return g.node("LayerNormalization", [x, ...parts], { epsilon: EPSILON });
}

/** Of (batch, words, width), each head its share of the width. */
function attention(g: Graph, name: string, x: string, heads: number): string {
  const width = g.array(`${name}.q.w`).shape[1] ?? 0;
  const parted = g.constant("parted", int64(0, 0, heads, width / heads));
  const joined = g.constant("joined", int64(0, 0, width));
  const scale = g.constant("scale", {
    shape: [], data: Float32Array.of(1 / Math.sqrt(width / heads)) });
  const part = (of: string, perm: number[]): string => g.node(
    "Transpose", [g.node("Reshape", [g.dense(`${name}.${of}`, x), parted])], { perm });
  const scores = g.node("MatMul", [part("q", [0, 2, 1, 3]), part("k", [0, 2, 3, 1])]);
  const shares = g.node("Softmax", [g.node("Mul", [scores, scale])]);
  const mixed = g.node("MatMul", [shares, part("v", [0, 2, 1, 3])]);
  const together = g.node("Transpose", [mixed], { perm: [0, 2, 1, 3] });
  return g.dense(`${name}.out`, g.node("Reshape", [together, joined]));
}

export function bert({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const g = new Graph(arrays);
  const embedded = g.node("Gather", [g.weight("embed"), "x"]);
  let h = layerNorm(g, "ln", g.node("Add", [embedded, g.weight("positions")]));
  for (let i = 0; i < number(options, "depth"); i++) {
    const mixed = attention(g, String(i), h, number(options, "heads"));
    const middle = layerNorm(g, `${i}.ln1`, g.node("Add", [h, mixed]));
    const wide = g.node("Gelu", [g.dense(`${i}.up`, middle)]);
    h = layerNorm(g, `${i}.ln2`, g.node("Add", [middle, g.dense(`${i}.down`, wide)]));
  }
  g.finish(h);
  return session(new Map([["x", array(arrays, "x")]]), g);
}
