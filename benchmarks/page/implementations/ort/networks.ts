/** MobileNetV2 and BERT as ONNX models, node by node as exporters write them. */

import { depthwiseOihw, filterOihw, toNchw } from "../../data";
import {
  array, type Arrays, type NamedArray, number, numberList, type Prepared, type Workload,
} from "../../workload";
import { EPSILON, padding } from "./functions";
import { type Attribute, type Constant, int64, type OnnxNode } from "./onnx";
import { nodeOf, session } from "./session";

/** Builder of an ONNX graph; every value has a unique name. */
class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly constants = new Map<string, Constant>();
  constructor(private readonly arrays: Arrays) {}

  has(name: string): boolean {
    return this.arrays.has(name);
  }

  array(name: string): NamedArray {
    return array(this.arrays, name);
  }

  /** Add an array of the workload as a constant, converted to ONNX's layout. */
  weight(name: string, toLayout = (x: NamedArray) => x): string {
    this.constants.set(name, toLayout(this.array(name)));
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

  /** Set the output of the model. */
  finish(out: string): void {
    this.nodes.push(nodeOf("Identity", [out]));
  }
}

/** A convolution of an image of this side length, and its batch norm. */
function convBatchNorm(g: GraphBuilder, name: string, x: string, side: number, stride = 1): string {
  const [size = 1, , ins = 1, multiplier] = g.array(`${name}.w`).shape;
  const depthwise = multiplier === 1;
  const [before, after] = padding(side, size, stride);
  const filter = g.weight(`${name}.w`, depthwise ? depthwiseOihw : filterOihw);
  const out = g.node("Conv", [x, filter], {
    pads: [before, before, after, after], strides: [stride, stride], group: depthwise ? ins : 1,
  });
  const params = ["gamma", "beta", "mean", "variance"].map((each) => g.weight(`${name}.${each}`));
  return g.node("BatchNormalization", [out, ...params], { epsilon: EPSILON });
}

export function mobilenet({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const g = new GraphBuilder(arrays);
  const image = toNchw(array(arrays, "x"));
  const [zero, six] = [[0, "zero"], [6, "six"]].map(([value, name]) =>
    g.constant(String(name), { shape: [], data: Float32Array.of(Number(value)) }));
  const relu6 = (x: string): string => g.node("Clip", [x, zero ?? "", six ?? ""]);
  let side = image.shape[2] ?? 0;
  let h = relu6(convBatchNorm(g, "stem", "x", side, 2));
  side /= 2;
  numberList(options, "strides").forEach((stride, i) => {
    const expanded = g.has(`${i}.expand.w`) ? relu6(convBatchNorm(g, `${i}.expand`, h, side)) : h;
    const depthwise = relu6(convBatchNorm(g, `${i}.depthwise`, expanded, side, stride));
    const ins = g.array(expanded === h ? `${i}.depthwise.w` : `${i}.expand.w`).shape[2];
    const outs = g.array(`${i}.project.w`).shape[3];
    side /= stride;
    const out = convBatchNorm(g, `${i}.project`, depthwise, side);
    h = stride === 1 && ins === outs ? g.node("Add", [out, h]) : out;
  });
  h = g.node("GlobalAveragePool", [relu6(convBatchNorm(g, "last", h, side))]);
  g.finish(g.dense("head", g.node("Flatten", [h])));
  return session(new Map([["x", image]]), g);
}

function layerNorm(g: GraphBuilder, name: string, x: string): string {
  const params = [g.weight(`${name}.gamma`), g.weight(`${name}.beta`)];
  return g.node("LayerNormalization", [x, ...params], { epsilon: EPSILON });
}

/** Multi-head attention of (batch, tokens, width) values; a head has width / heads columns. */
function attention(g: GraphBuilder, name: string, x: string, heads: number): string {
  const width = g.array(`${name}.q.w`).shape[1] ?? 0;
  const perHeadShape = g.constant("perHeadShape", int64(0, 0, heads, width / heads));
  const mergedShape = g.constant("mergedShape", int64(0, 0, width));
  const scale = g.constant("scale", {
    shape: [], data: Float32Array.of(1 / Math.sqrt(width / heads)) });
  const projectHeads = (layer: string, perm: number[]): string => g.node(
    "Transpose", [g.node("Reshape", [g.dense(`${name}.${layer}`, x), perHeadShape])], { perm });
  const [q, kT] = [projectHeads("q", [0, 2, 1, 3]), projectHeads("k", [0, 2, 3, 1])];
  const scores = g.node("MatMul", [q, kT]);
  const weights = g.node("Softmax", [g.node("Mul", [scores, scale])]);
  const context = g.node("MatMul", [weights, projectHeads("v", [0, 2, 1, 3])]);
  const merged = g.node("Transpose", [context], { perm: [0, 2, 1, 3] });
  return g.dense(`${name}.out`, g.node("Reshape", [merged, mergedShape]));
}

export function bert({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const g = new GraphBuilder(arrays);
  const embedded = g.node("Gather", [g.weight("embed"), "x"]);
  let h = layerNorm(g, "ln", g.node("Add", [embedded, g.weight("positions")]));
  for (let i = 0; i < number(options, "depth"); i++) {
    const context = attention(g, String(i), h, number(options, "heads"));
    const middle = layerNorm(g, `${i}.ln1`, g.node("Add", [h, context]));
    const hidden = g.node("Gelu", [g.dense(`${i}.up`, middle)]);
    h = layerNorm(g, `${i}.ln2`, g.node("Add", [middle, g.dense(`${i}.down`, hidden)]));
  }
  g.finish(h);
  return session(new Map([["x", array(arrays, "x")]]), g);
}
