/** Serialization of ONNX models (onnx.proto3), for the operators of this benchmark. */

import type { NamedArray } from "../../workload";

type Bytes = Uint8Array<ArrayBuffer>;
type Field = readonly [id: number, value: number | string | Bytes];

function varint(n: number): number[] {
  return n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))];
}

function concatenate(parts: readonly Bytes[]): Bytes {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

function encodeField([id, value]: Field): Bytes[] {
  if (typeof value === "number") {
    return [Uint8Array.from([...varint(id * 8), ...varint(value)])];
  }
  const content = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return [Uint8Array.from([...varint(id * 8 + 2), ...varint(content.length)]), content];
}

/** A Protocol Buffers message: numbers as varints, strings and messages with their length. */
function message(...fields: Field[]): Bytes {
  return concatenate(fields.flatMap(encodeField));
}

/** A 32-bit float field: wire type 5. */
function floatField(id: number, value: number): Bytes {
  const bytes = new Uint8Array(Float32Array.of(value).buffer);
  return Uint8Array.from([...varint(id * 8 + 5), ...bytes]);
}

const [FLOAT, INT32, INT64] = [1, 6, 7];
const [FLOAT_ATTRIBUTE, INT, STRING, INTS] = [1, 2, 3, 7];

/** `{ float }` marks a float; a plain number is an integer. */
export type Attribute = number | string | readonly number[] | { readonly float: number };

export interface OnnxNode {
  readonly operation: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

function attribute([name, value]: [string, Attribute]): Bytes {
  if (typeof value === "number") return message([1, name], [3, value], [20, INT]);
  if (typeof value === "string") return message([1, name], [4, value], [20, STRING]);
  if ("float" in value) {
    return concatenate([
      message([1, name]), floatField(2, value.float), message([20, FLOAT_ATTRIBUTE])]);
  }
  return message([1, name], ...value.map((n): Field => [8, n]), [20, INTS]);
}

function node({ operation, inputs, outputs, attributes = {} }: OnnxNode): Bytes {
  return message(
    ...inputs.map((name): Field => [1, name]), ...outputs.map((name): Field => [2, name]),
    [4, operation], ...Object.entries(attributes).map((each): Field => [5, attribute(each)]));
}

/** Element type and shape of an input. */
export interface ValueInfo {
  readonly type: "float32" | "int64";
  readonly shape: readonly number[];
}

function valueInfo(name: string, { type, shape }: ValueInfo): Bytes {
  const dimensions = message(...shape.map((n): Field => [1, message([1, n])]));
  const element = type === "float32" ? FLOAT : INT64;
  return message([1, name], [2, message([1, message([1, element], [2, dimensions])])]);
}

const rawType = (data: NamedArray["data"] | BigInt64Array): number =>
  data instanceof BigInt64Array ? INT64 : data instanceof Int32Array ? INT32 : FLOAT;

/** A constant of the model. */
export interface Constant {
  readonly shape: readonly number[];
  readonly data: NamedArray["data"] | BigInt64Array<ArrayBuffer>;
}

function initializer(name: string, { shape, data }: Constant): Bytes {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message(...shape.map((n): Field => [1, n]), [2, rawType(data)], [8, name], [9, bytes]);
}

export const int64 = (...values: number[]): Constant =>
  ({ shape: [values.length], data: BigInt64Array.from(values.map(BigInt)) });

/** IR version 9 with operator set 20, the first that has Gelu. */
const [IR_VERSION, OPERATOR_SET] = [9, 20];

export interface Model {
  readonly nodes: readonly OnnxNode[];
  readonly constants: ReadonlyMap<string, Constant>;
  readonly inputs: ReadonlyMap<string, ValueInfo>;
  /** Names only: the runtime infers the shapes. */
  readonly outputs: readonly string[];
}

export function serialize({ nodes, constants, inputs, outputs }: Model): Bytes {
  const graph = message(
    ...nodes.map((each): Field => [1, node(each)]), [2, "benchmark"],
    ...[...constants].map((each): Field => [5, initializer(...each)]),
    ...[...inputs].map((each): Field => [11, valueInfo(...each)]),
    ...outputs.map((name): Field => [12, message([1, name])]));
  return message([1, IR_VERSION], [7, graph], [8, message([2, OPERATOR_SET])]);
}
