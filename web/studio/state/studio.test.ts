import { describe, expect, it } from "vitest";
import type { Capabilities, SessionCommand, SessionEvent, TrainSettings } from "../../protocol";
import { backendText, deviceText } from "./device";
import { moveLayer } from "./layers";
import { statusText } from "./status";
import type { Action, State } from "./studio";
import { initialState, update } from "./studio";

const settings: TrainSettings = {
  optimizer: "adam", learning_rate: 0.001, batch_size: 64, seed: 0,
};
const layers = [{ type: "Flatten", args: {} }, { type: "Dense", args: { units: 10 } }];
const capabilities: Capabilities = {
  backend: "wasm", threads: 2, isolated: true, engine: "threads", version: "0",
  threadProblem: null,
  fromSnapshot: false, gpu: { present: false, reason: "there is none" },
  bootMs: { python: 1, package: 1, engine: 1 },
};
const ready: Action = { kind: "ready", capabilities };
const sessionEvent = (event: SessionEvent): Action => ({ kind: "session", event });
const model = (revision: number, trainable = true): Action => sessionEvent({
  name: "model", revision, trainable, layers: [], parameters: 650, source: "import tensorbrook",
});
const progress = (step: number, running = true): Action => sessionEvent({
  name: "progress", running, epoch: step / 10, step, samples_per_second: 100,
  device: "CPU",
  train: [{ epoch: step / 10, loss: 1 / step, accuracy: 0.5 }],
  test: step % 10 === 0 ? [{ epoch: step / 10, loss: 2, accuracy: 0.9 }] : [],
});

/** The state after these actions, and every command that was sent. */
function after(...actions: Action[]): { state: State; sent: SessionCommand[] } {
  let state = initialState(layers, settings, null);
  const sent: SessionCommand[] = [];
  for (const action of actions) {
    const [next, commands] = update(state, action);
    state = next;
    sent.push(...commands);
  }
  return { state, sent };
}
const names = (sent: SessionCommand[]): string[] => sent.map((command) => command.name);

describe("before the runtime is ready", () => {
  it("sends nothing and remembers Train", () => {
    const { state, sent } = after({ kind: "train" });
    expect([state.training, sent]).toEqual(["waiting", []]);
    expect(statusText(state)).toBe("Starting Python… Training starts right after.");
  });
  it("trains once the model is reported", () => {
    const { state, sent } = after({ kind: "train" }, ready, model(0));
    expect([state.training, names(sent)]).toEqual(["running", ["model", "train"]]);
  });
  it("forgets Train when Pause is pressed first", () => {
    const { sent } = after({ kind: "train" }, { kind: "pause" }, ready, model(0));
    expect(names(sent)).toEqual(["model"]);
  });
  it("shows why Python could not start", () => {
    const { state } = after({ kind: "boot-failed", message: "no memory" }, { kind: "train" });
    expect(state.training).toBe("idle");
    expect(statusText(state)).toBe("Python could not start: no memory");
  });
});

describe("editing", () => {
  it("sends the new model with a new revision and ignores a reply to the old one", () => {
    const [start] = update(after(ready, model(0)).state, { kind: "set-drawing", pixels: null });
    const edit: Action = { kind: "set-layers", rows: moveLayer(start.rows, 0, 1) };
    const { state, sent } = after(ready, model(0), edit, model(0));
    expect(sent.at(-1)).toMatchObject({ name: "model", revision: 1 });
    expect([state.revision, state.reportedRevision]).toEqual([1, 0]);
  });
  it("keeps the curves when only the settings change, and drops them with the layers", () => {
    const trained = [ready, model(0), { kind: "train" }, progress(3)] satisfies Action[];
    const set: Action = { kind: "set-settings", settings: { ...settings, learning_rate: 0.1 } };
    expect(after(...trained, set).state.curves.trainLoss.x).toHaveLength(1);
    const setLayers: Action = { kind: "set-layers", rows: [] };
    expect(after(...trained, setLayers).state.curves.trainLoss.x).toHaveLength(0);
  });
  it("does not train a model that does not fit", () => {
    const { state, sent } = after(ready, model(0, false), { kind: "train" });
    expect(names(sent)).toEqual(["model"]);
    expect(statusText(state)).toBe("The layers do not fit together yet.");
  });
});

describe("training", () => {
  it("appends the measurements to the curves, and shows the latest", () => {
    const events = [5, 10, 20, 21].map((step) => progress(step));
    const { state } = after(ready, model(0), { kind: "train" }, ...events);
    expect(state.curves.trainLoss.x).toEqual([0.5, 1, 2, 2.1]);
    expect(state.curves.testAccuracy.x).toEqual([1, 2]);
    expect(state.figures).toMatchObject({ epoch: 2.1, testAccuracy: 0.9, samplesPerSecond: 100 });
  });
  it("stays paused after a late event that reports it as running", () => {
    const started: Action[] = [ready, model(0), { kind: "train" }, progress(1)];
    const { state, sent } = after(...started, { kind: "pause" }, progress(2));
    expect([state.training, names(sent)]).toEqual(["paused", ["model", "train", "pause"]]);
  });
  it("keeps training when Train is pressed before the reply to Pause", () => {
    const started: Action[] = [ready, model(0), { kind: "train" }, progress(1)];
    const again: Action[] = [{ kind: "pause" }, { kind: "train" }, progress(2, false), progress(3)];
    expect(after(...started, ...again).state.training).toBe("running");
  });
  it("cannot train refused settings until they are corrected", () => {
    const message = "batch_size: it is 0; it takes a whole number from 1";
    const refused: Action[] = [ready, sessionEvent({ name: "refused", command: "model", message })];
    const { state } = after(...refused, { kind: "train" });
    expect([state.training, statusText(state)]).toEqual(["paused", message]);
    const corrected: Action[] = [{ kind: "set-settings", settings }, model(1), { kind: "train" }];
    expect(after(...refused, ...corrected).state.training).toBe("running");
  });
  it("starts over on Reset", () => {
    const { state } = after(ready, model(0), { kind: "train" }, progress(5), { kind: "reset" });
    expect([state.training, state.figures.step, state.curves.trainLoss.x]).toEqual(["idle", 0, []]);
  });
  it("stops with the session's message, which is shown until the next command", () => {
    const message = "the loss is no number; lower the learning rate";
    const stopped = sessionEvent({ name: "stopped", message });
    const { state } = after(ready, model(0), { kind: "train" }, stopped);
    expect([state.training, statusText(state)]).toEqual(["paused", message]);
    expect(update(state, { kind: "train" })[0].error).toBeNull();
  });
  it("starts over, with the layers kept, when Python was restarted", () => {
    const restart: Action = { kind: "restarting", reason: "the script ignored the interrupt" };
    const { state, sent } = after(ready, model(0), { kind: "train" }, progress(5), restart, ready);
    expect([state.figures.step, state.rows.length, names(sent).at(-1)]).toEqual([0, 2, "model"]);
    expect(state.error).toContain("ignored the interrupt");
  });
});

describe("the device", () => {
  const gpu = { present: true, name: "A GPU", transport: "jspi", software: false } as const;
  const readyWithGpu: Action = { kind: "ready", capabilities: { ...capabilities, gpu } };
  const setGpu: Action = { kind: "set-device", device: "gpu" };
  it("is sent to the session, and training continues", () => {
    const { state, sent } = after(readyWithGpu, model(0), { kind: "train" }, progress(3), setGpu);
    expect(sent.at(-1)).toEqual({ name: "device", device: "gpu" });
    expect([state.training, state.figures.step]).toEqual(["running", 3]);
    expect([deviceText(state), backendText(state)]).toEqual(["CPU", "wasm"]);
  });
  it("is shown as the session reports it", () => {
    const reported = sessionEvent({
      name: "progress", running: true, epoch: 1, step: 3, samples_per_second: 1, device: "GPU",
      train: [], test: [],
    });
    const { state } = after(readyWithGpu, model(0), setGpu, reported);
    expect([deviceText(state), backendText(state)]).toEqual(["GPU", "webgpu"]);
  });
  it("is sent to a new session if it is available", () => {
    expect(names(after(setGpu, readyWithGpu).sent)).toEqual(["device", "model"]);
    expect(names(after(setGpu, ready).sent)).toEqual(["model"]);
    expect(deviceText(after(setGpu).state)).toBeNull();
  });
});

describe("drawing", () => {
  const pixels = Array.from({ length: 64 }, () => 0.5);
  const prediction = sessionEvent({ name: "prediction", probabilities: [1, 0] });
  const draw: Action = { kind: "set-drawing", pixels };
  it("requests a prediction at once, or as soon as Python is ready", () => {
    expect(names(after(ready, draw).sent)).toEqual(["model", "predict"]);
    expect(names(after(draw, ready).sent)).toEqual(["model", "predict"]);
  });
  it("shows no prediction of an empty drawing", () => {
    expect(after(ready, draw, prediction).state.probabilities).toEqual([1, 0]);
    const cleared = after(ready, draw, { kind: "set-drawing", pixels: null }, prediction);
    expect(cleared.state.probabilities).toBeNull();
  });
});
