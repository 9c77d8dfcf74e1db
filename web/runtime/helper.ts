/**
 * A helper thread: its own instance of the engine with its own stack, over the shared memory. It
 * lives inside `park`, where it waits for program runs, and comes out only to load or to quit.
 */

import { callable, global, type Callable } from "./exports";
import { Programs } from "./programs";
import { staged } from "./staging";

export interface HelperStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly staging: SharedArrayBuffer;
  readonly thread: number;
  readonly stackTop: number;
}

/** What `park` returns, as wasm/engine.h numbers it, and a number of our own for a trap in it. */
const LOAD = 1;
const TRAPPED = -1;

function load(programs: Programs, staging: SharedArrayBuffer, size: number): number {
  try {
    const [slot, program] = staged(staging, size);
    programs.place(slot, programs.instantiate(program));
    return 1;
  } catch (error) {
    console.error(error);
    return 0;
  }
}

/** Park until the host must act. A trap on the way is reported, and its frames left behind. */
function parkSafely(
  park: Callable, { thread, stackTop }: HelperStart, stack: WebAssembly.Global,
): number {
  try {
    return park(thread);
  } catch (error) {
    console.error(error);
    stack.value = stackTop;
    return TRAPPED;
  }
}

function live(start: HelperStart): void {
  const { module, memory, staging, stackTop } = start;
  const engine = new WebAssembly.Instance(module, { env: { memory } });
  const stack = global(engine, "__stack_pointer");
  stack.value = stackTop;
  const programs = new Programs(engine, memory);
  const park = callable(engine, "park");
  const loadSize = callable(engine, "load_size");
  const acknowledge = callable(engine, "acknowledge");
  postMessage("ready");
  for (;;) {
    switch (parkSafely(park, start, stack)) {
      case LOAD: acknowledge(load(programs, staging, loadSize())); break;
      case TRAPPED: acknowledge(0); break;
      default: return close();
    }
  }
}

addEventListener("message", (event: MessageEvent<HelperStart>) => live(event.data), { once: true });
