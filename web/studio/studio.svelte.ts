/** The controller of the Train view: actions update the state and send commands to the session. */
import type { Runtime, RuntimeEvent } from "../runtime/client";
import starter from "./starter.json";
import { parseDevice } from "./state/device";
import { loadItem, parsePersistedModel, saveItem, toPersistedModel } from "./state/persistence";
import type { Action, State } from "./state/studio";
import { initialState, update } from "./state/studio";

export class Studio {
  state: State = $state.raw(restoreState());

  constructor(private readonly runtime: Runtime) {
    runtime.onEvent((event) => this.onRuntimeEvent(event));
  }

  /** An arrow function, so that it can be passed to components without binding. */
  readonly dispatch = (action: Action): void => {
    const [state, commands] = update(this.state, action);
    this.state = state;
    for (const command of commands) this.runtime.session(command);
    if (action.kind === "set-layers" || action.kind === "set-settings") this.persistModel();
    if (action.kind === "set-device") saveItem("device", action.device);
  };

  private persistModel(): void {
    const { rows, settings } = this.state;
    saveItem("model", JSON.stringify({ layers: rows.map((row) => row.spec), settings }));
  }

  private onRuntimeEvent(event: RuntimeEvent): void {
    switch (event.kind) {
      case "booting": case "ready": case "boot-failed": case "restarting": case "stalled":
      case "session":
        return this.dispatch(event);
      case "stdout": case "stderr": case "finished": return;
      default: return event satisfies never;
    }
  }
}

/** The initial state: the model of the last visit, else the starter model with its report. */
function restoreState(): State {
  const starterModel = toPersistedModel(starter);
  if (starterModel === null) throw new Error("starter.json does not hold layers and settings");
  const model = parsePersistedModel(loadItem("model")) ?? starterModel;
  const isStarter = JSON.stringify(model) === JSON.stringify(starterModel);
  const report = isStarter ? starter.model : null;
  return initialState(model.layers, model.settings, report, parseDevice(loadItem("device")));
}
