/** What outlives a reload. Storage can be full, forbidden or hold anything: that is no error. */
import type { LayerSpec, TrainSettings } from "../../protocol";

export interface Kept {
  readonly layers: readonly LayerSpec[];
  readonly settings: TrainSettings;
}

export function read(key: string): string | null {
  try {
    return localStorage.getItem(`tensorbrook.${key}`);
  } catch {
    return null;
  }
}

export function write(key: string, text: string): void {
  try {
    localStorage.setItem(`tensorbrook.${key}`, text);
  } catch {
    // A private window or a full disk: the work goes on, it is only not kept.
  }
}

/** The layers and settings in a stored text, or null when it is not such a text. */
export function parseKept(text: string | null): Kept | null {
  return toKept(parsed(text));
}

export function toKept(value: unknown): Kept | null {
  if (!isRecord(value) || !Array.isArray(value.layers)) return null;
  const settings = toSettings(value.settings);
  const layers = value.layers.flatMap(toLayer);
  return settings === null || layers.length !== value.layers.length ? null : { layers, settings };
}

function parsed(text: string | null): unknown {
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

type Argument = LayerSpec["args"][string];

function isArgument(value: unknown): value is Argument {
  return ["number", "string", "boolean"].includes(typeof value);
}

function toLayer(value: unknown): LayerSpec[] {
  if (!isRecord(value) || typeof value.type !== "string" || !isRecord(value.args)) return [];
  const args: Record<string, Argument> = {};
  for (const [name, each] of Object.entries(value.args)) {
    if (!isArgument(each)) return [];
    args[name] = each;
  }
  return [{ type: value.type, args }];
}

function toSettings(value: unknown): TrainSettings | null {
  if (!isRecord(value)) return null;
  const { optimizer, learning_rate, batch_size, seed } = value;
  if (optimizer !== "adam" && optimizer !== "sgd") return null;
  if (typeof learning_rate !== "number" || typeof batch_size !== "number") return null;
  return typeof seed === "number" ? { optimizer, learning_rate, batch_size, seed } : null;
}
