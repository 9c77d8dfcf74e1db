/** The Train view's state, joined to the runtime: actions in, commands out, the screen follows. */
import type { Runtime, RuntimeEvent } from "../runtime/client";
import starter from "./starter.json";
import { toDevice } from "./state/device";
import { parseKept, read, toKept, write } from "./state/persistence";
import type { Action, State } from "./state/studio";
import { begin, update } from "./state/studio";

export class Studio {
  state: State = $state.raw(opening());

  constructor(private readonly runtime: Runtime) {
    runtime.onEvent((event) => this.hear(event));
  }

  /** A field, so that components can be handed it as it is. */
  readonly act = (action: Action): void => {
    const [state, commands] = update(this.state, action);
    this.state = state;
    for (const command of commands) this.runtime.session(command);
    if (action.do === "build" || action.do === "set") this.keep();
    if (action.do === "use") write("device", action.device);
  };

  private keep(): void {
    const { rows, settings } = this.state;
    write("model", JSON.stringify({ layers: rows.map((row) => row.spec), settings }));
  }

  private hear(event: RuntimeEvent): void {
    switch (event.kind) {
      case "booting": return this.act({ do: "booting", stage: event.stage });
      case "ready": return this.act({ do: "ready", capabilities: event.capabilities });
      case "boot-failed": return this.act({ do: "failed", message: event.message });
      case "restarting": return this.act({ do: "restarting", reason: event.reason });
      case "session": return this.act({ do: "heard", event: event.event });
      case "stdout": case "stderr": case "finished": return;
      default: return event satisfies never;
    }
  }
}

/** What was kept from the last visit, else the starter network with all that is known of it. */
function opening(): State {
  const first = toKept(starter);
  if (first === null) throw new Error("starter.json does not hold layers and settings");
  const kept = parseKept(read("model")) ?? first;
  const known = JSON.stringify(kept) === JSON.stringify(first);
  return begin(kept.layers, kept.settings, known ? starter.model : null, toDevice(read("device")));
}
