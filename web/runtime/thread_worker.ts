/**
 * A helper thread: its own instance of the engine with its own stack, over the shared memory. It
 * runs programs in the engine's `worker_loop`, which returns only to load a program or to quit.
 */

import { callable, global, type Callable } from "./exports";
import { Programs } from "./programs";
import { staged } from "./program_staging";

export interface HelperStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly staging: SharedArrayBuffer;
  readonly thread: number;
  readonly stackTop: number;
}

/** The result of `worker_loop`, defined in wasm/engine.h, and a separate code for a trap in it. */
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

/** Run programs until the host must act. A trap is logged, and its frames are discarded. */
function runWorkerLoop(
  workerLoop: Callable, { thread, stackTop }: HelperStart, stack: WebAssembly.Global,
): number {
  try {
    return workerLoop(thread);
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
  const workerLoop = callable(engine, "worker_loop");
  const loadSize = callable(engine, "load_size");
  const commandDone = callable(engine, "command_done");
  postMessage("ready");
  for (;;) {
    switch (runWorkerLoop(workerLoop, start, stack)) {
      case LOAD: commandDone(load(programs, staging, loadSize())); break;
      case TRAPPED: commandDone(0); break;
      default: return close();
    }
  }
}

addEventListener("message", (event: MessageEvent<HelperStart>) => live(event.data), { once: true });
