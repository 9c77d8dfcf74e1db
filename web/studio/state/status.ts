/** The text of the status line, and the formats of figures. */
import type { State } from "./studio";
import { isModelCurrent } from "./studio";

/** The status. `pythonBusy` means that a program of the Code view runs, which blocks training. */
export function statusText(state: State, pythonBusy = false): string {
  if (state.boot === "failed") return `Python could not start: ${state.error ?? "no reason"}`;
  const booting = bootText(state.boot);
  const queued = state.training === "waiting" ? " Training starts right after." : "";
  if (booting !== null) return (state.bootNotice ?? booting) + queued;
  if (pythonBusy && state.training === "running") return "Training waits for the program in Code.";
  return state.error ?? readyText(state);
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
  if (isModelCurrent(state) && !state.model.trainable) return "The layers do not fit together yet.";
  switch (state.training) {
    case "idle": return state.figures.step === 0 ? "Ready." : "Paused.";
    case "waiting": return "Building the network…";
    case "running": return state.figures.step === 0 ? "Building the network…" : "Training…";
    case "paused": return "Paused.";
    default: return state.training satisfies never;
  }
}

/** Shown in place of a figure that is not available yet. */
export const NO_VALUE = "–";

/** One decimal, such as 97.8 %, so that the width is constant. */
export function formatPercent(fraction: number | null): string {
  return fraction === null ? NO_VALUE : `${(100 * fraction).toFixed(1)} %`;
}

/** About four significant digits without an exponent: 2.303, 0.0412. */
export function formatLoss(value: number | null): string {
  if (value === null) return NO_VALUE;
  return value >= 1000 ? value.toFixed(0) : value >= 0.1 ? value.toPrecision(4) : value.toFixed(4);
}

const numberFormat = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function formatCount(value: number | null): string {
  return value === null ? NO_VALUE : numberFormat.format(value);
}

/** Two significant digits; more would only flicker. */
export function formatRate(value: number | null): string {
  if (value === null || value <= 0) return NO_VALUE;
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
  return formatCount(Math.round(value / unit) * unit);
}

/** (6, 6, 32) as 6 × 6 × 32. */
export function formatShape(sizes: readonly number[] | null): string {
  return sizes === null ? NO_VALUE : sizes.map((n) => formatCount(n)).join(" × ");
}
