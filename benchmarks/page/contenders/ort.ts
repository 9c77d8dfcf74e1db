/** ONNX Runtime Web on its WebAssembly execution provider. It runs models and does not train. */

import * as ort from "onnxruntime-web/wasm";
import loaderUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import { model, type OnnxNode } from "./onnx";
import {
  array, type Arrays, type Contender, type Ready, sample, timed, Unable, type Workload,
} from "../workload";

async function pure(
  nodes: readonly OnnxNode[], arrays: Arrays, names: readonly string[], shape: readonly number[],
): Promise<Ready> {
  const shapes = new Map(names.map((name) => [name, array(arrays, name).shape]));
  const session = await ort.InferenceSession.create(
    model(nodes, shapes, ["out", shape]), { executionProviders: ["wasm"] });
  const feeds = Object.fromEntries(names.map((name) => {
    const { data, shape: dims } = array(arrays, name);
    return [name, new ort.Tensor("float32", Float32Array.from(data), dims)];
  }));
  const first = await session.run(feeds);
  const data = first.out?.data;
  if (!(data instanceof Float32Array)) throw new Error("the model gives floats");
  return {
    check: sample(data),
    turn: (steps) => timed(steps, async () => void (await session.run(feeds))),
    dispose: () => session.release(),
  };
}

/** MatMul takes no transposed matrix, Gemm does. */
function gemm({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const [transA, transB] = [Number(options.transpose_a), Number(options.transpose_b)];
  const rows = array(arrays, "a").shape[transA] ?? 0;
  const columns = array(arrays, "b").shape[1 - transB] ?? 0;
  const plain = transA === 0 && transB === 0;
  const node = plain
    ? { operation: "MatMul", inputs: ["a", "b"], output: "out" }
    : { operation: "Gemm", inputs: ["a", "b"], output: "out", attributes: { transA, transB } };
  return pure([node], arrays, ["a", "b"], [rows, columns]);
}

const GELU: OnnxNode = {
  operation: "Gelu", inputs: ["x"], output: "out", attributes: { approximate: "tanh" },
};

const ELEMENTWISE: Readonly<Record<string, readonly OnnxNode[]>> = {
  softmax: [{ operation: "Softmax", inputs: ["x"], output: "out" }],
  gelu: [GELU],
  tanh: [{ operation: "Tanh", inputs: ["x"], output: "out" }],
  exp: [{ operation: "Exp", inputs: ["x"], output: "out" }],
  add: [{ operation: "Add", inputs: ["x", "y"], output: "out" }],
  chain: [
    { ...GELU, output: "left" },
    { operation: "Exp", inputs: ["y"], output: "raised" },
    { operation: "Tanh", inputs: ["raised"], output: "right" },
    { operation: "Add", inputs: ["left", "right"], output: "out" },
  ],
};

function elementwise({ options }: Workload, arrays: Arrays): Promise<Ready> {
  const nodes = ELEMENTWISE[String(options.operation)];
  if (nodes === undefined) throw new Unable(`no operation ${options.operation}`);
  const used = ["x", "y"].filter((name) => nodes.some(({ inputs }) => inputs.includes(name)));
  return pure(nodes, arrays, used, array(arrays, "x").shape);
}

async function prepare(workload: Workload, arrays: Arrays): Promise<Ready> {
  switch (workload.family) {
    case "gemm": return gemm(workload, arrays);
    case "elementwise": return elementwise(workload, arrays);
    case "mlp": case "lenet": throw new Unable("ONNX Runtime Web does not train");
    default: return workload.family satisfies never;
  }
}

export async function start(threads: number): Promise<Contender> {
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = {
    mjs: new URL(loaderUrl, location.href).href, wasm: new URL(wasmUrl, location.href).href,
  };
  return { prepare };
}
