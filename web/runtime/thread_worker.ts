/**
 * A helper thread: a separate instance of the engine with a separate stack, in the shared memory.
 * It stays in the engine's worker loop, where it waits for program runs, and returns only to load a
 * program or to exit.
 */

import { requireFunction, requireGlobal, type WasmFunction } from "./exports";
import { readProgram } from "./program_staging";
import { ProgramTable } from "./programs";

export interface ThreadStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly staging: SharedArrayBuffer;
  readonly thread: number;
  readonly stackTop: number;
}

/** Return values of the worker loop (wasm/engine.h), and an additional value for a trap in it. */
const LOAD_COMMAND = 1;
const TRAPPED = -1;

function loadProgram(programs: ProgramTable, staging: SharedArrayBuffer, size: number): number {
  try {
    const [slot, program] = readProgram(staging, size);
    programs.install(slot, programs.instantiate(program));
    return 1;
  } catch (error) {
    console.error(error);
    return 0;
  }
}

/** Run the worker loop until the host must act. A trap is reported, and its frames are dropped. */
function runWorkerLoop(
  workerLoop: WasmFunction, { thread, stackTop }: ThreadStart, stackPointer: WebAssembly.Global,
): number {
  try {
    return workerLoop(thread);
  } catch (error) {
    console.error(error);
    stackPointer.value = stackTop;
    return TRAPPED;
  }
}

function runThread(start: ThreadStart): void {
  const { module, memory, staging, stackTop } = start;
  const engine = new WebAssembly.Instance(module, { env: { memory } });
  const stackPointer = requireGlobal(engine, "__stack_pointer");
  stackPointer.value = stackTop;
  const programs = new ProgramTable(engine, memory);
  const workerLoop = requireFunction(engine, "worker_loop");
  const loadSize = requireFunction(engine, "load_size");
  const commandDone = requireFunction(engine, "command_done");
  postMessage("ready");
  for (;;) {
    switch (runWorkerLoop(workerLoop, start, stackPointer)) {
      case LOAD_COMMAND: commandDone(loadProgram(programs, staging, loadSize())); break;
      case TRAPPED: commandDone(0); break;
      default: return close();
    }
  }
}

const onStart = ({ data }: MessageEvent<ThreadStart>): void => runThread(data);
addEventListener("message", onStart, { once: true });
