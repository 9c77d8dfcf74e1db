/** Persistence in the browser. Storage may be full, forbidden or corrupt, which is not an error. */
import type { LayerSpec, TrainSettings } from "../../protocol";

export interface PersistedModel {
  readonly layers: readonly LayerSpec[];
  readonly settings: TrainSettings;
}

export function loadItem(key: string): string | null {
  try {
    return localStorage.getItem(`tensorbrook.${key}`);
  } catch {
    return null;
  }
}

export function saveItem(key: string, text: string): void {
  try {
    localStorage.setItem(`tensorbrook.${key}`, text);
  } catch {
    // A private window or a full disk: the Studio works, but does not persist its state.
  }
}

/** Parse persisted layers and settings; null if the text is not valid. */
export function parsePersistedModel(text: string | null): PersistedModel | null {
  return toPersistedModel(parseJson(text));
}

export function toPersistedModel(value: unknown): PersistedModel | null {
  if (!isRecord(value) || !Array.isArray(value.layers)) return null;
  const settings = toSettings(value.settings);
  const layers = value.layers.flatMap(toLayer);
  return settings === null || layers.length !== value.layers.length ? null : { layers, settings };
}

function parseJson(text: string | null): unknown {
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
  for (const [name, argument] of Object.entries(value.args)) {
    if (!isArgument(argument)) return [];
    args[name] = argument;
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
