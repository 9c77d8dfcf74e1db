/** The layers a model can be built of, and the edits a person can make: data in, new data out. */
import type { LayerSpec } from "../../protocol";

/** One argument of a layer, as a control shows it. */
export type Field =
  | { readonly kind: "number"; readonly name: string; readonly label: string;
      readonly start: number; readonly min: number; readonly max: number; readonly step: number }
  | { readonly kind: "choice"; readonly name: string; readonly label: string;
      readonly start: string; readonly options: readonly string[] };

export interface LayerType {
  readonly type: string;
  readonly says: string;
  readonly fields: readonly Field[];
}

/** A layer in the list. The id stays with it through every edit and move. */
export interface Row {
  readonly id: number;
  readonly spec: LayerSpec;
}

const activation: Field = {
  kind: "choice", name: "activation", label: "Activation", start: "relu",
  options: ["relu", "tanh", "sigmoid", "softmax", "linear"],
};
const padding: Field = {
  kind: "choice", name: "padding", label: "Padding", start: "valid", options: ["valid", "same"],
};

/** As far as the session takes them (core/tensorbrook/studio/layer_specs.py). */
const MOST = { size: 1024, units: 100_000_000 };

function whole(name: string, label: string, start: number, max: number): Field {
  return { kind: "number", name, label, start, min: 1, max, step: 1 };
}

export const layerTypes: readonly LayerType[] = [
  {
    type: "Conv2D", says: "finds small patterns anywhere in the picture",
    fields: [
      whole("filters", "Filters", 32, MOST.units),
      whole("kernel_size", "Kernel size", 3, MOST.size),
      whole("strides", "Strides", 1, MOST.size), padding, activation,
    ],
  },
  {
    type: "MaxPooling2D", says: "keeps the strongest value of each window",
    fields: [
      whole("pool_size", "Pool size", 2, MOST.size), whole("strides", "Strides", 2, MOST.size),
      padding,
    ],
  },
  { type: "Flatten", says: "turns the picture into one row of numbers", fields: [] },
  {
    type: "Dense", says: "joins every input to every unit",
    fields: [whole("units", "Units", 64, MOST.units), activation],
  },
  {
    type: "Dropout", says: "forgets some values while training",
    fields: [
      { kind: "number", name: "rate", label: "Rate", start: 0.25, min: 0, max: 0.95, step: 0.05 },
    ],
  },
];

export function layerType(type: string): LayerType | undefined {
  return layerTypes.find((each) => each.type === type);
}

/** A new layer with every argument at its start value. */
export function fresh(type: LayerType): LayerSpec {
  return { type: type.type, args: Object.fromEntries(type.fields.map((f) => [f.name, f.start])) };
}

export function numbered(specs: readonly LayerSpec[]): readonly Row[] {
  return specs.map((spec, id) => ({ id, spec }));
}

/** Adds before the last layer, which gives the ten classes; into an empty list, simply adds. */
export function added(rows: readonly Row[], spec: LayerSpec): readonly Row[] {
  const id = 1 + Math.max(-1, ...rows.map((row) => row.id));
  const at = Math.max(0, rows.length - 1);
  return [...rows.slice(0, at), { id, spec }, ...rows.slice(at)];
}

export function removed(rows: readonly Row[], id: number): readonly Row[] {
  return rows.filter((row) => row.id !== id);
}

/** Moves a layer by so many places; at an end of the list it stays. */
export function moved(rows: readonly Row[], id: number, by: number): readonly Row[] {
  const from = rows.findIndex((row) => row.id === id);
  const row = rows[from];
  if (row === undefined) return rows;
  const to = Math.min(rows.length - 1, Math.max(0, from + by));
  const rest = removed(rows, id);
  return from === to ? rows : [...rest.slice(0, to), row, ...rest.slice(to)];
}

export function edited(
  rows: readonly Row[], id: number, name: string, value: number | string,
): readonly Row[] {
  return rows.map((row) =>
    row.id === id ? { id, spec: { ...row.spec, args: { ...row.spec.args, [name]: value } } } : row);
}

/** What a layer is set to: `32 · 3×3 · relu`. What changes nothing is left out. */
export function summary(spec: LayerSpec): string {
  const { filters, kernel_size, strides, pool_size, units, rate } = spec.args;
  const plain = strides === undefined || strides === (pool_size ?? 1);
  const words = [
    filters, units, rate, square(kernel_size ?? pool_size), plain ? "" : `stride ${strides}`,
    spec.args.padding === "same" ? "same" : "",
    spec.args.activation === "linear" ? "" : spec.args.activation,
  ];
  return words.filter((word) => word !== undefined && word !== "").join(" · ");
}

function square(size: number | string | boolean | undefined): string {
  return size === undefined ? "" : `${size}×${size}`;
}

/** A number as typed into a field, or the sentence that says what the field takes. */
export function parseNumber(text: string, field: Field & { kind: "number" }): number | string {
  const value = text.trim() === "" ? NaN : Number(text);
  if (Number.isFinite(value)) return value;
  const kind = field.step === 1 ? "a whole number" : "a number";
  return `${field.label} takes ${kind} from ${field.min} to ${field.max.toLocaleString("en")}`;
}
