/** The few messages of the ONNX format (onnx.proto3) that a model of one node or two needs. */

type Field = readonly [number: number, value: number | string | readonly number[]];

function varint(n: number): number[] {
  return n < 128 ? [n] : [(n & 127) | 128, ...varint(n >>> 7)];
}

function bytesOf(value: string | readonly number[]): readonly number[] {
  return typeof value === "string" ? [...new TextEncoder().encode(value)] : value;
}

/** A message of Protocol Buffers: numbers as varints, texts and messages with their length. */
function message(...fields: Field[]): number[] {
  return fields.flatMap(([number, value]) => {
    if (typeof value === "number") return [...varint(number << 3), ...varint(value)];
    const bytes = bytesOf(value);
    return [...varint((number << 3) | 2), ...varint(bytes.length), ...bytes];
  });
}

const FLOAT = 1;
const INT = 2;
const STRING = 3;

export interface OnnxNode {
  readonly operation: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes?: Readonly<Record<string, number | string>>;
}

function attribute([name, value]: [string, number | string]): number[] {
  return typeof value === "number"
    ? message([1, name], [3, value], [20, INT])
    : message([1, name], [4, value], [20, STRING]);
}

function node({ operation, inputs, output, attributes = {} }: OnnxNode): number[] {
  return message(
    ...inputs.map((name): Field => [1, name]), [2, output], [4, operation],
    ...Object.entries(attributes).map((each): Field => [5, attribute(each)]));
}

function value(name: string, shape: readonly number[]): number[] {
  const dimensions = message(...shape.map((n): Field => [1, message([1, n])]));
  return message([1, name], [2, message([1, message([1, FLOAT], [2, dimensions])])]);
}

/** IR version 9 with operator set 20, the first that has Gelu. */
const IR_VERSION = 9;
const OPERATOR_SET = 20;

export function model(
  nodes: readonly OnnxNode[], inputs: ReadonlyMap<string, readonly number[]>,
  output: readonly [name: string, shape: readonly number[]],
): Uint8Array {
  const graph = message(
    ...nodes.map((each): Field => [1, node(each)]), [2, "benchmark"],
    ...[...inputs].map((each): Field => [11, value(...each)]), [12, value(...output)]);
  return Uint8Array.from(message([1, IR_VERSION], [7, graph], [8, message([2, OPERATOR_SET])]));
}
