/** The Train view as data: what happened goes in, the next state and what to ask come out. */
import type {
  BootStage, Capabilities, DeviceChoice, LayerReport, LayerSpec, Measured, SessionCommand,
  SessionEvent, TrainSettings,
} from "../../protocol";
import type { Curve } from "./curves";
import { appended, empty } from "./curves";
import { possible } from "./device";
import type { Row } from "./layers";
import { numbered } from "./layers";

export interface Model {
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

/** `waiting`: asked for, but the runtime or the model is not there yet. */
export type Training = "idle" | "waiting" | "running" | "paused";

export interface State {
  readonly boot: BootStage | "ready" | "failed";
  readonly capabilities: Capabilities | null;
  readonly rows: readonly Row[];
  readonly settings: TrainSettings;
  readonly device: DeviceChoice;
  /** On which device it trains, as far as it has said so. */
  readonly trainsOn: "CPU" | "GPU" | null;
  readonly revision: number;
  /** What the session said of the latest model; while an edit is looked at, of the one before. */
  readonly model: Model;
  readonly answered: number;
  readonly training: Training;
  readonly figures: Figures;
  readonly curves: Curves;
  readonly pixels: readonly number[] | null;
  readonly probabilities: readonly number[] | null;
  /** Why training ended by itself or a command was refused, until the next command. */
  readonly trouble: string | null;
}

export type Action =
  | { readonly do: "booting"; readonly stage: BootStage }
  | { readonly do: "ready"; readonly capabilities: Capabilities }
  | { readonly do: "failed"; readonly message: string }
  | { readonly do: "restarting"; readonly reason: string }
  | { readonly do: "heard"; readonly event: SessionEvent }
  | { readonly do: "build"; readonly rows: readonly Row[] }
  | { readonly do: "set"; readonly settings: TrainSettings }
  | { readonly do: "use"; readonly device: DeviceChoice }
  | { readonly do: "draw"; readonly pixels: readonly number[] | null }
  | { readonly do: "train" | "pause" | "step" | "reset" };

/** The next state, and what the session is to be asked, in order. */
export type Next = readonly [State, readonly SessionCommand[]];

/** Before the session has said anything of it: taken to fit, so that Train can be pressed. */
const unknownModel: Model = { reports: [], parameters: 0, trainable: true, source: "" };
export const noFigures: Figures = {
  epoch: 0, step: 0, trainLoss: null, testAccuracy: null, samplesPerSecond: null,
};
export const noCurves: Curves = {
  trainLoss: empty, testLoss: empty, trainAccuracy: empty, testAccuracy: empty,
};

export function begin(
  layers: readonly LayerSpec[], settings: TrainSettings, model: Model | null,
  device: DeviceChoice = "auto",
): State {
  return {
    boot: "python", capabilities: null, rows: numbered(layers), settings, revision: 0,
    device, trainsOn: null, model: model ?? unknownModel, answered: model === null ? -1 : 0,
    training: "idle", figures: noFigures, curves: noCurves, pixels: null,
    probabilities: null, trouble: null,
  };
}

export function update(state: State, action: Action): Next {
  switch (action.do) {
    case "booting": return [{ ...state, boot: action.stage }, []];
    case "failed":
      return [{ ...state, boot: "failed", training: "idle", trouble: action.message }, []];
    case "restarting": return [restarting(state, action.reason), []];
    case "ready": return ready({ ...state, boot: "ready", capabilities: action.capabilities });
    case "heard": return heard(state, action.event);
    case "build": return build(state, action.rows);
    case "set": return sendModel({ ...state, settings: action.settings, trouble: null });
    case "use": return use(state, action.device);
    case "draw": return draw(state, action.pixels);
    case "train": return train(state);
    case "pause": return pause(state);
    case "step": return ask({ ...state, trouble: null }, [{ name: "step" }]);
    case "reset": return ask(cleared(state), [{ name: "reset" }]);
    default: return action satisfies never;
  }
}

/** Nothing reaches a session that is not up: what matters is sent again when it is ready. */
function ask(state: State, commands: readonly SessionCommand[]): Next {
  return [state, state.boot === "ready" ? commands : []];
}

function modelCommand(state: State): SessionCommand {
  const layers = state.rows.map((row) => row.spec);
  return { name: "model", revision: state.revision, layers, settings: state.settings };
}

function ready(state: State): Next {
  const { pixels } = state;
  const device = possible(state.device, state.capabilities?.gpu ?? null);
  return [state, [
    ...(device === "auto" ? [] : [{ name: "device", device } satisfies SessionCommand]),
    modelCommand(state),
    ...(pixels === null ? [] : [{ name: "predict", pixels } satisfies SessionCommand]),
  ]];
}

function sendModel(state: State): Next {
  const next = { ...state, revision: state.revision + 1 };
  return ask(next, [modelCommand(next)]);
}

function cleared(state: State): State {
  return { ...state, training: "idle", figures: noFigures, curves: noCurves, trouble: null };
}

/** A new worker knows nothing of the old one's network; layers and settings are the page's own. */
function restarting(state: State, reason: string): State {
  const lost = state.figures.step === 0 ? null
    : `Python was started anew: ${reason}; layers and settings are kept, training begins again`;
  return { ...cleared(state), boot: "python", trainsOn: null, trouble: lost };
}

/** Other layers are another network: what the old one had learnt is gone, and its curves. */
function build(state: State, rows: readonly Row[]): Next {
  if (rows === state.rows) return [state, []];
  return sendModel({ ...cleared(state), rows, probabilities: null });
}

/** The weights go along: what was learnt stays, and training goes on. */
function use(state: State, device: DeviceChoice): Next {
  return ask({ ...state, device, trouble: null }, [{ name: "device", device }]);
}

function draw(state: State, pixels: readonly number[] | null): Next {
  const probabilities = pixels === null ? null : state.probabilities;
  return ask({ ...state, pixels, probabilities }, [{ name: "predict", pixels }]);
}

function train(state: State): Next {
  if (state.training === "running" || state.boot === "failed") return [state, []];
  const next: State = { ...state, trouble: null };
  if (state.boot !== "ready" || !answered(state)) return [{ ...next, training: "waiting" }, []];
  if (!state.model.trainable) return [state, []];
  return [{ ...next, training: "running" }, [{ name: "train" }]];
}

function pause(state: State): Next {
  if (state.training === "waiting") return [{ ...state, training: "idle" }, []];
  if (state.training !== "running") return [state, []];
  return ask({ ...state, training: "paused" }, [{ name: "pause" }]);
}

/** Whether what is shown of the model is about the layers that are shown. */
export function answered(state: State): boolean {
  return state.answered === state.revision;
}

function heard(state: State, event: SessionEvent): Next {
  switch (event.name) {
    case "model": return event.revision === state.revision ? modelled(state, event) : [state, []];
    case "progress":
      return [progressed({ ...state, trainsOn: event.device }, event), []];
    case "prediction":
      return [{ ...state, probabilities: state.pixels === null ? null : event.probabilities }, []];
    case "refused": return [refused({ ...state, trouble: event.message }, event.command), []];
    case "stopped": return [{ ...state, training: "paused", trouble: event.message }, []];
    default: return event satisfies never;
  }
}

/** A model that was refused is answered, too: it cannot be trained until an edit mends it. */
function refused(state: State, command: string): State {
  if (command === "train") return { ...state, training: "paused" };
  if (command !== "model") return state;
  const model = { ...state.model, trainable: false };
  return { ...state, training: "paused", answered: state.revision, model };
}

function modelled(state: State, event: SessionEvent & { name: "model" }): Next {
  const { layers: reports, parameters, trainable, source } = event;
  const model: Model = { reports, parameters, trainable, source };
  const next: State = { ...state, answered: event.revision, model };
  if (next.training === "waiting") return train({ ...next, training: "idle" });
  const { pixels } = next;
  const known = pixels === null || next.probabilities !== null;
  return [next, known ? [] : [{ name: "predict", pixels }]];
}

/**
 * Whether it trains is what was pressed last, until `stopped` or `refused` says otherwise: a
 * progress message may have left before the last Pause, Train or Reset was heard.
 */
function progressed(state: State, event: SessionEvent & { name: "progress" }): State {
  if (!answered(state)) return state; // of the network before the last edit
  if (event.step === 0) return { ...state, figures: noFigures, curves: noCurves };
  const [train, test] = [event.train[event.train.length - 1], event.test[event.test.length - 1]];
  const { figures, curves } = state;
  return {
    ...state,
    figures: {
      epoch: event.epoch, step: event.step, samplesPerSecond: event.samples_per_second,
      trainLoss: train?.loss ?? figures.trainLoss,
      testAccuracy: test?.accuracy ?? figures.testAccuracy,
    },
    curves: {
      trainLoss: drawn(curves.trainLoss, event.train, (point) => point.loss),
      testLoss: drawn(curves.testLoss, event.test, (point) => point.loss),
      trainAccuracy: drawn(curves.trainAccuracy, event.train, (point) => point.accuracy),
      testAccuracy: drawn(curves.testAccuracy, event.test, (point) => point.accuracy),
    },
  };
}

function drawn(
  curve: Curve, points: readonly Measured[], height: (point: Measured) => number,
): Curve {
  return points.reduce((all, point) => appended(all, point.epoch, height(point)), curve);
}
