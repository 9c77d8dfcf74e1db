/** Single operations as ONNX models of a few nodes. */

import { depthwiseOihw, filterOihw, toNchw, toNhwc } from "../../data";
import {
  array, type Arrays, flag, number, numberList, type Prepared, Unsupported, type Workload,
} from "../../workload";
import { type Constant, int64, type OnnxNode } from "./onnx";
import { nodeOf, select, session } from "./session";

/** Gemm supports transposes but no batch; MatMul supports batches and needs Transpose nodes. */
export function gemm({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const [a, b] = [flag(options, "transpose_a"), flag(options, "transpose_b")];
  const batched = array(arrays, "a").shape.length > 2;
  const transposed = (name: string): OnnxNode =>
    nodeOf("Transpose", [name], `${name}T`, { perm: [0, 2, 1] });
  const nodes = batched || !(a || b)
    ? [...a ? [transposed("a")] : [], ...b ? [transposed("b")] : [],
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
    nodeOf("Gelu", ["x"], "left", TANH_GELU), nodeOf("Exp", ["y"], "exp"),
    nodeOf("Tanh", ["exp"], "right"), nodeOf("Add", ["left", "right"]),
  ],
};

export function elementwise({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const nodes = ELEMENTWISE[String(options.operation)];
  if (nodes === undefined) throw new Unsupported(`no operation ${options.operation}`);
  return session(arrays, { nodes });
}

export const EPSILON = { float: 1e-5 };

export function norm({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const [axis] = numberList(options, "axes");
  if (axis !== -1) throw new Unsupported("ONNX Runtime Web does not train");
  const constants: ReadonlyMap<string, Constant> = select(arrays, "gamma", "beta");
  const nodes = [nodeOf("LayerNormalization", ["x", "gamma", "beta"], "out", { epsilon: EPSILON })];
  return session(select(arrays, "x"), { nodes, constants });
}

/** SAME padding along one axis of an image: equal at both ends, an odd pixel at the end. */
export function padding(
  size: number, window: number, strides: number, dilations = 1,
): [before: number, after: number] {
  const extent = (Math.ceil(size / strides) - 1) * strides + (window - 1) * dilations + 1;
  const missing = Math.max(0, extent - size);
  return [Math.floor(missing / 2), Math.ceil(missing / 2)];
}

export function convolution({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  if (options.direction !== "forward") throw new Unsupported("ONNX Runtime Web does not train");
  const depthwise = flag(options, "depthwise");
  const w = (depthwise ? depthwiseOihw : filterOihw)(array(arrays, "w"));
  const [strides, dilations] = [number(options, "strides"), number(options, "dilations")];
  const x = toNchw(array(arrays, "x"));
  const sides = [2, 3].map((axis) =>
    padding(x.shape[axis] ?? 0, w.shape[axis] ?? 0, strides, dilations));
  const node = nodeOf("Conv", ["x", "w"], "out", {
    pads: [...sides.map(([before]) => before), ...sides.map(([, after]) => after)],
    strides: [strides, strides], dilations: [dilations, dilations],
    group: depthwise ? w.shape[0] ?? 1 : 1,
  });
  return session(new Map([["x", x]]), {
    nodes: [node], constants: new Map([["w", w]]), toCheck: toNhwc,
  });
}

export function pool({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const operation = options.kind === "max" ? "MaxPool" : "AveragePool";
  const node = nodeOf(operation, ["x"], "out", { kernel_shape: [2, 2], strides: [2, 2] });
  return session(new Map([["x", toNchw(array(arrays, "x"))]]), {
    nodes: [node], toCheck: toNhwc,
  });
}

export function embedding(_: Workload, arrays: Arrays): Promise<Prepared> {
  return session(select(arrays, "ids"), {
    nodes: [nodeOf("Gather", ["table", "ids"])], constants: select(arrays, "table"),
  });
}

export function scatterAdd({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const width = array(arrays, "updates").shape[1] ?? 0;
  const constants = new Map([
    ["shape", int64(number(options, "rows"), width)], ["axis", int64(1)]]);
  const nodes = [
    nodeOf("ConstantOfShape", ["shape"], "zeros"), nodeOf("Unsqueeze", ["ids", "axis"], "indices"),
    nodeOf("ScatterND", ["zeros", "indices", "updates"], "out", { reduction: "add" }),
  ];
  return session(arrays, { nodes, constants });
}

/** Sorts with TopK of all elements; ONNX has no sort. */
export function sort(_: Workload, arrays: Arrays): Promise<Prepared> {
  const [size = 0] = array(arrays, "x").shape;
  const node = { operation: "TopK", inputs: ["x", "k"], outputs: ["out", "indices"],
    attributes: { largest: 0 } };
  return session(arrays, { nodes: [node], constants: new Map([["k", int64(size)]]) });
}

export function topK({ options }: Workload, arrays: Arrays): Promise<Prepared> {
  const outputs = ["values", "indices"];
  return session(arrays, {
    nodes: [{ operation: "TopK", inputs: ["x", "k"], outputs }],
    constants: new Map([["k", int64(number(options, "k"))]]), outputs,
  });
}
