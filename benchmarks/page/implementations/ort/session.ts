/** Models of ONNX Runtime Web, built from nodes, and run again and again. */

import * as ort from "onnxruntime-web/wasm";
import { type Arrays, array, type NamedArray, type Ready, sample, timed } from "../../workload";
import { type Attribute, type Constant, type OnnxNode, serialized, type Value } from "./onnx";

/** What the nodes of a model need beside its inputs and where its results come out. */
export interface Parts {
  readonly nodes: readonly OnnxNode[];
  readonly constants?: ReadonlyMap<string, Constant>;
  readonly outputs?: readonly string[];
  /** Lays a result out as the other contenders have it. */
  readonly shown?: (out: NamedArray) => NamedArray;
}

export function nodeOf(
  operation: string, inputs: readonly string[], output = "out",
  attributes: Readonly<Record<string, Attribute>> = {},
): OnnxNode {
  return { operation, inputs, outputs: [output], attributes };
}

function fed({ data, shape }: NamedArray): ort.Tensor {
  return data instanceof Int32Array
    ? new ort.Tensor("int64", BigInt64Array.from(data, BigInt), shape)
    : new ort.Tensor("float32", Float32Array.from(data), shape);
}

function described({ data, shape }: NamedArray): Value {
  return { type: data instanceof Int32Array ? "int64" : "float32", shape };
}

/** A result's elements as numbers; whole ones come as BigInts. */
function shownElements(out: ort.Tensor | undefined, shown: (out: NamedArray) => NamedArray) {
  if (out?.data instanceof BigInt64Array) return sample(Array.from(out.data, Number));
  if (!(out?.data instanceof Float32Array)) throw new Error("the model gives floats or indices");
  return sample(shown({ data: Float32Array.from(out.data), shape: [...out.dims] }).data);
}

/** A model of these inputs, its other values constants. */
export async function session(
  inputs: ReadonlyMap<string, NamedArray>, parts: Parts,
): Promise<Ready> {
  const { nodes, constants = new Map(), outputs = ["out"], shown = (out) => out } = parts;
  const values = new Map([...inputs].map(([name, each]) => [name, described(each)]));
  const made = await ort.InferenceSession.create(
    serialized({ nodes, constants, inputs: values, outputs }), { executionProviders: ["wasm"] });
  const feeds = Object.fromEntries([...inputs].map(([name, each]) => [name, fed(each)]));
  const first = await made.run(feeds);
  return {
    check: outputs.flatMap((name) => shownElements(first[name], shown)),
    turn: (steps) => timed(steps, async () => void (await made.run(feeds))),
    dispose: () => made.release(),
  };
}

export function chosen(arrays: Arrays, ...names: string[]): Map<string, NamedArray> {
  return new Map(names.map((name) => [name, array(arrays, name)]));
}
