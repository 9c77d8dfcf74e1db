/** Sessions of ONNX Runtime Web for models built from nodes. */

import * as ort from "onnxruntime-web/wasm";
import {
  type Arrays, array, type NamedArray, type Prepared, sample, timeSteps,
} from "../../workload";
import { type Attribute, type Constant, type OnnxNode, serialize, type ValueInfo } from "./onnx";

/** A model without its inputs. */
export interface ModelBody {
  readonly nodes: readonly OnnxNode[];
  readonly constants?: ReadonlyMap<string, Constant>;
  readonly outputs?: readonly string[];
  /** Converts a result to the layout of the check. */
  readonly toCheck?: (out: NamedArray) => NamedArray;
}

export function nodeOf(
  operation: string, inputs: readonly string[], output = "out",
  attributes: Readonly<Record<string, Attribute>> = {},
): OnnxNode {
  return { operation, inputs, outputs: [output], attributes };
}

function toFeed({ data, shape }: NamedArray): ort.Tensor {
  return data instanceof Int32Array
    ? new ort.Tensor("int64", BigInt64Array.from(data, BigInt), shape)
    : new ort.Tensor("float32", Float32Array.from(data), shape);
}

function valueInfo({ data, shape }: NamedArray): ValueInfo {
  return { type: data instanceof Int32Array ? "int64" : "float32", shape };
}

/** Samples of a result; integers arrive as BigInts. */
function sampleOf(out: ort.Tensor | undefined, toCheck: (out: NamedArray) => NamedArray) {
  if (out?.data instanceof BigInt64Array) return sample(Array.from(out.data, Number));
  if (!(out?.data instanceof Float32Array)) throw new Error("the result is no float32 or int64");
  return sample(toCheck({ data: Float32Array.from(out.data), shape: [...out.dims] }).data);
}

/** Prepare a model with these inputs; all its other values are constants. */
export async function session(
  inputs: ReadonlyMap<string, NamedArray>, body: ModelBody,
): Promise<Prepared> {
  const { nodes, constants = new Map(), outputs = ["out"], toCheck = (out) => out } = body;
  const values = new Map([...inputs].map(([name, each]) => [name, valueInfo(each)]));
  const model = await ort.InferenceSession.create(
    serialize({ nodes, constants, inputs: values, outputs }), { executionProviders: ["wasm"] });
  const feeds = Object.fromEntries([...inputs].map(([name, each]) => [name, toFeed(each)]));
  const first = await model.run(feeds);
  return {
    check: outputs.flatMap((name) => sampleOf(first[name], toCheck)),
    runSteps: (steps) => timeSteps(steps, async () => void (await model.run(feeds))),
    dispose: () => model.release(),
  };
}

export function select(arrays: Arrays, ...names: string[]): Map<string, NamedArray> {
  return new Map(names.map((name) => [name, array(arrays, name)]));
}
