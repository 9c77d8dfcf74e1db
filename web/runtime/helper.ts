/**
 * A helper thread: its own instance of the engine with its own stack, over the shared memory. It lives
 * inside `park`, where it waits for program runs, and comes out only to load a program or to quit.
 */

import { callable, global } from "./exports";
import { Programs } from "./programs";
import { staged } from "./staging";

export interface HelperStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly staging: SharedArrayBuffer;
  readonly thread: number;
  readonly stackTop: number;
}

/** What `park` returns, as wasm/threads.c numbers it. */
const LOAD = 1;

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

function live({ module, memory, staging, thread, stackTop }: HelperStart): void {
  const engine = new WebAssembly.Instance(module, { env: { memory } });
  global(engine, "__stack_pointer").value = stackTop;
  const programs = new Programs(engine, memory);
  const park = callable(engine, "park");
  const loadSize = callable(engine, "load_size");
  const acknowledge = callable(engine, "acknowledge");
  postMessage("ready");
  while (park(thread) === LOAD) acknowledge(load(programs, staging, loadSize()));
  close();
}

addEventListener("message", (event: MessageEvent<HelperStart>) => live(event.data), { once: true });
