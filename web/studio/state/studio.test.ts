import { describe, expect, it } from "vitest";
import type { Capabilities, SessionCommand, SessionEvent, TrainSettings } from "../../protocol";
import { backendText, deviceText } from "./device";
import { moved } from "./layers";
import { statusText } from "./status";
import type { Action, State } from "./studio";
import { begin, update } from "./studio";

const settings: TrainSettings = {
  optimizer: "adam", learning_rate: 0.001, batch_size: 64, seed: 0,
};
const layers = [{ type: "Flatten", args: {} }, { type: "Dense", args: { units: 10 } }];
const capabilities: Capabilities = {
  backend: "wasm", threads: 2, isolated: true, engine: "threads", version: "0",
  restored: false, gpu: { present: false, reason: "there is none" },
  boot_ms: { python: 1, package: 1, engine: 1 },
};
const ready: Action = { do: "ready", capabilities };
const heard = (event: SessionEvent): Action => ({ do: "heard", event });
const model = (revision: number, trainable = true): Action => heard({
  name: "model", revision, trainable, layers: [], parameters: 650, source: "import tensorbrook",
});
const progress = (step: number, running = true): Action => heard({
  name: "progress", running, epoch: step / 10, step, samples_per_second: 100,
  device: "CPU",
  train: [{ epoch: step / 10, loss: 1 / step, accuracy: 0.5 }],
  test: step % 10 === 0 ? [{ epoch: step / 10, loss: 2, accuracy: 0.9 }] : [],
});

/** The state after all that, and every command that was sent on the way. */
function after(...actions: Action[]): { state: State; sent: SessionCommand[] } {
  let state = begin(layers, settings, null);
  const sent: SessionCommand[] = [];
  for (const action of actions) {
    const [next, commands] = update(state, action);
    state = next;
    sent.push(...commands);
  }
  return { state, sent };
}
const names = (sent: SessionCommand[]): string[] => sent.map((command) => command.name);

describe("before the runtime is there", () => {
  it("sends nothing and remembers Train", () => {
    const { state, sent } = after({ do: "train" });
    expect([state.training, sent]).toEqual(["waiting", []]);
    expect(statusText(state)).toBe("Starting Python… Training starts right after.");
  });
  it("trains once the model is there", () => {
    const { state, sent } = after({ do: "train" }, ready, model(0));
    expect([state.training, names(sent)]).toEqual(["running", ["model", "train"]]);
  });
  it("forgets Train when Pause comes first", () => {
    const { sent } = after({ do: "train" }, { do: "pause" }, ready, model(0));
    expect(names(sent)).toEqual(["model"]);
  });
  it("says why Python could not start", () => {
    const { state } = after({ do: "failed", message: "no memory" }, { do: "train" });
    expect(state.training).toBe("idle");
    expect(statusText(state)).toBe("Python could not start: no memory");
  });
});

describe("editing", () => {
  it("sends the new model under a new revision and takes no answer to the old one", () => {
    const [start] = update(after(ready, model(0)).state, { do: "draw", pixels: null });
    const edit: Action = { do: "build", rows: moved(start.rows, 0, 1) };
    const { state, sent } = after(ready, model(0), edit, model(0));
    expect(sent.at(-1)).toMatchObject({ name: "model", revision: 1 });
    expect([state.revision, state.answered]).toEqual([1, 0]);
  });
  it("keeps the curves when only the settings change, and drops them with the layers", () => {
    const trained = [ready, model(0), { do: "train" }, progress(3)] satisfies Action[];
    const set: Action = { do: "set", settings: { ...settings, learning_rate: 0.1 } };
    expect(after(...trained, set).state.curves.trainLoss.x).toHaveLength(1);
    expect(after(...trained, { do: "build", rows: [] }).state.curves.trainLoss.x).toHaveLength(0);
  });
  it("does not train a model that does not fit", () => {
    const { state, sent } = after(ready, model(0, false), { do: "train" });
    expect([names(sent), statusText(state)]).toEqual([["model"], "The layers do not fit yet."]);
  });
});

describe("training", () => {
  it("draws what was measured, and shows the last of it", () => {
    const told = [5, 10, 20, 21].map((step) => progress(step));
    const { state } = after(ready, model(0), { do: "train" }, ...told);
    expect(state.curves.trainLoss.x).toEqual([0.5, 1, 2, 2.1]);
    expect(state.curves.testAccuracy.x).toEqual([1, 2]);
    expect(state.figures).toMatchObject({ epoch: 2.1, testAccuracy: 0.9, samplesPerSecond: 100 });
  });
  it("stays paused when a late message says it runs", () => {
    const started: Action[] = [ready, model(0), { do: "train" }, progress(1)];
    const { state, sent } = after(...started, { do: "pause" }, progress(2));
    expect([state.training, names(sent)]).toEqual(["paused", ["model", "train", "pause"]]);
  });
  it("keeps training when Train comes before the answer to Pause", () => {
    const started: Action[] = [ready, model(0), { do: "train" }, progress(1)];
    const again: Action[] = [{ do: "pause" }, { do: "train" }, progress(2, false), progress(3)];
    expect(after(...started, ...again).state.training).toBe("running");
  });
  it("cannot train settings that were refused, until they are mended", () => {
    const message = "batch_size: it is 0; it takes a whole number from 1";
    const refused: Action[] = [ready, heard({ name: "refused", command: "model", message })];
    const { state } = after(...refused, { do: "train" });
    expect([state.training, statusText(state)]).toEqual(["paused", message]);
    const mended: Action[] = [{ do: "set", settings }, model(1), { do: "train" }];
    expect(after(...refused, ...mended).state.training).toBe("running");
  });
  it("starts anew on Reset", () => {
    const { state } = after(ready, model(0), { do: "train" }, progress(5), { do: "reset" });
    expect([state.training, state.figures.step, state.curves.trainLoss.x]).toEqual(["idle", 0, []]);
  });
  it("stops with the session's sentence, until the next command", () => {
    const message = "the loss is no number; lower the learning rate";
    const { state } = after(ready, model(0), { do: "train" }, heard({ name: "stopped", message }));
    expect([state.training, statusText(state)]).toEqual(["paused", message]);
    expect(update(state, { do: "train" })[0].trouble).toBeNull();
  });
  it("begins again, with the layers kept, when Python had to be started anew", () => {
    const restart: Action = { do: "restarting", reason: "the script did not heed the interrupt" };
    const { state, sent } = after(ready, model(0), { do: "train" }, progress(5), restart, ready);
    expect([state.figures.step, state.rows.length, names(sent).at(-1)]).toEqual([0, 2, "model"]);
    expect(state.trouble).toContain("did not heed the interrupt");
  });
});

describe("the device", () => {
  const gpu = { present: true, name: "A GPU", way: "local", software: false } as const;
  const there: Action = { do: "ready", capabilities: { ...capabilities, gpu } };
  const use: Action = { do: "use", device: "gpu" };
  it("is told the session, and what was learnt stays", () => {
    const { state, sent } = after(there, model(0), { do: "train" }, progress(3), use);
    expect(sent.at(-1)).toEqual({ name: "device", device: "gpu" });
    expect([state.training, state.figures.step]).toEqual(["running", 3]);
    expect([deviceText(state), backendText(state)]).toEqual(["CPU", "wasm"]);
  });
  it("is shown as the session says it", () => {
    const told = heard({
      name: "progress", running: true, epoch: 1, step: 3, samples_per_second: 1, device: "GPU",
      train: [], test: [],
    });
    const { state } = after(there, model(0), use, told);
    expect([deviceText(state), backendText(state)]).toEqual(["GPU", "webgpu"]);
  });
  it("is told a new session again, unless it is not there", () => {
    expect(names(after(use, there).sent)).toEqual(["device", "model"]);
    expect(names(after(use, ready).sent)).toEqual(["model"]);
    expect(deviceText(after(use).state)).toBeNull();
  });
});

describe("drawing", () => {
  const pixels = Array.from({ length: 64 }, () => 0.5);
  const prediction = heard({ name: "prediction", probabilities: [1, 0] });
  it("asks for a prediction at once, or as soon as Python is there", () => {
    expect(names(after(ready, { do: "draw", pixels }).sent)).toEqual(["model", "predict"]);
    expect(names(after({ do: "draw", pixels }, ready).sent)).toEqual(["model", "predict"]);
  });
  it("shows no prediction of an empty surface", () => {
    expect(after(ready, { do: "draw", pixels }, prediction).state.probabilities).toEqual([1, 0]);
    const cleared = after(ready, { do: "draw", pixels }, { do: "draw", pixels: null }, prediction);
    expect(cleared.state.probabilities).toBeNull();
  });
});
