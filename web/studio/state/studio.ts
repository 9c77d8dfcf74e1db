/** The state of the Train view: `update` maps an action to the next state and session commands. */
import type {
  BootStage, Capabilities, DeviceChoice, LayerReport, LayerSpec, Measurement, SessionCommand,
  SessionEvent, TrainSettings,
} from "../../protocol";
import type { Curve } from "./curves";
import { appendPoint, emptyCurve } from "./curves";
import { availableDevice } from "./device";
import type { Row } from "./layers";
import { withIds } from "./layers";

export interface ModelReport {
  readonly reports: readonly LayerReport[];
  readonly parameters: number;
  readonly trainable: boolean;
  readonly source: string;
}

export interface Figures {
  readonly epoch: number;
  readonly step: number;
  readonly trainLoss: number | null;
  readonly testAccuracy: number | null;
  readonly samplesPerSecond: number | null;
}

export interface Curves {
  readonly trainLoss: Curve;
  readonly testLoss: Curve;
  readonly trainAccuracy: Curve;
  readonly testAccuracy: Curve;
}

/** `waiting`: requested, but the runtime or the model is not ready yet. */
export type Training = "idle" | "waiting" | "running" | "paused";

export interface State {
  readonly boot: BootStage | "ready" | "failed";
  /** Why the boot takes long, or null. */
  readonly bootNotice: string | null;
  readonly capabilities: Capabilities | null;
  readonly rows: readonly Row[];
  readonly settings: TrainSettings;
  readonly device: DeviceChoice;
  /** The device that the session last reported. */
  readonly activeDevice: "CPU" | "GPU" | null;
  readonly revision: number;
  /** The session's latest report; of an older revision while the session checks an edit. */
  readonly model: ModelReport;
  readonly reportedRevision: number;
  readonly training: Training;
  readonly figures: Figures;
  readonly curves: Curves;
  readonly pixels: readonly number[] | null;
  readonly probabilities: readonly number[] | null;
  /** Why training stopped or a command was refused, until the next command. */
  readonly error: string | null;
}

export type Action =
  | { readonly kind: "booting"; readonly stage: BootStage }
  | { readonly kind: "ready"; readonly capabilities: Capabilities }
  | { readonly kind: "boot-failed"; readonly message: string }
  | { readonly kind: "restarting"; readonly reason: string }
  | { readonly kind: "stalled"; readonly message: string }
  | { readonly kind: "session"; readonly event: SessionEvent }
  | { readonly kind: "set-layers"; readonly rows: readonly Row[] }
  | { readonly kind: "set-settings"; readonly settings: TrainSettings }
  | { readonly kind: "set-device"; readonly device: DeviceChoice }
  | { readonly kind: "set-drawing"; readonly pixels: readonly number[] | null }
  | { readonly kind: "train" | "pause" | "step" | "reset" };

/** The next state, and the commands to send to the session, in order. */
export type Transition = readonly [State, readonly SessionCommand[]];

/** Before the session's first report the model counts as trainable, so that Train is enabled. */
const unreportedModel: ModelReport = { reports: [], parameters: 0, trainable: true, source: "" };
export const emptyFigures: Figures = {
  epoch: 0, step: 0, trainLoss: null, testAccuracy: null, samplesPerSecond: null,
};
export const emptyCurves: Curves = {
  trainLoss: emptyCurve, testLoss: emptyCurve, trainAccuracy: emptyCurve, testAccuracy: emptyCurve,
};

export function initialState(
  layers: readonly LayerSpec[], settings: TrainSettings, model: ModelReport | null,
  device: DeviceChoice = "auto",
): State {
  return {
    boot: "python", bootNotice: null, capabilities: null, rows: withIds(layers), settings, revision: 0,
    device, activeDevice: null,
    model: model ?? unreportedModel, reportedRevision: model === null ? -1 : 0,
    training: "idle", figures: emptyFigures, curves: emptyCurves, pixels: null,
    probabilities: null, error: null,
  };
}

export function update(state: State, action: Action): Transition {
  switch (action.kind) {
    case "booting": return [{ ...state, boot: action.stage, bootNotice: null }, []];
    case "boot-failed":
      return [{ ...state, boot: "failed", training: "idle", error: action.message }, []];
    case "stalled": return [{ ...state, bootNotice: action.message }, []];
    case "restarting": return [onRestart(state, action.reason), []];
    case "ready": return onReady({ ...state, boot: "ready", capabilities: action.capabilities });
    case "session": return onSessionEvent(state, action.event);
    case "set-layers": return setLayers(state, action.rows);
    case "set-settings": return sendModel({ ...state, settings: action.settings, error: null });
    case "set-device": return setDevice(state, action.device);
    case "set-drawing": return setDrawing(state, action.pixels);
    case "train": return startTraining(state);
    case "pause": return pauseTraining(state);
    case "step": return sendIfReady({ ...state, error: null }, [{ name: "step" }]);
    case "reset": return sendIfReady(resetTraining(state), [{ name: "reset" }]);
    default: return action satisfies never;
  }
}

/** Send commands only to a session that is ready; `onReady` sends the state it needs. */
function sendIfReady(state: State, commands: readonly SessionCommand[]): Transition {
  return [state, state.boot === "ready" ? commands : []];
}

function modelCommand(state: State): SessionCommand {
  const layers = state.rows.map((row) => row.spec);
  return { name: "model", revision: state.revision, layers, settings: state.settings };
}

function onReady(state: State): Transition {
  const { pixels } = state;
  const device = availableDevice(state.device, state.capabilities?.gpu ?? null);
  return [state, [
    ...(device === "auto" ? [] : [{ name: "device", device } satisfies SessionCommand]),
    modelCommand(state),
    ...(pixels === null ? [] : [{ name: "predict", pixels } satisfies SessionCommand]),
  ]];
}

function sendModel(state: State): Transition {
  const next = { ...state, revision: state.revision + 1 };
  return sendIfReady(next, [modelCommand(next)]);
}

function resetTraining(state: State): State {
  return { ...state, training: "idle", figures: emptyFigures, curves: emptyCurves, error: null };
}

/** A restarted worker has lost the trained network; the page keeps layers and settings. */
function onRestart(state: State, reason: string): State {
  const message = state.figures.step === 0 ? null
    : `Python was restarted: ${reason}; layers and settings are kept, training starts over`;
  return { ...resetTraining(state), boot: "python", activeDevice: null, error: message };
}

/** Changed layers are a new network: the trained weights and the curves are discarded. */
function setLayers(state: State, rows: readonly Row[]): Transition {
  if (rows === state.rows) return [state, []];
  return sendModel({ ...resetTraining(state), rows, probabilities: null });
}

/** The session moves the weights to the device, and training continues. */
function setDevice(state: State, device: DeviceChoice): Transition {
  return sendIfReady({ ...state, device, error: null }, [{ name: "device", device }]);
}

function setDrawing(state: State, pixels: readonly number[] | null): Transition {
  const probabilities = pixels === null ? null : state.probabilities;
  return sendIfReady({ ...state, pixels, probabilities }, [{ name: "predict", pixels }]);
}

function startTraining(state: State): Transition {
  if (state.training === "running" || state.boot === "failed") return [state, []];
  const next: State = { ...state, error: null };
  const isReady = state.boot === "ready" && isModelCurrent(state);
  if (!isReady) return [{ ...next, training: "waiting" }, []];
  if (!state.model.trainable) return [state, []];
  return [{ ...next, training: "running" }, [{ name: "train" }]];
}

function pauseTraining(state: State): Transition {
  if (state.training === "waiting") return [{ ...state, training: "idle" }, []];
  if (state.training !== "running") return [state, []];
  return sendIfReady({ ...state, training: "paused" }, [{ name: "pause" }]);
}

/** Whether the session's report is about the current layers. */
export function isModelCurrent(state: State): boolean {
  return state.reportedRevision === state.revision;
}

function onSessionEvent(state: State, event: SessionEvent): Transition {
  switch (event.name) {
    case "model": return event.revision === state.revision ? onModel(state, event) : [state, []];
    case "progress":
      return [onProgress({ ...state, activeDevice: event.device }, event), []];
    case "prediction":
      return [{ ...state, probabilities: state.pixels === null ? null : event.probabilities }, []];
    case "refused": return [onRefused({ ...state, error: event.message }, event.command), []];
    case "stopped": return [{ ...state, training: "paused", error: event.message }, []];
    default: return event satisfies never;
  }
}

/** A refused model counts as reported: it cannot be trained until an edit fixes it. */
function onRefused(state: State, command: string): State {
  if (command === "train") return { ...state, training: "paused" };
  if (command !== "model") return state;
  const model = { ...state.model, trainable: false };
  return { ...state, training: "paused", reportedRevision: state.revision, model };
}

function onModel(state: State, event: SessionEvent & { name: "model" }): Transition {
  const { layers: reports, parameters, trainable, source } = event;
  const model: ModelReport = { reports, parameters, trainable, source };
  const next: State = { ...state, reportedRevision: event.revision, model };
  if (next.training === "waiting") return startTraining({ ...next, training: "idle" });
  const { pixels } = next;
  const isPredicted = pixels === null || next.probabilities !== null;
  return [next, isPredicted ? [] : [{ name: "predict", pixels }]];
}

/**
 * The button pressed last determines `training`, until a `stopped` or `refused` event: a progress
 * event may have been sent before the session received the last Pause, Train or Reset.
 */
function onProgress(state: State, event: SessionEvent & { name: "progress" }): State {
  if (!isModelCurrent(state)) return state; // a network before the last edit
  if (event.step === 0) return { ...state, figures: emptyFigures, curves: emptyCurves };
  const [train, test] = [event.train[event.train.length - 1], event.test[event.test.length - 1]];
  const { figures, curves } = state;
  const loss = (point: Measurement): number => point.loss;
  const accuracy = (point: Measurement): number => point.accuracy;
  return {
    ...state,
    figures: {
      epoch: event.epoch, step: event.step, samplesPerSecond: event.samples_per_second,
      trainLoss: train?.loss ?? figures.trainLoss,
      testAccuracy: test?.accuracy ?? figures.testAccuracy,
    },
    curves: {
      trainLoss: appendMeasurements(curves.trainLoss, event.train, loss),
      testLoss: appendMeasurements(curves.testLoss, event.test, loss),
      trainAccuracy: appendMeasurements(curves.trainAccuracy, event.train, accuracy),
      testAccuracy: appendMeasurements(curves.testAccuracy, event.test, accuracy),
    },
  };
}

function appendMeasurements(
  curve: Curve, points: readonly Measurement[], valueOf: (point: Measurement) => number,
): Curve {
  return points.reduce((grown, point) => appendPoint(grown, point.epoch, valueOf(point)), curve);
}
