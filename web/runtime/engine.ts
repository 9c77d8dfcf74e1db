/** The compiled core on every thread of this page: memory, helpers, programs and their runs. */

import type { EngineBuild } from "../protocol";
import { callable, global, type Callable } from "./exports";
import type { HelperStart } from "./thread_worker";
import HelperWorker from "./thread_worker?worker";
import { Programs } from "./programs";
import { newStaging, stage } from "./program_staging";

const PAGE_BYTES = 65536;
const LINE_BYTES = 64;
/** Argument block: arena and thread count stand in front of the slots. */
const FIRST_SLOT = 2;
/** Commands of `post_command`, defined in wasm/engine.h. */
const LOAD = 1;

const NO_MEMORY = "this device has no memory left for the engine; close other tabs and reload";

/** The largest memory the device grants, at most what the engine declares (65535 pages). */
function newMemory(shared: boolean, initial: number): WebAssembly.Memory {
  for (let maximum = 65535; maximum > initial; maximum = maximum >>> 1) {
    try {
      return new WebAssembly.Memory({ initial, maximum, shared });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  throw new RangeError(NO_MEMORY);
}

/** Pages that the engine's data and stack need before anything runs. */
const INITIAL_PAGES = 64;

const align = (address: number): number => Math.ceil(address / LINE_BYTES) * LINE_BYTES;

/** Start a helper and wait until it is about to call `worker_loop`. */
function startHelper(start: HelperStart): Promise<Worker> {
  return new Promise((resolve, reject) => {
    const worker = new HelperWorker({ name: `tensorbrook thread ${start.thread}` });
    worker.onmessage = () => resolve(worker);
    worker.onerror = (event) => reject(new Error(`thread ${start.thread}: ${event.message}`));
    worker.postMessage(start);
  });
}

export class Engine {
  /** Host calls made so far: runs, loads, reads and writes. */
  calls = 0;
  readonly shared: boolean;
  readonly relaxed: boolean;
  /** Where the memory of programs begins; what lies below is the engine's own. */
  readonly heapBase: number;
  private bytes: Uint8Array;
  private words: Int32Array;
  private readonly programs: Programs;
  private readonly staging: SharedArrayBuffer | null;
  private readonly stack: WebAssembly.Global;
  private readonly stackTop: number;
  private readonly runProgram: Callable;
  private readonly postCommand: Callable;
  private readonly waitCommand: Callable;

  private constructor(
    readonly build: EngineBuild,
    readonly threads: number,
    private readonly memory: WebAssembly.Memory,
    instance: WebAssembly.Instance,
  ) {
    this.shared = build === "threads";
    this.relaxed = build !== "simd";
    this.staging = threads > 1 ? newStaging() : null;
    this.programs = new Programs(instance, memory);
    this.stack = global(instance, "__stack_pointer");
    this.stackTop = this.stack.value;
    this.runProgram = callable(instance, "run_program");
    this.postCommand = callable(instance, "post_command");
    this.waitCommand = callable(instance, "wait_command");
    this.bytes = new Uint8Array(memory.buffer);
    this.words = new Int32Array(memory.buffer);

    const areas = align(global(instance, "__heap_base").value);
    const stacks = align(areas + threads * callable(instance, "scratch_size")());
    this.heapBase = align(stacks + (threads - 1) * callable(instance, "stack_size")());
    if (!this.grow(this.heapBase)) throw new RangeError(NO_MEMORY);
    callable(instance, "setup")(threads, areas);
  }

  /** Bring up the engine and its helpers; resolves when every thread can run programs. */
  static async start(
    module: WebAssembly.Module, build: EngineBuild, threads: number,
  ): Promise<Engine> {
    const memory = newMemory(build === "threads", INITIAL_PAGES);
    const instance = await WebAssembly.instantiate(module, { env: { memory } });
    const engine = new Engine(build, threads, memory, instance);
    await engine.startHelpers(module, callable(instance, "stack_size")());
    return engine;
  }

  private async startHelpers(module: WebAssembly.Module, stackBytes: number): Promise<void> {
    const { memory, staging } = this;
    if (staging === null) return;
    const helpers = Array.from({ length: this.threads - 1 }, (_, i) => {
      const stackTop = this.heapBase - i * stackBytes;
      return startHelper({ module, memory, staging, thread: i + 1, stackTop });
    });
    await Promise.all(helpers);
  }

  /** Make the memory at least `size` bytes long; false where there is no more to be had. */
  grow(size: number): boolean {
    const missing = size - this.memory.buffer.byteLength;
    if (missing <= 0) return true;
    try {
      this.memory.grow(Math.ceil(missing / PAGE_BYTES));
    } catch (error) {
      if (error instanceof RangeError) return false;
      throw error;
    }
    this.bytes = new Uint8Array(this.memory.buffer);
    this.words = new Int32Array(this.memory.buffer);
    return true;
  }

  /** Instantiate a program on every thread; returns its number. */
  load(bytes: Uint8Array<ArrayBuffer>): number {
    this.calls += 1;
    const run = this.programs.instantiate(bytes);
    const slot = this.programs.take();
    this.programs.place(slot, run);
    if (this.staging !== null) {
      stage(this.staging, slot, bytes);
      this.postCommand(LOAD, 0, bytes.length);
      if (this.waitCommand() !== 0) throw new Error("a helper thread could not load the program");
    }
    return slot;
  }

  unload(program: number): void {
    this.programs.release(program);
  }

  /** Write the slots of the argument block, then run the program on every thread: one call. */
  run(program: number, block: number, ...slots: number[]): void {
    this.calls += 1;
    this.words.set(slots, (block >>> 2) + FIRST_SLOT);
    try {
      if (this.runProgram(program, block) !== 0) {
        throw new Error("a helper thread failed in a program");
      }
    } catch (error) {
      this.stack.value = this.stackTop; // a trap leaves its frames on the stack
      throw error;
    }
  }

  /** The bytes at an address, not copied; good until the memory grows. */
  view(address: number, size: number): Uint8Array {
    this.calls += 1;
    return this.bytes.subarray(address, address + size);
  }
}
