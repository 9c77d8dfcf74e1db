/** The quiet line that says what is happening, and figures as text of a steady width. */
import type { State } from "./studio";
import { answered } from "./studio";

/** `held`: a program of the Code view runs, and Python does one thing at a time. */
export function statusText(state: State, held = false): string {
  if (state.boot === "failed") return `Python could not start: ${state.trouble ?? "no reason"}`;
  const booting = bootText(state.boot);
  const queued = state.training === "waiting" ? " Training starts right after." : "";
  if (booting !== null) return booting + queued;
  if (held && state.training === "running") return "Training waits for the program in Code.";
  return state.trouble ?? readyText(state);
}

function bootText(boot: State["boot"]): string | null {
  switch (boot) {
    case "python": return "Starting Python…";
    case "package": return "Loading Tensorbrook…";
    case "engine": return "Starting the engine…";
    case "ready": case "failed": return null;
    default: return boot satisfies never;
  }
}

function readyText(state: State): string {
  if (state.rows.length === 0) return "There are no layers; add one.";
  if (answered(state) && !state.model.trainable) return "The layers do not fit yet.";
  switch (state.training) {
    case "idle": return state.figures.step === 0 ? "Ready." : "Paused.";
    case "waiting": return "Building the network…";
    case "running": return state.figures.step === 0 ? "Building the network…" : "Training…";
    case "paused": return "Paused.";
    default: return state.training satisfies never;
  }
}

/** Shown where there is no figure yet. */
export const NONE = "–";

/** 97.8 %, in the same width whatever the share. */
export function percent(share: number | null): string {
  return share === null ? NONE : `${(100 * share).toFixed(1)} %`;
}

/** Four significant figures, never in scientific form: 2.303, 0.0412. */
export function loss(value: number | null): string {
  if (value === null) return NONE;
  return value >= 1000 ? value.toFixed(0) : value >= 0.1 ? value.toPrecision(4) : value.toFixed(4);
}

const thousands = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value: number | null): string {
  return value === null ? NONE : thousands.format(value);
}

/** A rate to two figures' precision: the last digits would only flicker. */
export function rate(value: number | null): string {
  if (value === null || value <= 0) return NONE;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
  return count(Math.round(value / unit) * unit);
}

/** (6, 6, 32) as 6 × 6 × 32. */
export function shape(sizes: readonly number[] | null): string {
  return sizes === null ? NONE : sizes.map((n) => count(n)).join(" × ");
}
