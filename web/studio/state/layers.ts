/** The list of layers: the available layer types, and pure functions that edit the list. */
import type { LayerSpec } from "../../protocol";

/** One argument of a layer, with the properties of its control. */
export type Field =
  | { readonly kind: "number"; readonly name: string; readonly label: string;
      readonly initial: number; readonly min: number; readonly max: number; readonly step: number }
  | { readonly kind: "choice"; readonly name: string; readonly label: string;
      readonly initial: string; readonly options: readonly string[] };

export interface LayerType {
  readonly type: string;
  readonly description: string;
  readonly fields: readonly Field[];
}

/** A layer in the list. Its id does not change when it is edited or moved. */
export interface Row {
  readonly id: number;
  readonly spec: LayerSpec;
}

const activation: Field = {
  kind: "choice", name: "activation", label: "Activation", initial: "relu",
  options: ["relu", "tanh", "sigmoid", "softmax", "linear"],
};
const padding: Field = {
  kind: "choice", name: "padding", label: "Padding", initial: "valid", options: ["valid", "same"],
};

/** The session's limits (core/tensorbrook/studio/layer_specs.py). */
const LIMITS = { size: 1024, units: 100_000_000 };

function intField(name: string, label: string, initial: number, max: number): Field {
  return { kind: "number", name, label, initial, min: 1, max, step: 1 };
}

export const layerTypes: readonly LayerType[] = [
  {
    type: "Conv2D", description: "finds small patterns anywhere in the image",
    fields: [
      intField("filters", "Filters", 32, LIMITS.units),
      intField("kernel_size", "Kernel size", 3, LIMITS.size),
      intField("strides", "Strides", 1, LIMITS.size), padding, activation,
    ],
  },
  {
    type: "MaxPooling2D", description: "keeps the strongest value of each window",
    fields: [
      intField("pool_size", "Pool size", 2, LIMITS.size),
      intField("strides", "Strides", 2, LIMITS.size), padding,
    ],
  },
  { type: "Flatten", description: "turns the image into a single row of numbers", fields: [] },
  {
    type: "Dense", description: "connects every input to every unit",
    fields: [intField("units", "Units", 64, LIMITS.units), activation],
  },
  {
    type: "Dropout", description: "drops random values during training",
    fields: [
      { kind: "number", name: "rate", label: "Rate", initial: 0.25, min: 0, max: 0.95, step: 0.05 },
    ],
  },
];

export function layerType(type: string): LayerType | undefined {
  return layerTypes.find((layer) => layer.type === type);
}

/** A new layer with every argument at its initial value. */
export function createLayer(type: LayerType): LayerSpec {
  return { type: type.type, args: Object.fromEntries(type.fields.map((f) => [f.name, f.initial])) };
}

export function withIds(specs: readonly LayerSpec[]): readonly Row[] {
  return specs.map((spec, id) => ({ id, spec }));
}

/** Insert a layer before the last one, which outputs the ten classes, or into an empty list. */
export function addLayer(rows: readonly Row[], spec: LayerSpec): readonly Row[] {
  const id = 1 + Math.max(-1, ...rows.map((row) => row.id));
  const index = Math.max(0, rows.length - 1);
  return [...rows.slice(0, index), { id, spec }, ...rows.slice(index)];
}

export function removeLayer(rows: readonly Row[], id: number): readonly Row[] {
  return rows.filter((row) => row.id !== id);
}

/** Move a layer by an offset, but not beyond the ends of the list. */
export function moveLayer(rows: readonly Row[], id: number, offset: number): readonly Row[] {
  const from = rows.findIndex((row) => row.id === id);
  const row = rows[from];
  if (row === undefined) return rows;
  const to = Math.min(rows.length - 1, Math.max(0, from + offset));
  const rest = removeLayer(rows, id);
  return from === to ? rows : [...rest.slice(0, to), row, ...rest.slice(to)];
}

export function editLayer(
  rows: readonly Row[], id: number, name: string, value: number | string,
): readonly Row[] {
  return rows.map((row) =>
    row.id === id ? { id, spec: { ...row.spec, args: { ...row.spec.args, [name]: value } } } : row);
}

/** The arguments of a layer, such as `32 · 3×3 · relu`, without those that have no effect. */
export function summary(spec: LayerSpec): string {
  const { filters, kernel_size, strides, pool_size, units, rate } = spec.args;
  const isDefaultStride = strides === undefined || strides === (pool_size ?? 1);
  const words = [
    filters, units, rate, squareText(kernel_size ?? pool_size),
    isDefaultStride ? "" : `stride ${strides}`,
    spec.args.padding === "same" ? "same" : "",
    spec.args.activation === "linear" ? "" : spec.args.activation,
  ];
  return words.filter((word) => word !== undefined && word !== "").join(" · ");
}

function squareText(size: number | string | boolean | undefined): string {
  return size === undefined ? "" : `${size}×${size}`;
}

/** Parse the text of a field; returns an error message if it is not a number. */
export function parseNumber(text: string, field: Field & { kind: "number" }): number | string {
  const value = text.trim() === "" ? NaN : Number(text);
  if (Number.isFinite(value)) return value;
  const kind = field.step === 1 ? "a whole number" : "a number";
  return `${field.label} takes ${kind} from ${field.min} to ${field.max.toLocaleString("en")}`;
}
