/** Products, streams, windows and lookups as models of a few nodes. */

import { channelsFirst, channelsLast, eachFirst, outFirst } from "../../data";
import {
  array, type Arrays, flag, number, numbers, type Ready, Unable, type Workload,
} from "../../workload";
import { type Constant, int64, type OnnxNode } from "./onnx";
import { chosen, nodeOf, session } from "./session";

/** Gemm takes transposed matrices and no batch; MatMul takes batches, and Transpose before it. */
export function gemm({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const [a, b] = [flag(options, "transpose_a"), flag(options, "transpose_b")];
  const batched = array(arrays, "a").shape.length > 2;
  const turned = (name: string): OnnxNode =>
    nodeOf("Transpose", [name], `${name}T`, { perm: [0, 2, 1] });
  const nodes = batched || !(a || b)
    ? [...a ? [turned("a")] : [], ...b ? [turned("b")] : [],
      nodeOf("MatMul", [a ? "aT" : "a", b ? "bT" : "b"])]
    : [nodeOf("Gemm", ["a", "b"], "out", { transA: Number(a), transB: Number(b) })];
  return session(arrays, { nodes });
}

const TANH_GELU = { approximate: "tanh" };

const ELEMENTWISE: Readonly<Record<string, readonly OnnxNode[]>> = {
  softmax: [nodeOf("Softmax", ["x"])],
  gelu: [nodeOf("Gelu", ["x"], "out", TANH_GELU)],
  tanh: [nodeOf("Tanh", ["x"])],
  exp: [nodeOf("Exp", ["x"])],
  add: [nodeOf("Add", ["x", "y"])],
  chain: [
    nodeOf("Gelu", ["x"], "left", TANH_GELU), nodeOf("Exp", ["y"], "raised"),
    nodeOf("Tanh", ["raised"], "right"), nodeOf("Add", ["left", "right"]),
  ],
};

export function elementwise({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const nodes = ELEMENTWISE[String(options.operation)];
  if (nodes === undefined) throw new Unable(`no operation ${options.operation}`);
  return session(arrays, { nodes });
}

export const EPSILON = { float: 1e-5 };

export function norm({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const [axis] = numbers(options, "axes");
  if (axis !== -1) throw new Unable("ONNX Runtime Web does not train");
  const constants: ReadonlyMap<string, Constant> = chosen(arrays, "gamma", "beta");
  const nodes = [nodeOf("LayerNormalization", ["x", "gamma", "beta"], "out", { epsilon: EPSILON })];
  return session(chosen(arrays, "x"), { nodes, constants });
}

/** Of one side of an image: as much on both ends, the odd one at the end. */
export function padding(
  size: number, window: number, strides: number, dilations = 1,
): [before: number, after: number] {
  const reach = (Math.ceil(size / strides) - 1) * strides + (window - 1) * dilations + 1;
  const missing = Math.max(0, reach - size);
  return [Math.floor(missing / 2), Math.ceil(missing / 2)];
}

export function convolution({ options }: Workload, arrays: Arrays): Promise<Ready> {
  if (options.which !== "forward") throw new Unable("ONNX Runtime Web does not train");
  const depthwise = flag(options, "depthwise");
  const w = (depthwise ? eachFirst : outFirst)(array(arrays, "w"));
  const [strides, dilations] = [number(options, "strides"), number(options, "dilations")];
  const x = channelsFirst(array(arrays, "x"));
  const sides = [2, 3].map((axis) =>
    padding(x.shape[axis] ?? 0, w.shape[axis] ?? 0, strides, dilations));
  const node = nodeOf("Conv", ["x", "w"], "out", {
    pads: [...sides.map(([before]) => before), ...sides.map(([, after]) => after)],
    strides: [strides, strides], dilations: [dilations, dilations],
    group: depthwise ? w.shape[0] ?? 1 : 1,
  });
  return session(new Map([["x", x]]), {
    nodes: [node], constants: new Map([["w", w]]), shown: channelsLast,
  });
}

export function pool({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const operation = options.kind === "max" ? "MaxPool" : "AveragePool";
  const node = nodeOf(operation, ["x"], "out", { kernel_shape: [2, 2], strides: [2, 2] });
  return session(new Map([["x", channelsFirst(array(arrays, "x"))]]), {
    nodes: [node], shown: channelsLast,
  });
}

export function embedding(_: Workload, arrays: Arrays): Promise<Ready> {
  return session(chosen(arrays, "ids"), {
    nodes: [nodeOf("Gather", ["table", "ids"])], constants: chosen(arrays, "table"),
  });
}

export function scatterAdd({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const width = array(arrays, "updates").shape[1] ?? 0;
  const constants = new Map([
    ["shape", int64(number(options, "rows"), width)], ["axis", int64(1)]]);
  const nodes = [
    nodeOf("ConstantOfShape", ["shape"], "zeros"), nodeOf("Unsqueeze", ["ids", "axis"], "indices"),
    nodeOf("ScatterND", ["zeros", "indices", "updates"], "out", { reduction: "add" }),
  ];
  return session(arrays, { nodes, constants });
}

/** ONNX has no sort; the top k of all k is one. */
export function sort(_: Workload, arrays: Arrays): Promise<Ready> {
  const [size = 0] = array(arrays, "x").shape;
  const node = { operation: "TopK", inputs: ["x", "k"], outputs: ["out", "indices"],
    attributes: { largest: 0 } };
  return session(arrays, { nodes: [node], constants: new Map([["k", int64(size)]]) });
}

export function topK({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const outputs = ["values", "indices"];
  return session(arrays, {
    nodes: [{ operation: "TopK", inputs: ["x", "k"], outputs }],
    constants: new Map([["k", int64(number(options, "k"))]]), outputs,
  });
}
